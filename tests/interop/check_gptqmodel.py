#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Checks the GPTQ checkpoints Espalier writes, and the AWQ checkpoints it reads, against GPTQModel.

  gptq, gptq_v2   one run writes both and `--format dense`; GPTQModel loads each of the packed folders on the CPU
    layers        the layers it takes for quantized are those the run compressed
    weights       what its kernel dequantizes is our dense output rounded to float16, to the bit
    perplexity    in bfloat16 arithmetic it predicts the same rows of token ids about as well as `espalier eval` says
  awq             a checkpoint packed by GPTQModel itself from random codes, scales and zero points
    decoded       `espalier eval` finds no divergence between it and the same layers as GPTQModel dequantizes them

See README.md beside this file.
"""

import argparse
import json
import os
import shlex
import sys
import tempfile
from pathlib import Path

try:
    os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")
    os.environ.setdefault("TORCHDYNAMO_DISABLE", "1")  # compiling each layer takes longer than all of the checks
    import gptqmodel
    import tokenizers
    import torch
    import transformers
    from gptqmodel.nn_modules.qlinear.torch_awq import AwqTorchLinear
    from safetensors.torch import load_file, save_file
except ImportError as missing:
    gptqmodel, MISSING = None, missing

import check_transformers as base  # noqa: E402: imports torch, which reads the variables

# GPTQModel multiplies in 16 bits on the CPU; its weights are compared to the bit, its sums only for sanity.
PERPLEXITY_TOLERANCE = 2e-2
# Espalier's packed and dense products of the same weights add in different orders.
DIVERGENCE_TOLERANCE = 1e-8
FORMATS = ("gptq", "gptq_v2")

# Widths that every bit count packs without a rest: multiples of 32.
WIDE = base.SMALL | dict(hidden_size=128, intermediate_size=256, head_dim=32, max_position_embeddings=128)


def asymmetric(bits, group):
    """Asymmetric round to nearest of other widths than four has no short form."""
    strategy = f"group, group_size: {group}" if group else "channel"
    return ("quantization_stage:\n  quantization_modifiers:\n    QuantizationModifier:\n      ignore: [lm_head]\n"
            "      config_groups:\n        all:\n          targets: [Linear]\n          weights: "
            f"{{num_bits: {bits}, type: int, symmetric: false, strategy: {strategy}}}\n")  # fmt: skip


RTN, GPTQ, Case = base.RTN, base.GPTQ, base.Case
CASES = [
    *(Case("made", f"rtn w{b}.g32", f"{RTN} W{b}A16 --group-size 32") for b in (2, 3, 4, 8)),
    *(Case("made", f"rtn w{b} per channel", f"{RTN} W{b}A16 --group-size 0") for b in (3, 4, 8)),
    *(Case("made", f"rtn w{b}.g32 asymmetric", "--recipe {recipe}", asymmetric(b, 32)) for b in (2, 3, 4, 8)),
    *(Case("made", f"rtn w{b} per channel asymmetric", "--recipe {recipe}", asymmetric(b, 0)) for b in (3, 4)),
    Case("models/stories3M", "gptq w4.g64", f"{GPTQ} W4A16 --group-size 64"),
    Case("models/stories3M", "gptq w3.g64", f"{GPTQ} W3A16 --group-size 64"),
    Case("models/stories3M", "gptq w4.g64 asymmetric", f"{GPTQ} W4A16_ASYM --group-size 64"),
    Case("models/babyllama105", "gptq w4.g32", f"{GPTQ} W4A16 --group-size 32"),
]  # fmt: skip


def make(folder):
    torch.manual_seed(7)
    config = transformers.LlamaConfig(**WIDE, initializer_range=0.1, bos_token_id=1, eos_token_id=2)
    model = transformers.AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    for parameter in model.parameters():
        parameter.data.add_(torch.randn_like(parameter) * 0.02)
    model.save_pretrained(folder)


def load(folder):
    if not (folder / "tokenizer.json").is_file():  # it does not load a model without one
        words = tokenizers.Tokenizer(tokenizers.models.WordLevel({"?": 0}, unk_token="?"))
        transformers.PreTrainedTokenizerFast(tokenizer_object=words, unk_token="?").save_pretrained(folder)
    backend = gptqmodel.BACKEND.GPTQ_TORCH
    return gptqmodel.GPTQModel.load(str(folder), device="cpu", backend=backend, dtype=torch.float16).model.eval()


def quantized(model):
    return {name: module for name, module in model.named_modules() if hasattr(module, "qweight")}


def run_gptq(checks, case, source, work):
    (work / "recipe.yaml").write_text(case.recipe)
    calibration = base.SHARED / "data" / "tinystories_calib.jsonl"
    options = case.options.format(calibration=shlex.quote(str(calibration)), recipe=work / "recipe.yaml")
    rows, rows_file, out = base.rows_of(source), work / "rows.jsonl", work / "out"
    rows_file.write_text("".join(json.dumps({"input_ids": row}) + "\n" for row in rows))
    formats = ",".join([*FORMATS, "dense"])
    checks.espalier("compress", "-q", source, *shlex.split(options), "--format", formats, "-o", out)
    dense = base.tensors_of(out / "dense")
    report = json.loads((out / "dense" / "espalier-report.json").read_text())
    compressed = {row["name"] for row in report["linears"] if row["method"] != "none"}

    for form in FORMATS:
        what = f"{case.name}: {form}"
        loaded = []
        checks.check(f"{what}: load", lambda form=form: loaded.append(load(out / form)))
        if not loaded:
            continue
        model, layers = loaded[0], quantized(loaded[0])

        def check_layers(layers=layers):
            if set(layers) != compressed:
                raise AssertionError(f"{len(layers)} layers, {len(compressed)} compressed: {set(layers) ^ compressed}")
            return f"{len(layers)}"

        def check_weights(layers=layers):
            count = 0
            for name, layer in layers.items():
                base.same({name: layer.dequantize_weight().T.contiguous()}, {name: dense[f"{name}.weight"].half()})
                count += dense[f"{name}.weight"].numel()
            return f"{count} values"

        def check_perplexity(model=model, form=form):
            theirs, ours = base.perplexity(model.bfloat16(), rows), checks.evaluate(out / form, rows_file)
            if not abs(ours / theirs - 1) <= PERPLEXITY_TOLERANCE:
                raise AssertionError(f"GPTQModel {theirs:.5f}, espalier {ours:.5f}")
            return f"{theirs:.4f} ({ours / theirs - 1:+.1e})"

        checks.check(f"{what}: layers", check_layers)
        checks.check(f"{what}: weights", check_weights)
        checks.check(f"{what}: perplexity", check_perplexity)


def run_awq(checks, source, work, group):
    """GPTQModel packs; its own dequantized values, as a dense checkpoint, are what ours must read."""
    packed, plain, rows_file = work / "packed", work / "plain", work / "rows.jsonl"
    rows_file.write_text("".join(json.dumps({"input_ids": row}) + "\n" for row in base.rows_of(source)))
    torch.manual_seed(group)
    tensors = base.tensors_of(source)
    stored, decoded = {}, {}
    for name, weight in tensors.items():
        if not name.endswith("_proj.weight"):
            stored[name] = decoded[name] = weight
            continue
        out, inputs = weight.shape
        # Six bits each, so that GPTQModel's products in float16 are exact, as ours in float32 are.
        scales = (torch.randint(32, 64, (out, inputs // group)) * 2.0**-13).half()
        zeros = torch.randint(0, 16, (out, inputs // group)).half()
        codes = torch.randint(0, 16, (out, inputs))
        spread = [t.float().repeat_interleave(group, 1) for t in (scales, zeros)]
        linear = torch.nn.Linear(inputs, out, bias=False)
        linear.weight.data = (codes - spread[1]) * spread[0]
        layer = AwqTorchLinear(bits=4, group_size=group, sym=False, desc_act=False, in_features=inputs,
                               out_features=out, bias=False, pack_dtype=torch.int32, register_buffers=True)  # fmt: skip
        layer.pack(linear, scales.float(), zeros.float())
        prefix = name.removesuffix("weight")
        stored |= {prefix + key: getattr(layer, key).contiguous() for key in ("qweight", "qzeros", "scales")}
        stored[prefix + "scales"] = stored[prefix + "scales"].half()
        decoded[name] = dequantized(stored, prefix, group)
        if not torch.equal(decoded[name], linear.weight.data):
            raise AssertionError(f"{name}: GPTQModel does not give back what it packed")
    config = json.loads((source / "config.json").read_text())
    awq = {"quant_method": "awq", "bits": 4, "group_size": group, "zero_point": True, "version": "gemm",
           "modules_to_not_convert": ["lm_head"]}  # fmt: skip
    for folder, weights, extra in ((packed, stored, {"quantization_config": awq}), (plain, decoded, {})):
        folder.mkdir()
        save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
        (folder / "config.json").write_text(json.dumps(config | extra))

    def check():
        answer = json.loads(checks.espalier("eval", packed, "--data", rows_file, "--against", plain, "--json", "-q"))
        if not abs(answer["kl"]) <= DIVERGENCE_TOLERANCE or answer["top1"] != 1:
            raise AssertionError(f"KL {answer['kl']:.3g}, top-1 {answer['top1']:.4f}")
        return f"KL {answer['kl']:.1e}, top-1 {answer['top1']:.0f}, {answer['predictions']} predictions"

    checks.check(f"made awq g{group}: decoded", check)


def dequantized(stored, prefix, group):
    from gptqmodel.quantization.awq.utils.packing_utils import dequantize_gemm

    parts = [stored[prefix + key] for key in ("qweight", "qzeros", "scales")]
    return dequantize_gemm(*parts, 4, group).T.float().contiguous()


def main():
    parser = argparse.ArgumentParser(description="Checks Espalier's GPTQ output and AWQ input against GPTQModel.")
    parser.add_argument("--espalier", default=os.environ.get("ESPALIER", str(base.CHECKOUT / "espalier")))
    parser.add_argument("--only", default="", help="run only the cases whose name holds this")
    chosen = parser.parse_args()
    cases = [case for case in CASES if chosen.only in case.name]
    awq_groups = [group for group in (32, 128) if chosen.only in f"made awq g{group}"]
    if gptqmodel is None or base.torch is None:
        print(f"skip everything: {MISSING if gptqmodel is None else base.MISSING}; see tests/interop/README.md for the install line")
        print(f"0 passed, 0 failed, {len(cases) + len(awq_groups)} skipped")
        return 0
    print(f"gptqmodel {gptqmodel.__version__}, torch {torch.__version__}, transformers {transformers.__version__}")
    torch.set_num_threads(1)
    checks = base.Checks(shlex.split(chosen.espalier))
    with tempfile.TemporaryDirectory(prefix="espalier-interop-") as temporary:
        made = Path(temporary) / "made"
        make(made)
        for number, case in enumerate(cases):
            source = made if case.model == "made" else base.SHARED / case.model
            if not source.is_dir():
                checks.skip(case.name, f"{case.model} is not there")
                continue
            work = Path(temporary) / str(number)
            work.mkdir()
            try:
                run_gptq(checks, case, source, work)
            except AssertionError as fault:
                checks.check(case.name, lambda fault=fault: (_ for _ in ()).throw(fault))
        for group in awq_groups:
            work = Path(temporary) / f"awq{group}"
            work.mkdir()
            try:
                run_awq(checks, made, work, group)
            except AssertionError as fault:
                checks.check(f"made awq g{group}", lambda fault=fault: (_ for _ in ()).throw(fault))
    print(f"{checks.passed} passed, {checks.failed} failed, {checks.skipped} skipped")
    return 1 if checks.failed else 0


if __name__ == "__main__":
    sys.exit(main())
