#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Runs Espalier and llm-compressor side by side: same models, same token ids, one thread, one core each.

    python3 -m venv .venv && .venv/bin/pip install llmcompressor==0.14.0.1
    .venv/bin/python tests/interop/llmcompressor_compare.py            # --write also puts the results into the tree

For every model and width: GPTQ of both with their defaults (groups of 64; layers that 64 does not divide have
one scale a row), the runs taking turns. Printed and written are

  seconds     from opening the checkpoint to the finished folder, without start and imports
  process     the whole process as a user waits for it
  cpu         processor seconds of that process, which other work on the machine disturbs least
  peak MB     largest resident set of the process, as the kernel counted it
  perplexity  and KL(dense || compressed), of both folders by `espalier eval` on the evaluation texts

each the median of the rounds. `--write` saves tests/bench/results/llmcompressor.json and the README's table after
every row; rows of earlier runs that were not run again stay.
"""

import argparse
import json
import os
import platform
import re
import shlex
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import date
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]
SHARED = Path(os.environ.get("ESPALIER_SHARED", CHECKOUT.parent / "shared"))
RESULTS = CHECKOUT / "tests" / "bench" / "results" / "llmcompressor.json"
BEGIN, END = "<!-- peers:begin -->", "<!-- peers:end -->"

DOCUMENTS, GROUP = 128, 64
MODELS = ("stories3M", "babyllama105", "tiny1m")
WIDTHS = (4, 3)
ONE_THREAD = {
    name: "1"
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "RAYON_NUM_THREADS", "NUMEXPR_NUM_THREADS")
} | {"TOKENIZERS_PARALLELISM": "false", "HF_HUB_OFFLINE": "1", "CUDA_VISIBLE_DEVICES": ""}


# ---- llm-compressor, in a process of its own ----------------------------------------------------------------


def upstream(model, bits, ids, output):
    """Compresses with llm-compressor's defaults for GPTQ; prints the seconds between loading and saving."""
    import torch
    from compressed_tensors.quantization import QuantizationArgs, QuantizationScheme
    from datasets import Dataset
    from llmcompressor import oneshot
    from llmcompressor.modifiers.gptq import GPTQModifier
    from transformers import AutoModelForCausalLM

    torch.set_num_threads(1)
    torch.set_num_interop_threads(1)
    rows = [json.loads(line)["input_ids"] for line in open(ids, encoding="utf-8")]

    begin = time.perf_counter()
    loaded = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32)
    ragged = sorted({n.rsplit(".", 1)[-1] for n, m in loaded.named_modules()
                     if isinstance(m, torch.nn.Linear) and "lm_head" not in n and m.in_features % GROUP})  # fmt: skip
    groups = {"grouped": QuantizationScheme(targets=["Linear"], weights=QuantizationArgs(
        num_bits=bits, symmetric=True, strategy="group", group_size=GROUP))}  # fmt: skip
    if ragged:
        pattern = "(" + "|".join(ragged) + ")"
        groups["grouped"].targets = [f"re:^(?!.*{pattern}$).*_proj$"]
        groups["rows"] = QuantizationScheme(targets=[f"re:.*{pattern}$"], weights=QuantizationArgs(
            num_bits=bits, symmetric=True, strategy="channel"))  # fmt: skip
    oneshot(
        model=loaded,
        dataset=Dataset.from_list([{"input_ids": row, "attention_mask": [1] * len(row)} for row in rows]),
        recipe=GPTQModifier(ignore=["lm_head"], config_groups=groups),
        max_seq_length=max(map(len, rows)),
        num_calibration_samples=len(rows),
        shuffle_calibration_samples=False,
    )
    loaded.save_pretrained(output, save_compressed=True)
    seconds = time.perf_counter() - begin
    for name in ("tokenizer.json", "tokenizer_config.json"):  # the evaluation reads texts with it
        if (model / name).is_file():
            (Path(output) / name).write_bytes((model / name).read_bytes())
    print(json.dumps({"seconds": seconds}))


# ---- measuring a process ------------------------------------------------------------------------------------


def measured(command, cpu):
    """Runs a command on one core; returns (its output, wall seconds, processor seconds, peak MB).

    The kernel counts what the child held before it became the command, which is this process: it imports nothing
    large, what needs the libraries is a process of its own.
    """
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        begin = time.perf_counter()
        child = subprocess.Popen(list(map(str, command)), stdout=out, stderr=err, env=os.environ | ONE_THREAD,
                                 preexec_fn=lambda: os.sched_setaffinity(0, {cpu}))  # fmt: skip
        _, status, usage = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
        wall = time.perf_counter() - begin
        out.seek(0)
        err.seek(0)
        if child.returncode:
            tail = err.read().decode(errors="replace").strip()[-2000:]
            raise SystemExit(f"exit {child.returncode}: {shlex.join(map(str, command))}\n{tail}")
        return out.read().decode(), wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


def espalier_options(espalier, source, bits, work):
    """The short form, or the recipe that its refusal prints for layers whose inputs the group does not divide."""
    short = ["--scheme", f"W{bits}A16", "--group-size", str(GROUP)]
    refused = subprocess.run([*espalier, "compress", source, *short, "--dry-run"], capture_output=True, text=True)
    if refused.returncode == 0:
        return short
    recipe = re.search(r"--recipe FILE\.yaml:\n(.*)", refused.stderr, re.DOTALL)
    if not recipe:
        raise SystemExit(f"espalier: {refused.stderr.strip()}")
    file = work / f"w{bits}.yaml"
    file.write_text(recipe.group(1))
    return ["--recipe", str(file)]


def quality(espalier, folder, dense):
    texts = SHARED / "data" / "tinystories_eval.jsonl"
    command = [*espalier, "eval", folder, "--data", texts, "--against", dense, "--protocol", "docs", "--json"]
    answer = json.loads(subprocess.run(list(map(str, command)), capture_output=True, text=True, check=True).stdout)
    return {"perplexity": answer["perplexity"], "kl": answer["kl"], "top1": answer["top1"]}


def weight_bytes(folder):
    return sum(file.stat().st_size for file in folder.glob("*.safetensors"))


# ---- the comparison -----------------------------------------------------------------------------------------


def token_ids(source, file):
    """Writes the ids of the first documents, BOS first, cut to the model's context; returns how many."""
    command = [sys.executable, __file__, "--token-ids", source, file]
    return int(subprocess.run(list(map(str, command)), check=True, capture_output=True, text=True).stdout.split()[-1])


def write_token_ids(source, file):
    from transformers import AutoConfig, AutoTokenizer, logging

    logging.set_verbosity_error()  # texts longer than the context are cut here
    tokenizer, length = AutoTokenizer.from_pretrained(source), AutoConfig.from_pretrained(source).max_position_embeddings
    with open(SHARED / "data" / "tinystories_calib.jsonl", encoding="utf-8") as lines:
        rows = [tokenizer(json.loads(line)["text"])["input_ids"][:length] for line, _ in zip(lines, range(DOCUMENTS))]
    file.write_text("".join(json.dumps({"input_ids": row}) + "\n" for row in rows))
    print(sum(map(len, rows)))


def compare(espalier, model, bits, rounds, cpu, work):
    source = SHARED / "models" / model
    ids = work / "ids.jsonl"
    tokens = token_ids(source, ids)
    options = espalier_options(espalier, source, bits, work)
    runs = {"espalier": [], "llm-compressor": []}
    folders = {}
    for number in range(rounds):
        for tool, figures in runs.items():
            output = folders[tool] = work / f"{tool}-{number}"
            if tool == "espalier":
                command = [*espalier, "compress", source, *options, "--threads", 1, "--data", ids, "-o", output, "--json"]
            else:
                command = [sys.executable, __file__, "--upstream", source, bits, ids, output]
            text, wall, processor, peak = measured(command, cpu)
            answer = json.loads(text[text.index("{") :] if tool == "espalier" else text.strip().splitlines()[-1])
            seconds = answer["time"]["total_seconds"] if tool == "espalier" else answer["seconds"]
            figures.append({"seconds": seconds, "process_seconds": wall, "cpu_seconds": processor, "peak_mb": peak})
            print(f"{model} W{bits} {tool}: {seconds:.2f} s, process {wall:.2f} s, cpu {processor:.2f} s,"
                  f" {peak:.0f} MB", file=sys.stderr, flush=True)  # fmt: skip
    row = {"model": model, "bits": bits, "group": GROUP, "tokens": tokens, "date": date.today().isoformat(),
           "load": os.getloadavg()[0]}  # fmt: skip
    for tool, figures in runs.items():
        middle = {key: statistics.median(run[key] for run in figures) for key in figures[0]}
        row[tool] = middle | quality(espalier, folders[tool], source) | {
            "weight_bytes": weight_bytes(folders[tool]), "runs": figures}  # fmt: skip
    return row


def versions():
    import importlib.metadata as metadata

    return {name: metadata.version(name) for name in ("llmcompressor", "compressed-tensors", "transformers", "torch")}


def processor_name():
    with open("/proc/cpuinfo", encoding="utf-8") as lines:
        return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())


def table(result):
    """Markdown: one line a model and width, ours / theirs."""
    known = result["versions"]
    loads = [row["load"] for row in result["rows"]]
    # The runs themselves are a load of one.
    machine = "an otherwise idle machine"
    if max(loads) >= 2:
        machine = (f"a machine that did other work too (load {min(loads):.0f} to {max(loads):.0f}, which stretches the "
                   "seconds of both)")  # fmt: skip
    lines = [
        f"{result['processor']}, one core and one thread each, taking turns on {machine}; llm-compressor "
        f"{known['llmcompressor']}, torch {known['torch']}. Espalier / llm-compressor:",
        "",
        "| model | bits | seconds, opening to rename | whole process | processor seconds | peak MB | perplexity | KL | rounds |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for row in result["rows"]:
        ours, theirs = row["espalier"], row["llm-compressor"]

        def pair(key, form, share=True):
            text = f"{ours[key]:{form}} / {theirs[key]:{form}}"
            return text + (f" ({ours[key] / theirs[key]:.2f}×)" if share else "")

        lines.append(
            f"| {row['model']} | {row['bits']} | {pair('seconds', '.1f')} | {pair('process_seconds', '.1f')} "
            f"| {pair('cpu_seconds', '.1f')} | {pair('peak_mb', '.0f')} | {pair('perplexity', '.3f', False)} "
            f"| {pair('kl', '.4f', False)} | {len(ours['runs'])} |"
        )
    return "\n".join(lines)


def write(result):
    RESULTS.parent.mkdir(parents=True, exist_ok=True)
    RESULTS.write_text(json.dumps(result, indent=1) + "\n")
    readme = CHECKOUT / "README.md"
    head, rest = readme.read_text().split(BEGIN)
    readme.write_text(f"{head}{BEGIN}\n{table(result)}\n{END}{rest.split(END)[1]}")


def merged(rows, row):
    """Returns rows with this one in the place of the one it repeats, in the order of MODELS and WIDTHS."""
    key = lambda r: (MODELS.index(r["model"]), WIDTHS.index(r["bits"]))  # noqa: E731
    return sorted([r for r in rows if key(r) != key(row)] + [row], key=key)


def main():
    if sys.argv[1:2] == ["--upstream"]:
        model, bits, ids, output = sys.argv[2:]
        upstream(Path(model), int(bits), ids, output)
        return
    if sys.argv[1:2] == ["--token-ids"]:
        write_token_ids(*map(Path, sys.argv[2:]))
        return
    parser = argparse.ArgumentParser(description="Compares Espalier with llm-compressor: time, memory, quality.")
    parser.add_argument("--espalier", default=os.environ.get("ESPALIER", str(CHECKOUT / "espalier")))
    parser.add_argument("--models", default=",".join(MODELS))
    parser.add_argument("--bits", default=",".join(map(str, WIDTHS)))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--cpu", type=int, default=min(os.sched_getaffinity(0)), help="the core both run on")
    parser.add_argument("--write", action="store_true", help="save the results and the README's table")
    parser.add_argument("--table-from", type=Path, help="write the README's table from saved results and stop")
    chosen = parser.parse_args()
    if chosen.table_from:
        write(json.loads(chosen.table_from.read_text()))
        return
    try:
        known = versions()
    except Exception as missing:  # noqa: BLE001: whichever package it is
        print(f"skip everything: {missing}; the install line stands at the head of this file")
        print("0 compared, 1 skipped")
        return
    if not (SHARED / "models").is_dir():
        print(f"skip everything: {SHARED} has no models; set ESPALIER_SHARED")
        print("0 compared, 1 skipped")
        return
    espalier = shlex.split(chosen.espalier)
    subprocess.run([*espalier, "--version"], check=True, capture_output=True)  # builds, if need be
    result = {"processor": processor_name(), "documents": DOCUMENTS, "versions": known, "rows": []}
    if chosen.write and RESULTS.is_file():
        saved = json.loads(RESULTS.read_text())
        if all(saved[key] == result[key] for key in ("processor", "documents", "versions")):
            result["rows"] = saved["rows"]
    with tempfile.TemporaryDirectory(prefix="espalier-peers-") as temporary:
        for model in chosen.models.split(","):
            for bits in map(int, chosen.bits.split(",")):
                work = Path(temporary) / f"{model}-{bits}"
                work.mkdir()
                row = compare(espalier, model, bits, chosen.rounds, chosen.cpu, work)
                result["rows"] = merged(result["rows"], row)
                if chosen.write:
                    write(result)
    print(table(result))


if __name__ == "__main__":
    main()
