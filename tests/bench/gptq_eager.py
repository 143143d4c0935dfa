# SPDX-License-Identifier: Apache-2.0
"""GPTQ as published, column by column in eager PyTorch: the loop that the solver is timed against.

Arithmetic only: block 128, the updates of a block lazily carried to the columns after it, the factor of
the inverse Hessian given (its making is not counted). Prints one JSON object; seconds are the least and
the median of the runs. Needs torch (pip install torch); nothing of Espalier imports this.

    python tests/bench/gptq_eager.py 2048 2048 --group 128 --threads 2
"""
import argparse
import json
import statistics
import time

import torch

BLOCK = 128
STEPS = 2**4 - 1  # 4 bits


def scale_of(part):
    """Symmetric scale of each row of part [rows, columns], as [rows, 1]."""
    return part.abs().amax(dim=1, keepdim=True).mul_(2 / STEPS).clamp_(min=2.0**-23)


def rounded(column, scale):
    code = torch.clamp(torch.round(column / scale), -(STEPS + 1) // 2, STEPS // 2)
    return code * scale


def solve(weight, upper, group):
    """Rounds weight [rows, columns] in place, upper^T upper being the inverse Hessian; group 0: per channel."""
    columns = weight.shape[1]
    scale = scale_of(weight)
    for start in range(0, columns, BLOCK):
        end = min(start + BLOCK, columns)
        open_part = weight[:, start:end].clone()
        errors = torch.zeros_like(open_part)
        factor = upper[start:end, start:end]
        for i in range(end - start):
            if group and (start + i) % group == 0:
                scale = scale_of(weight[:, start + i : start + i + group] if i == 0 else open_part[:, i : i + group])
            column = open_part[:, i]
            value = rounded(column.unsqueeze(1), scale).flatten()
            error = (column - value) / factor[i, i]
            open_part[:, i:] -= error.unsqueeze(1).matmul(factor[i, i:].unsqueeze(0))
            errors[:, i] = error
            weight[:, start + i] = value
        weight[:, end:] -= errors.matmul(upper[start:end, end:])


def main():
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("rows", type=int)
    options.add_argument("columns", type=int)
    options.add_argument("--group", type=int, default=128)
    options.add_argument("--threads", type=int, default=2)
    options.add_argument("--runs", type=int, default=3)
    chosen = options.parse_args()
    torch.set_num_threads(chosen.threads)
    torch.manual_seed(1)
    inputs = torch.randn(2 * chosen.columns, chosen.columns)
    hessian = inputs.T @ inputs
    hessian += 0.01 * hessian.diagonal().mean() * torch.eye(chosen.columns)
    upper = torch.linalg.cholesky(torch.cholesky_inverse(torch.linalg.cholesky(hessian)), upper=True)
    weight = torch.randn(chosen.rows, chosen.columns)
    seconds = []
    with torch.inference_mode():
        for _ in range(chosen.runs):
            work = weight.clone()
            begin = time.perf_counter()
            solve(work, upper, chosen.group)
            seconds.append(time.perf_counter() - begin)
    print(json.dumps({"rows": chosen.rows, "columns": chosen.columns, "group": chosen.group, "threads": chosen.threads,
                      "torch": torch.__version__, "least": min(seconds), "median": statistics.median(seconds)}))


if __name__ == "__main__":
    main()
