#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Checks that the checkpoints Espalier writes mean the same to transformers and compressed-tensors.

Each case compresses a model twice, packed and `--format dense`, and then lets the upstream libraries speak:

  config      compressed-tensors parses the quantization_config, and its targets and ignore list pick
              exactly the layers that are stored packed
  load        transformers loads every tensor: none missing, unexpected or of another shape
  weights     what it decompresses is what Espalier computes with, to the bit; everything else is the source's
  perplexity  it predicts the same tokens as well as `espalier eval` says
  repack      packed again by compressed-tensors, the weights are the bytes of our file
  rtn         compressed-tensors' own min-max rounding of the source gives our bytes (method rtn)

transformers reads a packed checkpoint in two ways, decompressing at the first forward pass or while it
loads (`dequantize=True`); load, weights and perplexity are checked for both, and for the dense output.
See README.md beside this file.
"""

import argparse
import contextlib
import functools
import io
import json
import math
import os
import random
import shlex
import subprocess
import sys
import tempfile
import warnings
from dataclasses import dataclass
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]
SHARED = Path(os.environ.get("ESPALIER_SHARED", CHECKOUT.parent / "shared"))

os.environ["TQDM_DISABLE"] = "1"  # read when the libraries are imported
try:
    import torch
    import transformers
    from compressed_tensors.compressors import BaseCompressor
    from compressed_tensors.compressors.pack_quantized import unpack_from_int32
    from compressed_tensors.quantization import QuantizationConfig, QuantizationStrategy, apply_quantization_config
    from compressed_tensors.quantization.lifecycle.forward import quantize
    from compressed_tensors.quantization.utils import calculate_qparams, calculate_range
    from safetensors.torch import load_file
except ImportError as missing:
    torch, MISSING = None, missing

# Both sides compute in float32 on the same weights and differ in the order of their sums. bf16 checkpoints
# are loaded widened to float32 too, because that is what `espalier eval` does: the tolerance is the same.
TOLERANCE = 1e-5
# Rounding the inputs to int8 puts the largest of every token on a tie (127.5), which the last bit of a sum
# decides: a millionth more or less on every input moves the perplexity of tiny1m by half a percent.
ROUNDED_INPUTS_TOLERANCE = 1e-2
ROWS, ROW_TOKENS = 8, 96


@dataclass(frozen=True)
class Case:
    model: str  # made/NAME, or a folder of the shared material
    label: str
    options: str
    recipe: str = ""

    @property
    def name(self):
        return f"{self.model.rsplit('/', 1)[-1]} {self.label}"


# ---- models and cases -----------------------------------------------------------------------------------

# Made by transformers itself. 100 is no multiple of a word's codes: rows and columns end inside a word.
SMALL = dict(vocab_size=160, hidden_size=64, intermediate_size=100, num_hidden_layers=2, num_attention_heads=4,
             num_key_value_heads=2, head_dim=16, max_position_embeddings=128)  # fmt: skip
MADE = {
    "llama": ("LlamaConfig", SMALL, "float32"),
    "llama-tied": ("LlamaConfig", SMALL | dict(tie_word_embeddings=True, attention_bias=True), "float32"),
    "llama-bf16": ("LlamaConfig", SMALL, "bfloat16"),
    "llama-fp16": ("LlamaConfig", SMALL, "float16"),
    "mistral": ("MistralConfig", SMALL, "float32"),
    "qwen2": ("Qwen2Config", SMALL, "float32"),
    "qwen3": ("Qwen3Config", SMALL, "float32"),
    "gpt2": ("GPT2Config", dict(vocab_size=160, n_embd=48, n_head=3, n_layer=2, n_positions=64), "float32"),
}

RTN = "--method rtn --scheme"
GPTQ = "--samples 32 --data {calibration} --scheme"
MIXED = """quantization_stage:
  quantization_modifiers:
    QuantizationModifier:
      ignore: [lm_head, "re:.*layers[.]1[.]self_attn[.]o_proj"]
      config_groups:
        attention:
          targets: ["re:.*self_attn.*"]
          weights: {num_bits: 8, type: int, symmetric: true, strategy: channel}
        mlp:
          targets: ["re:.*mlp.*"]
          weights: {num_bits: 3, type: int, symmetric: true, strategy: group, group_size: 4}
"""
CASES = [
    *(Case("made/llama", f"rtn w{b}.g4", f"{RTN} W{b}A16 --group-size 4") for b in (2, 3, 4, 8)),
    *(Case("made/llama", f"rtn w{b} per channel", f"{RTN} W{b}A16 --group-size 0") for b in (3, 4)),
    Case("made/llama", "rtn w4.g4 asymmetric", f"{RTN} W4A16_ASYM --group-size 4"),
    Case("made/llama", "rtn w4 per channel asymmetric", f"{RTN} W4A16_ASYM --group-size 0"),
    Case("made/llama", "rtn w4.g4 in shards", f"{RTN} W4A16 --group-size 4 --shard-size 40000"),
    Case("made/llama", "rtn w8a8", f"{RTN} W8A8"),
    Case("made/llama-bf16", "rtn w8a8", f"{RTN} W8A8"),
    Case("made/llama", "mixed recipe", "--recipe {recipe}", MIXED),
    *(Case(f"made/{m}", "rtn w4.g4", f"{RTN} W4A16 --group-size 4")
      for m in ("llama-tied", "llama-bf16", "llama-fp16", "mistral", "qwen2", "qwen3", "gpt2")),
    Case("made/llama-bf16", "rtn w4.g4 asymmetric", f"{RTN} W4A16_ASYM --group-size 4"),
    Case("made/llama-bf16", "rtn w8 per channel", f"{RTN} W8A16 --group-size 0"),
    *(Case(f"golden/families/{m}", "rtn w4.g8", f"{RTN} W4A16 --group-size 8")
      for m in ("llama", "llama-bf16", "llama-tied-bias", "llama3-rope", "llama-yarn", "mistral", "qwen2", "qwen2-tied",
                "qwen3", "qwen3-bf16", "gpt2")),
    Case("models/stories260K", "rtn w4 per channel", f"{RTN} W4A16 --group-size 0"),
    Case("models/stories260K", "gptq w8 per channel", f"{GPTQ} W8A16 --group-size 0"),
    Case("models/tiny1m", "gptq w4.g32", f"{GPTQ} W4A16 --group-size 32"),
    Case("models/babyllama105", "gptq w4.g32 asymmetric", f"{GPTQ} W4A16_ASYM --group-size 32"),
    Case("models/babyllama105", "gptq w3.g32", f"{GPTQ} W3A16 --group-size 32"),
    Case("models/stories3M", "gptq w4.g64", f"{GPTQ} W4A16 --group-size 64"),
    Case("models/stories3M", "gptq w4.g64 asymmetric", f"{GPTQ} W4A16_ASYM --group-size 64"),
    Case("models/tiny1m", "gptq w8a8", f"{GPTQ} W8A8"),
    Case("models/stories3M", "gptq w8.g64", f"{GPTQ} W8A16 --group-size 64"),
]  # fmt: skip


def make(name, folder):
    """Writes a model of random weights, as transformers saves it."""
    kind, options, dtype = MADE[name]
    torch.manual_seed(sum(name.encode()))
    config = getattr(transformers, kind)(**options, initializer_range=0.1, bos_token_id=1, eos_token_id=2)
    model = transformers.AutoModelForCausalLM.from_config(config, dtype=getattr(torch, dtype))
    for parameter in model.parameters():  # norms of ones and biases of zeros would hide a mix-up
        parameter.data.add_(torch.randn_like(parameter) * 0.02)
    model.save_pretrained(folder)


def rows_of(source):
    """Token ids both sides predict: stories where the model has a tokenizer, else random ones."""
    config = transformers.AutoConfig.from_pretrained(source)
    length = min(ROW_TOKENS, config.max_position_embeddings)
    texts = SHARED / "data" / "tinystories_eval.jsonl"
    if (source / "tokenizer.json").is_file() and texts.is_file():
        tokenizer = transformers.AutoTokenizer.from_pretrained(source)
        with open(texts, encoding="utf-8") as lines:
            return [tokenizer(json.loads(line)["text"])["input_ids"][:length] for line, _ in zip(lines, range(ROWS))]
    generator = random.Random(7)
    return [[generator.randrange(config.vocab_size) for _ in range(length)] for _ in range(ROWS)]


# ---- what upstream makes of a folder ----------------------------------------------------------------------


def tensors_of(folder):
    return {name: t for file in sorted(folder.glob("*.safetensors")) for name, t in load_file(file).items()}


def load(folder, dtype="auto", dequantize=False):
    """Loads as a user does; fails where transformers itself would only print a table."""
    options = {"quantization_config": transformers.CompressedTensorsConfig(dequantize=True)} if dequantize else {}
    model, info = transformers.AutoModelForCausalLM.from_pretrained(
        folder, dtype=dtype, output_loading_info=True, **options
    )
    faults = [f"{len(names)} {what}, such as {min(map(str, names))}" for what, names in info.items() if names]
    if faults:
        raise AssertionError("; ".join(faults))
    return model.eval()


@torch.no_grad() if torch else (lambda f: f)
def perplexity(model, rows):
    nats, predictions = 0.0, 0
    for row in rows:
        ids = torch.tensor([row])
        logits = model(ids).logits[0, :-1].double()
        nats += torch.nn.functional.cross_entropy(logits, ids[0, 1:], reduction="sum").item()
        predictions += len(row) - 1
    return math.exp(nats / predictions)


def same(found, expected):
    """Raises unless two tensors agree in type, shape and every bit."""
    for name in sorted(expected):
        a, b = found[name], expected[name]
        if a.dtype != b.dtype or a.shape != b.shape:
            raise AssertionError(f"{name}: {a.dtype} {tuple(a.shape)}, expected {b.dtype} {tuple(b.shape)}")
        if not torch.equal(a, b):
            raise AssertionError(f"{name}: {int((a != b).sum())} of {a.numel()} values differ")


# ---- the checks of one case -------------------------------------------------------------------------------


class Checks:
    def __init__(self, command):
        self.command, self.passed, self.failed, self.skipped = command, 0, 0, 0

    def espalier(self, *arguments):
        result = subprocess.run([*self.command, *map(str, arguments)], capture_output=True, text=True)
        if result.returncode:
            raise AssertionError(f"espalier {arguments[0]}: exit {result.returncode}: {result.stderr.strip()[-300:]}")
        return result.stdout

    @functools.cache  # one folder is loaded in two ways
    def evaluate(self, folder, rows_file):
        answer = json.loads(self.espalier("eval", folder, "--data", rows_file, "--protocol", "docs", "--json"))
        return answer["perplexity"]

    def check(self, what, action):
        """Counts one check; the action returns a remark or None, and raises when it fails."""
        try:
            with contextlib.redirect_stderr(io.StringIO()):  # progress bars and tables
                remark = action()
        except Exception as fault:  # noqa: BLE001: whatever upstream raises is the finding
            self.failed += 1
            print(f"FAIL {what}: {type(fault).__name__}: {' '.join(str(fault).split())[:400]}", flush=True)
            return
        self.passed += 1
        print(f"ok   {what}" + (f": {remark}" if remark else ""), flush=True)

    def skip(self, what, why):
        self.skipped += 1
        print(f"skip {what}: {why}", flush=True)

    def run(self, case, source, work):
        packed, dense, rows_file = work / "packed", work / "dense", work / "rows.jsonl"
        (work / "recipe.yaml").write_text(case.recipe)
        calibration = SHARED / "data" / "tinystories_calib.jsonl"
        options = case.options.format(calibration=shlex.quote(str(calibration)), recipe=work / "recipe.yaml")
        rows = rows_of(source)
        rows_file.write_text("".join(json.dumps({"input_ids": row}) + "\n" for row in rows))

        self.espalier("compress", "-q", source, *shlex.split(options), "--format", "dense", "-o", dense)
        weights = tensors_of(dense)
        self.reads(f"{case.name}: dense", dense, dense, False, weights, rows, rows_file)
        if transformers.AutoConfig.from_pretrained(source).model_type == "gpt2":
            self.check(f"{case.name}: packed", lambda: self.conv1d(source, shlex.split(options), packed))
            return
        self.espalier("compress", "-q", source, *shlex.split(options), "-o", packed)
        groups = []
        self.check(f"{case.name}: packed: config", lambda: groups.extend(self.config(packed)))
        if not groups:
            return
        schemes = list({scheme.model_dump_json(): scheme for _, scheme in groups}.values())
        if all(map(packs_zero_points, schemes)) or loads(packed):
            rounded = any(scheme.input_activations for scheme in schemes)
            tolerance = ROUNDED_INPUTS_TOLERANCE if rounded else TOLERANCE
            self.reads(f"{case.name}: packed", packed, packed, False, weights, rows, rows_file, tolerance)
        else:
            self.skip(f"{case.name}: packed", "compressed-tensors makes room for unpacked zero points, but packs them")
        if len(schemes) == 1:
            self.reads(f"{case.name}: dequantize", packed, dense, True, weights, rows, rows_file)
        else:
            self.skip(f"{case.name}: dequantize", "transformers reads every layer by the scheme of one group")
        stored = tensors_of(packed)
        self.check(f"{case.name}: packed: repack", lambda: self.repack(stored, groups))
        if "rtn" in case.options or case.recipe:
            self.check(f"{case.name}: packed: rtn", lambda: self.rtn(stored, tensors_of(source), groups))

    def config(self, folder):
        """Returns (layer, scheme) pairs as compressed-tensors resolves them."""
        entry = json.loads((folder / "config.json").read_text())["quantization_config"]
        with torch.device("meta"):
            model = transformers.AutoModelForCausalLM.from_config(transformers.AutoConfig.from_pretrained(folder))
        apply_quantization_config(model, QuantizationConfig.model_validate(entry))
        pairs = [(n, m.quantization_scheme) for n, m in model.named_modules() if hasattr(m, "quantization_scheme")]
        stored = [name for name in tensors_of(folder) if name.endswith(".weight_scale")]
        if sorted(name + ".weight_scale" for name, _ in pairs) != sorted(stored):
            raise AssertionError(f"{len(pairs)} layers are targeted, {len(stored)} stored packed, and they differ")
        return pairs

    def reads(self, what, folder, equal, dequantize, weights, rows, rows_file, tolerance=TOLERANCE):
        """Loads in the stored type for the bits, and in float32 for the perplexity, to be that of `equal`.

        Decompressing while loading rounds the weights to the type of their scales, as our dense output does.
        """

        def check_weights():
            model = load(folder, dequantize=dequantize)
            with torch.no_grad():
                model(torch.tensor([rows[0]]))  # decompresses, if loading did not
            found = model.state_dict()
            if "lm_head.weight" not in weights:
                found = {**found, "lm_head.weight": None}  # tied
            same({n: t for n, t in found.items() if t is not None}, weights)

        def check_perplexity():
            theirs, ours = perplexity(load(folder, torch.float32, dequantize), rows), self.evaluate(equal, rows_file)
            relative = ours / theirs - 1
            if not abs(relative) <= tolerance:
                raise AssertionError(f"transformers {theirs:.6f}, espalier {ours:.6f} ({relative:+.1e})")
            return f"{theirs:.4f} ({relative:+.1e})"

        self.check(f"{what}: load, weights", check_weights)
        self.check(f"{what}: perplexity", check_perplexity)

    def conv1d(self, source, options, folder):
        """GPT-2's Conv1D is no Linear: compressed-tensors passes it by, transformers starts it at random."""
        try:
            self.espalier("compress", "-q", source, *options, "-o", folder)
        except AssertionError as refusal:
            if "exit 4" in str(refusal):
                return "refused, as compressed-tensors cannot hold a Conv1D"
            raise
        try:
            load(folder)
            return None
        except AssertionError as unread:
            events = json.loads((folder / "espalier-report.json").read_text()).get("events", [])
            if any("transformers" in json.dumps(event) for event in events):
                return "not read by transformers, and the report says so"
            raise AssertionError(f"transformers cannot read it and nothing warns of it: {unread}") from None

    def repack(self, stored, groups):
        for name, scheme in groups:
            ours = module(stored, name)
            compressor = BaseCompressor.get_value_from_registry(scheme.format)
            # In float32, so that a bf16 quotient does not round across a code.
            wide = {key: t.float() if t.is_floating_point() else t for key, t in ours.items()}
            again = compressor.compress(compressor.decompress(wide, scheme), scheme)
            again["weight_scale"] = again["weight_scale"].to(ours["weight_scale"].dtype)
            same({f"{name}.{key}": t for key, t in again.items()}, {f"{name}.{key}": t for key, t in ours.items()})

    def rtn(self, stored, source, groups):
        """Compares with upstream's rounding in float32, its scales then rounded to the stored type.

        A code may differ only where the quotient is a tie. For narrower types the remark tells how many codes
        differ when upstream rounds in that type, as it does by itself.
        """
        codes = ties = native = 0
        for name, scheme in groups:
            args, ours, weight = scheme.weights, module(stored, name), source[name + ".weight"]
            group = args.group_size if args.strategy == QuantizationStrategy.GROUP else weight.shape[1]
            wide = nearest(weight.float(), args, group, ours["weight_scale"].dtype)
            theirs = BaseCompressor.get_value_from_registry(scheme.format).compress(wide, scheme)
            theirs["weight_scale"] = theirs["weight_scale"].to(ours["weight_scale"].dtype)
            key = "weight_packed" if "weight_packed" in theirs else "weight"
            packed = theirs.pop(key)
            same({f"{name}.{key}": t for key, t in ours.items()}, {f"{name}.{key}": t for key, t in theirs.items()})
            codes += weight.numel()
            mine, other = ours[key], packed
            if key == "weight_packed":
                mine, other = (unpack_from_int32(words, args.num_bits, weight.shape) for words in (mine, other))
            quotient = weight.double() / wide["weight_scale"].double().repeat_interleave(group, 1)
            border = (quotient - quotient.floor() - 0.5).abs() <= 2.0 ** (args.num_bits - 23)  # twice what ours tells
            differ = mine != other
            if (differ & ~border).any():
                raise AssertionError(f"{name}: {int(differ.sum())} of {weight.numel()} codes differ, and are no ties")
            ties += int(differ.sum())
            if weight.dtype != torch.float32:
                state = nearest(weight, args, group, weight.dtype)
                own = quantize(weight, state["weight_scale"], state["weight_zero_point"], args, dtype=torch.int8)
                native += int((mine != own).sum())
        narrow = f", {native} differ from rounding in the type of the weights" if native else ""
        return f"{codes} codes, {ties} ties differ{narrow}"


def nearest(weight, args, group, scale_type):
    """Returns a layer as compressed-tensors' compressors take it, with its own min-max scales."""
    low, high = torch.aminmax(weight.unflatten(1, (-1, group)), dim=-1)
    scale, zero = calculate_qparams(low, high, args)
    if scale_type != weight.dtype:  # the zero point belongs to the scale that is stored
        scale = scale.to(scale_type).to(weight.dtype)
        if not args.symmetric:
            least, most = calculate_range(args, weight.device)
            zero = (least - low.clamp(max=0) / scale).clamp(least, most).round().to(torch.int8)
    return {"weight": weight, "weight_scale": scale, "weight_zero_point": zero}


def loads(folder):
    try:
        return load(folder) is not None
    except RuntimeError:
        return False


def packs_zero_points(scheme):
    """Whether an empty model made for this scheme has room for zero points as they are stored.

    With compressed-tensors 0.19.0 and 0.20.0 it has not: their `compress` leaves them unpacked on the meta
    device. transformers 5.17.0 takes the stored shape all the same; 5.24.0 refuses every asymmetric checkpoint,
    llm-compressor's own too, unless it decompresses while loading.
    """
    if scheme.weights.symmetric:
        return True
    empty = {key: torch.empty(64, 64, device="meta") for key in ("weight", "weight_scale")}
    empty["weight_zero_point"] = torch.empty(64, 64, dtype=torch.int8, device="meta")
    made = BaseCompressor.get_value_from_registry(scheme.format).compress(empty, scheme)
    return made["weight_zero_point"].dtype == torch.int32


def module(tensors, name):
    """Returns the tensors of one layer by their short names, without a bias."""
    prefix = name + "."
    return {n[len(prefix) :]: t for n, t in tensors.items() if n.startswith(prefix + "weight")}


# ---- main -------------------------------------------------------------------------------------------------


def main():
    parser = argparse.ArgumentParser(description="Checks Espalier's checkpoints against the upstream Python libraries.")
    parser.add_argument("--espalier", default=os.environ.get("ESPALIER", str(CHECKOUT / "espalier")),
                        help="command to run instead of ./espalier (or the variable ESPALIER)")  # fmt: skip
    parser.add_argument("--only", default="", help="run only the cases whose name holds this")
    options = parser.parse_args()
    cases = [case for case in CASES if options.only in case.name]
    if torch is None:
        print(f"skip everything: {MISSING}; see tests/interop/README.md for the install line")
        print(f"0 passed, 0 failed, {len(cases)} skipped")
        return 0
    versions = (f"{m.__name__} {m.__version__}" for m in (torch, transformers))
    import compressed_tensors

    print(", ".join([*versions, f"compressed-tensors {compressed_tensors.__version__}"]), flush=True)
    warnings.filterwarnings("ignore")
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    torch.set_num_threads(1)
    checks = Checks(shlex.split(options.espalier))
    with tempfile.TemporaryDirectory(prefix="espalier-interop-") as temporary:
        for number, case in enumerate(cases):
            origin, _, name = case.model.partition("/")
            source = Path(temporary) / "made" / name if origin == "made" else SHARED / case.model
            if origin == "made" and not source.is_dir():
                make(name, source)
            if not source.is_dir():
                checks.skip(case.name, f"{case.model} is not there")
                continue
            work = Path(temporary) / str(number)
            work.mkdir()
            try:
                checks.run(case, source, work)
            except AssertionError as fault:
                checks.check(case.name, lambda fault=fault: (_ for _ in ()).throw(fault))
    print(f"{checks.passed} passed, {checks.failed} failed, {checks.skipped} skipped")
    return 1 if checks.failed else 0


if __name__ == "__main__":
    sys.exit(main())
