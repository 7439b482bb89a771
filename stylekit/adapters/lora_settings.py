"""What the metadata of a LoRA say about its strength: alpha of every layer, as peft and kohya's scripts mean it.

peft adds ``alpha / rank * B(A(x))``, or with rank-stabilised LoRA (Kalajdzievski 2023, https://arxiv.org/abs/2312.03732)
``alpha / sqrt(rank) * B(A(x))``. `alpha_pattern` and `rank_pattern` are regular expressions for the end of a layer's path; the first that
matches counts. Settings that change more than a factor are refused by their names, and so is whatever is not known here.
"""

from __future__ import annotations

import math
import re
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any

import regex

from stylekit.errors import AdapterError
from stylekit.storage.untrusted import Source, as_table, cut, parse_json, shown

WEIGHTS_FILE = "pytorch_lora_weights.safetensors"  # diffusers' name of an adapter file
CONFIG_KEY = "lora_adapter_metadata"  # where diffusers looks for peft's configuration
CONFIG_FILE = "adapter_config.json"  # beside peft's own adapter_model.safetensors
UNET_PREFIX = "unet."  # of the names of tensors in adapter files
HEADER_ALPHAS = ("ss_network_alpha", "lora_alpha", "network_alpha", "alpha")  # plain numbers that trainers write
PATTERN_CHARACTERS = 200
SECONDS = 5.0  # for all patterns of a file; a hostile expression takes forever

# say where and how it was trained, or what was matched, and nothing about what is to be added
HARMLESS = {
    "task_type", "peft_type", "auto_mapping", "peft_version", "base_model_name_or_path", "revision", "inference_mode", "r", "lora_alpha",
    "target_modules", "exclude_modules", "lora_dropout", "use_rslora", "init_lora_weights", "layers_to_transform", "layers_pattern",
    "rank_pattern", "alpha_pattern", "megatron_core", "loftq_config", "eva_config", "corda_config", "lora_ga_config", "qalora_group_size",
    "runtime_config", "ensure_weight_tying",
}  # fmt: skip
# others, such as PiSSA and OLoRA, are differences to a base whose weights have been changed
PLAIN_STARTS = (True, False, None, "gaussian", "eva", "orthogonal", "true", "false")
LYCORIS = ("LOHA", "LOKR")
LYCORIS_HARMLESS = {
    "alpha", "rank_dropout", "module_dropout", "rank_dropout_scale", "init_weights", "use_effective_conv2d", "decompose_both",
    "decompose_factor",
}  # fmt: skip
METHODS = {"use_dora": "DoRA", "use_qalora": "QA-LoRA", "lora_bias": "biases", "modules_to_save": "whole modules"}
NOTHING = (None, False, "", "none")


def read_alphas(
    ranks: Mapping[str, int], metadata: Mapping[str, str], label: str, prefix: str = UNET_PREFIX, allowed: Collection[str] = ()
) -> dict[str, float]:
    """Module -> alpha, where the factor is alpha / rank. ranks: of the file's tensors. label: the file, for messages. prefix: of the
    settings among those of several networks. allowed: of `METHODS`, those that the caller sees to.

    AdapterError for settings that are not understood. Where the metadata say nothing, alpha is the rank, as diffusers has it.
    """
    if CONFIG_KEY in metadata:
        return _peft(ranks, metadata[CONFIG_KEY], label, prefix, allowed)
    header = header_alpha(metadata, label)
    return {module: header or float(rank) for module, rank in ranks.items()}


def header_alpha(metadata: Mapping[str, str], label: str) -> float | None:
    """Alpha that stands in the header as a plain number; None if there is none."""
    for key in HEADER_ALPHAS:
        text = metadata.get(key, "").strip()
        if text and text.lower() != "none":
            try:
                return check_alpha(float(text), f"{key} in its header", label)
            except ValueError:
                raise AdapterError(
                    f"The adapter {label} has {key} {shown(text)}, which is no number: train or download it again."
                ) from None
    return None


def convolution_alpha(metadata: Mapping[str, str], label: str) -> float | None:
    """kohya's alpha for convolutions wider than 1x1 by the header; `header_alpha` where it names none."""
    source = Source(what=f"The header of the adapter {label}", remedy="train or download it again", kind=AdapterError)
    text = metadata.get("ss_network_args", "")
    settings = as_table(parse_json(text, source), source) if text and text != "null" else {}
    for key in ("block_alphas", "conv_block_alphas", "rs_lora"):
        if settings.get(key) not in (*NOTHING, "False", "false"):
            raise AdapterError(f"The adapter {label} has no alpha but {key} in its header, which is not read: save it with its alphas.")
    if settings.get("conv_alpha") in (None, "", "None"):
        return header_alpha(metadata, label)
    return check_alpha(_number(settings["conv_alpha"], "conv_alpha", label), "conv_alpha in its header", label)


def check_alpha(alpha: float, where: str, label: str) -> float:
    if not math.isfinite(alpha):
        raise AdapterError(f"The adapter {label} has an alpha of {alpha:g} ({where}), not one finite number: download or train it again.")
    return alpha


def matching(patterns: Iterable[str], modules: Iterable[str], label: str) -> dict[str, str]:
    """Module -> the first of `patterns` that peft matches with it; modules without one are left out.

    As `peft.utils.other.get_pattern_key`, but within `SECONDS`, so that an expression can keep nobody waiting.
    """
    tests = {pattern: _test(pattern, label) for pattern in patterns}
    stop = time.monotonic() + SECONDS
    found: dict[str, str] = {}
    for module in modules if tests else ():
        for pattern, test in tests.items():
            try:
                if test(module, stop - time.monotonic()):
                    found[module] = pattern
                    break
            except TimeoutError:
                raise AdapterError(
                    f"The adapter {label} has the pattern {shown(pattern)}, which takes too long: name the layers."
                ) from None
    return found


def _test(pattern: str, label: str) -> Callable[[str, float], bool]:
    if len(pattern) > PATTERN_CHARACTERS:
        raise AdapterError(f"The adapter {label} has the pattern {shown(pattern)}, over {PATTERN_CHARACTERS} characters: name the layers.")
    if re.fullmatch(r"[\w.]+", pattern):  # a path: nearly all are, and there may be hundreds
        exact, count = re.compile(pattern), len(pattern)

        def ends(module: str, _: float) -> bool:
            whole = len(module) == count
            return (whole or module[-count - 1 : -count] == ".") and (module.endswith(pattern) or bool(exact.fullmatch(module[-count:])))

        return ends
    try:
        re.compile(pattern)
        compiled = regex.compile(rf"(.*\.)?({pattern})$")
    except (re.error, regex.error, RecursionError, OverflowError):
        raise AdapterError(f"The adapter {label} has the pattern {shown(pattern)}, which is no expression: name the layers.") from None

    def matches(module: str, seconds: float) -> bool:
        return compiled.match(module, timeout=max(seconds, 1e-3)) is not None

    return matches


def speaks_of(metadata: Mapping[str, str], prefix: str, label: str) -> bool:
    """Whether there is a configuration of peft's for the network whose settings begin with `prefix`."""
    return CONFIG_KEY in metadata and bool(_configuration(metadata[CONFIG_KEY], label, prefix)[0])


def peft_scales(ranks: Mapping[str, int], metadata: Mapping[str, str], label: str, prefix: str = UNET_PREFIX) -> dict[str, float]:
    """Module -> factor, for LoRA, DoRA, LoHa and LoKr by peft's configuration, which must be there.

    ranks: of the file's tensors, 0 for none.
    """
    config, source = _configuration(metadata[CONFIG_KEY], label, prefix)
    kind = _kind(config)
    if kind == "LORA":
        alphas = read_alphas(ranks, metadata, label, prefix, allowed=["use_dora"])
        return {module: alpha / max(1, ranks[module]) for module, alpha in alphas.items()}
    if kind not in LYCORIS:
        raise AdapterError(f"The adapter {label} is of peft's kind {shown(kind)}: of these only {', '.join(LYCORIS)} are read.")
    for key, value in config.items():
        if key not in HARMLESS | LYCORIS_HARMLESS and value not in (*NOTHING, [], {}):
            raise AdapterError(f"The adapter {label} has {cut(key)} {shown(value)} in peft's configuration, which is not read.")
    if "alpha" not in config or "r" not in config:
        source.refuse("lacks alpha or r")
    values = {}
    for setting in ("alpha", "r"):
        stated = _pattern(config, "alpha_pattern" if setting == "alpha" else "rank_pattern", source)
        found = matching(stated, ranks, label)
        values[setting] = {
            module: check_alpha(_number(stated[found[module]] if module in found else config[setting], setting, label), setting, label)
            for module in ranks
        }
    if any(rank < 1 for rank in values["r"].values()):
        source.refuse("has a rank under 1")
    return {module: values["alpha"][module] / values["r"][module] for module in ranks}


def _configuration(text: str, label: str, prefix: str) -> tuple[dict[str, Any], Source]:
    """peft's settings of one network, and what to call them."""
    source = Source(
        what=f"peft's configuration in the adapter {label}", remedy="save it again with diffusers or stylekit", kind=AdapterError
    )
    values = as_table(parse_json(text, source), source)
    ours = {key.removeprefix(prefix): value for key, value in values.items() if key.startswith(prefix)}
    return ours or {key: value for key, value in values.items() if "." not in key}, source


def _kind(config: Mapping[str, Any]) -> str:
    return str(config.get("peft_type", "LORA")).rpartition(".")[2].upper()


def _peft(ranks: Mapping[str, int], text: str, label: str, prefix: str, allowed: Collection[str]) -> dict[str, float]:
    config, source = _configuration(text, label, prefix)
    _refuse_unknown(config, label, allowed)
    if "lora_alpha" not in config:
        source.refuse("lacks lora_alpha")
    alphas, pattern = _pattern(config, "alpha_pattern", source), matching(_pattern(config, "alpha_pattern", source), ranks, label)
    default = _number(config["lora_alpha"], "lora_alpha", label)
    found = {module: _number(alphas[pattern[module]], "alpha_pattern", label) if module in pattern else default for module in ranks}
    for alpha in {default, *found.values()}:
        check_alpha(alpha, "peft's configuration", label)
    _check_ranks(ranks, config, source, label)
    if _switch(config.get("use_rslora"), "use_rslora", label):
        found = {module: alpha * math.sqrt(ranks[module]) for module, alpha in found.items()}
    return found


def _check_ranks(ranks: Mapping[str, int], config: Mapping[str, Any], source: Source, label: str) -> None:
    """The configuration's ranks must be those of the tensors: a factor that was meant for others would be another."""
    stated = _pattern(config, "rank_pattern", source)
    pattern = matching(stated, ranks, label)
    for module, rank in ranks.items():
        said = stated[pattern[module]] if module in pattern else config.get("r", rank)
        if _number(said, "rank_pattern" if module in pattern else "r", label) != rank:
            raise AdapterError(
                f"The adapter {label} has rank {rank} at {module}, where its configuration says {shown(said)}: download or train it again."
            )


def _refuse_unknown(config: Mapping[str, Any], label: str, allowed: Collection[str]) -> None:
    if _kind(config) != "LORA":
        raise AdapterError(f"The adapter {label} is of peft's kind {shown(config['peft_type'])}: only plain LoRA can be used here.")
    start = config.get("init_lora_weights")
    if (start.lower() if isinstance(start, str) else start) not in PLAIN_STARTS:
        raise AdapterError(
            f"The adapter {label} has init_lora_weights {shown(start)}, for a base whose weights were changed: save it as a plain LoRA."
        )
    for key, value in config.items():
        if (
            key not in HARMLESS
            and key not in allowed
            and value not in (*NOTHING, [], {})
            and not (key == "fan_in_fan_out" and value is True)
        ):
            raise AdapterError(
                f"The adapter {label} has {cut(key)} {shown(value)}{f' ({METHODS[key]})' if key in METHODS else ''} in peft's "
                "configuration, which is not read: use a plain LoRA."
            )


def _pattern(config: Mapping[str, Any], key: str, source: Source) -> dict[str, Any]:
    value = config.get(key) or {}
    if not isinstance(value, dict):
        source.refuse(f"has a {key} that is no table")
    return value


def _switch(value: Any, key: str, label: str) -> bool:
    if value not in (None, True, False):
        raise AdapterError(f"The adapter {label} has {key} {shown(value)} in peft's configuration: it is true or false.")
    return bool(value)


def _number(value: Any, key: str, label: str) -> float:
    try:
        if isinstance(value, bool):
            raise TypeError
        return float(value)
    except (TypeError, ValueError, OverflowError):
        raise AdapterError(f"The adapter {label} has {key} {shown(value)}, which is no number: train or download it again.") from None
