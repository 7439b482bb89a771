"""What a LoRA file's metadata say is read as peft itself reads it, and what is not understood is refused by its name."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import UNet2DConditionModel
from peft import LoraConfig, get_peft_model, get_peft_model_state_dict, inject_adapter_in_model
from peft.utils.other import get_pattern_key
from safetensors.torch import load_file, save_file
from torch import nn

from stylekit import hub
from stylekit.adapters import apply, convert, kohya, lora_file, lora_weights
from stylekit.adapters.lora_file import read_lora
from stylekit.adapters.lora_settings import CONFIG_FILE, CONFIG_KEY, matching
from stylekit.adapters.lora_weights import LoraWeights
from stylekit.base import POCKET_FOLDER
from stylekit.errors import AdapterError

MODULES = (
    "conv_in",
    "down_blocks.1.attentions.0.transformer_blocks.0.attn1.to_q",
    "down_blocks.1.attentions.0.transformer_blocks.0.attn1.to_out.0",
    "down_blocks.1.attentions.0.transformer_blocks.0.attn2.to_k",
    "down_blocks.1.attentions.0.proj_in",
    "mid_block.attentions.0.transformer_blocks.0.attn2.to_k",
    "mid_block.resnets.0.conv1",
    "mid_block.resnets.0.time_emb_proj",
    "up_blocks.0.resnets.0.conv1",
)
PATTERNS = (
    "to_q",
    "attn2.to_k",
    "to_out.0",
    "mid_block.resnets.0.conv1",
    "^conv_in",
    "conv.in",
    "o_q",
    r"down_blocks\..*to_[qk]",
    ".*attn2.*",
    "(mid|up)_block.*conv1",
    "attn[12].to_k|proj_in",
    "down_blocks",
    "to_q$",
    "",
)


@pytest.fixture(scope="module")
def unet() -> UNet2DConditionModel:
    return UNet2DConditionModel.from_pretrained(POCKET_FOLDER / "unet", torch_dtype=torch.float32).eval().requires_grad_(False)


def pefts_own(config: dict[str, Any], path: Path) -> tuple[LoraWeights, dict[str, float]]:
    """A LoRA by peft on the pocket UNet's shapes, saved as diffusers saves it and read here; and peft's own factors."""
    settings = LoraConfig(**({"r": 4, "lora_alpha": 6, "target_modules": list(MODULES), "init_lora_weights": False} | config))
    unet = UNet2DConditionModel.from_config(UNet2DConditionModel.load_config(POCKET_FOLDER / "unet"))
    inject_adapter_in_model(settings, unet, adapter_name="default")
    tensors = {f"unet.{key}": tensor for key, tensor in get_peft_model_state_dict(unet).items()}
    plain = {f"unet.{key}": sorted(value) if isinstance(value, set) else value for key, value in settings.to_dict().items()}
    save_file(tensors, path, metadata={"format": "pt", CONFIG_KEY: json.dumps(plain)})
    factors = {name: layer.scaling["default"] for name, layer in lora_weights.lora_layers(unet).items()}
    return read_lora(path), factors


@pytest.mark.parametrize(
    "config",
    [
        {},
        {"use_rslora": True},
        {"use_rslora": True, "r": 16, "lora_alpha": 16},
        {"alpha_pattern": {"to_q": 1, "conv1": 3}},
        {"alpha_pattern": {"mid_block.*": 1, "conv1": 3, r"up_blocks\.0\..*": 9}},
        {"rank_pattern": {"attn2.to_k": 8, "^conv_in": 2}, "alpha_pattern": {".*attn2.*": 5, "to_k": 7}, "use_rslora": True},
    ],
)
def test_factors_are_those_of_peft(config: dict[str, Any], tmp_path: Path, unet: UNet2DConditionModel) -> None:
    lora, factors = pefts_own(config, tmp_path / "a.safetensors")
    assert set(factors) == set(MODULES)
    ours = {module: alpha / lora.ranks[module] for module, alpha in lora.alphas.items()}
    assert ours == pytest.approx(factors)
    apply.inject(unet, lora)  # and they are what is painted with
    inside = {name: layer.scaling[lora_weights.adapter_key(lora.name)] for name, layer in lora_weights.lora_layers(unet).items()}
    apply.eject(unet, lora.name)
    assert inside == pytest.approx(factors)


@pytest.mark.parametrize("first", PATTERNS)
def test_patterns_match_as_pefts_do(first: str) -> None:
    for second in PATTERNS:
        keys = list(dict.fromkeys((first, second)))
        theirs = {module: get_pattern_key(keys, module) for module in MODULES}
        assert matching(keys, MODULES, "a") == {module: key for module, key in theirs.items() if key in keys}


def test_an_expression_that_takes_for_ever_is_refused_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stylekit.adapters.lora_settings.SECONDS", 0.2)
    started = time.monotonic()
    with pytest.raises(AdapterError, match="takes too long"):
        matching(["(.|..)*[^0]"], ["down_blocks.1.attentions.0.transformer_blocks.0.attn1.to_out.0"], "a")
    assert time.monotonic() - started < 60


def one_layer(tmp_path: Path, config: object, rank: int = 4, **header: str) -> Path:
    tensors = {"unet.conv_in.lora_A.weight": torch.ones(rank, 32, 3, 3), "unet.conv_in.lora_B.weight": torch.ones(128, rank, 1, 1)}
    text = config if isinstance(config, str) else json.dumps(config)
    save_file(tensors, tmp_path / "a.safetensors", metadata=header | ({} if config is None else {CONFIG_KEY: text}))
    return tmp_path / "a.safetensors"


@pytest.mark.parametrize(
    ("config", "word"),
    [
        ({"lora_alpha": float("nan")}, "not one finite number"),
        ({"lora_alpha": float("inf")}, "not one finite number"),
        ({"lora_alpha": 1e300}, "alpha 1e.300 for rank 4 at conv_in"),
        ({"lora_alpha": 1e6}, "alpha 1e.06 for rank 4"),
        ({"lora_alpha": 0}, "alpha 0 at every layer"),
        ({"lora_alpha": "much"}, "lora_alpha 'much', which is no number"),
        ({"lora_alpha": True}, "no number"),
        ({"lora_alpha": [1]}, "no number"),
        ({"r": 4}, "lacks lora_alpha"),
        ({"lora_alpha": 4, "r": 8}, "rank 4 at conv_in, where its configuration says 8"),
        ({"lora_alpha": 4, "r": 4, "rank_pattern": {"conv_in": float("nan")}}, "says nan"),
        ({"lora_alpha": 4, "alpha_pattern": {"conv_in": float("nan")}}, "not one finite number"),
        ({"lora_alpha": 4, "alpha_pattern": {"conv_in": "x"}}, "alpha_pattern 'x'"),
        ({"lora_alpha": 4, "alpha_pattern": {"conv_(": 4}}, "the pattern 'conv_.', which is no expression"),
        ({"lora_alpha": 4, "alpha_pattern": {"x" * 5000: 4}}, "over 200 characters"),
        ({"lora_alpha": 4, "alpha_pattern": ["conv_in"]}, "alpha_pattern that is no table"),
        ({"lora_alpha": 4, "use_rslora": "maybe"}, "use_rslora 'maybe'"),
        ({"lora_alpha": 4, "use_dora": True}, "use_dora True .DoRA."),
        ({"lora_alpha": 4, "lora_bias": True}, "lora_bias"),
        ({"lora_alpha": 4, "bias": "all"}, "bias 'all'"),
        ({"lora_alpha": 4, "use_something_new": 3}, "use_something_new 3"),
        ({"lora_alpha": 4, "init_lora_weights": "pissa_niter_4"}, "init_lora_weights 'pissa_niter_4'"),
        ({"lora_alpha": 4, "init_lora_weights": "olora"}, "init_lora_weights 'olora'"),
        ({"lora_alpha": 4, "peft_type": "LOHA"}, "kind 'LOHA'"),
        ([4], "a list where a table is wanted"),
        ("4", "a number where a table is wanted"),
        ("{", "cannot be read .no valid JSON"),
        ("[" * 100_000, "nested more than 32 deep"),
        ('{"lora_alpha": 1' + "0" * 5000 + "}", "a number of more than 40 digits"),
        ('{"lora_alpha": "a\\u0000"}', "NUL"),
    ],
)
def test_settings_that_are_not_understood_are_refused_by_name_when_added(tmp_path: Path, config: object, word: str) -> None:
    path = one_layer(tmp_path, {f"unet.{k}": v for k, v in config.items()} if isinstance(config, dict) else config)
    for read in (apply.read_adapter, hub.open_style):
        with pytest.raises(AdapterError, match=word) as error:
            read(path)
        assert len(str(error.value)) < 400


@pytest.mark.parametrize(
    ("header", "alpha"),
    [
        ({"ss_network_alpha": "2.0"}, 2.0),
        ({"lora_alpha": "2"}, 2.0),
        ({"alpha": "8"}, 8.0),
        ({"ss_network_alpha": "None"}, 4.0),
        ({"ss_network_alpha": "0"}, 4.0),
        ({}, 4.0),
    ],
)
def test_alpha_that_stands_in_the_header_alone_is_read(tmp_path: Path, header: dict[str, str], alpha: float) -> None:
    assert read_lora(one_layer(tmp_path, None, **header)).alphas == {"conv_in": alpha}
    theirs = {"lora_unet_conv_in.lora_down.weight": torch.ones(4, 32, 3, 3), "lora_unet_conv_in.lora_up.weight": torch.ones(128, 4, 1, 1)}
    save_file(theirs, tmp_path / "k.safetensors", metadata=header)
    assert read_lora(tmp_path / "k.safetensors").alphas == {"conv_in": alpha}
    save_file(theirs | {"lora_unet_conv_in.alpha": torch.tensor(3.0)}, tmp_path / "k.safetensors", metadata=header)
    assert read_lora(tmp_path / "k.safetensors").alphas == {"conv_in": 3.0}  # the layer's own counts


def test_kohyas_convolutions_have_an_alpha_of_their_own_in_the_header(tmp_path: Path) -> None:
    theirs = {"lora_unet_conv_in.lora_down.weight": torch.ones(4, 32, 3, 3), "lora_unet_conv_in.lora_up.weight": torch.ones(128, 4, 1, 1)}
    header = {"ss_network_alpha": "2.0", "ss_network_args": json.dumps({"conv_alpha": "1", "conv_dim": "4"})}
    save_file(theirs, tmp_path / "k.safetensors", metadata=header)
    assert read_lora(tmp_path / "k.safetensors").alphas == {"conv_in": 1.0}
    header["ss_network_args"] = json.dumps({"block_alphas": "1,2,3"})
    save_file(theirs, tmp_path / "k.safetensors", metadata=header)
    with pytest.raises(AdapterError, match="block_alphas in its header, which is not read"):
        read_lora(tmp_path / "k.safetensors")


@pytest.mark.parametrize("alpha", ["nan", "inf", "1e9", "much"])
def test_a_bad_alpha_in_the_header_is_refused(tmp_path: Path, alpha: str) -> None:
    with pytest.raises(AdapterError, match="alpha"):
        read_lora(one_layer(tmp_path, None, ss_network_alpha=alpha))


def test_absurd_weights_are_refused(tmp_path: Path) -> None:
    tensors = {
        "unet.conv_in.lora_A.weight": torch.full((4, 32, 3, 3), 1e30),
        "unet.conv_in.lora_B.weight": torch.full((128, 4, 1, 1), 1e30),
    }
    save_file(tensors, tmp_path / "a.safetensors")
    with pytest.raises(AdapterError, match="absurdly great numbers at conv_in"):
        read_lora(tmp_path / "a.safetensors")
    save_file({key: tensor.to(torch.int32) for key, tensor in tensors.items()}, tmp_path / "a.safetensors")
    with pytest.raises(AdapterError, match="another kind than floating point"):
        read_lora(tmp_path / "a.safetensors")


class Wrapped(nn.Module):
    """What peft names in its own files as base_model.model."""

    def __init__(self) -> None:
        super().__init__()
        self.unet = UNet2DConditionModel.from_config(UNet2DConditionModel.load_config(POCKET_FOLDER / "unet"))


@pytest.mark.parametrize("wrapped", [False, True])
def test_pefts_own_files_are_read_with_the_configuration_beside_them(tmp_path: Path, wrapped: bool) -> None:
    whole = Wrapped()
    model: Any = whole if wrapped else whole.unet
    config = LoraConfig(r=4, lora_alpha=16, target_modules=["to_q", "conv1"], alpha_pattern={"conv1": 2}, init_lora_weights=False)
    peft_model = get_peft_model(model, config)
    peft_model.save_pretrained(tmp_path)
    path = tmp_path / "adapter_model.safetensors"
    assert all(key.startswith("base_model.model.") for key in load_file(path))
    lora = read_lora(path)
    prefix = "base_model.model." + ("unet." if wrapped else "")
    theirs = {
        name.removeprefix(prefix): layer.scaling["default"]
        for name, layer in peft_model.named_modules()
        if hasattr(layer, "scaling") and hasattr(layer, "lora_A")
    }
    assert {module: alpha / lora.ranks[module] for module, alpha in lora.alphas.items()} == pytest.approx(theirs)
    assert hub.open_style(tmp_path).adapters[0].base == "pocket"
    (tmp_path / CONFIG_FILE).unlink()
    assert set(read_lora(path).alphas.values()) == {4.0}


def test_linear_weights_with_kernels_of_one_pixel_and_convolutions_without_paint_the_same(
    tmp_path: Path, unet: UNet2DConditionModel
) -> None:
    lora, _ = pefts_own({}, tmp_path / "a.safetensors")
    layers = dict(unet.named_modules())

    def other(module: str, tensor: torch.Tensor) -> torch.Tensor:
        if isinstance(layers[module], nn.Linear):
            return tensor[..., None, None]
        return tensor[..., 0, 0] if tensor.shape[-2:] == (1, 1) and module.endswith("proj_in") else tensor

    odd = {
        f"unet.{m}.lora_{h}.weight": other(m, t).contiguous() for m, pair in lora.modules.items() for h, t in zip("AB", pair, strict=True)
    }
    save_file(odd, tmp_path / "odd.safetensors", metadata=dict(lora.metadata))
    save_file(kohya.to_kohya(odd, lora.alphas), tmp_path / "kohya.safetensors")
    for name in ("odd", "kohya"):
        read = lora_weights.fitted(read_lora(tmp_path / f"{name}.safetensors"), unet)
        assert all(torch.equal(a, b) for m, pair in read.modules.items() for a, b in zip(pair, lora.modules[m], strict=True))
        assert hub.open_style(tmp_path / f"{name}.safetensors").adapters[0].base == "pocket"
    plain = load_file(convert.convert(tmp_path / "kohya.safetensors", tmp_path / "plain.safetensors", "diffusers"))
    assert {key: tensor.shape for key, tensor in plain.items()} == {
        key: tensor.shape for key, tensor in load_file(tmp_path / "a.safetensors").items()
    }


def test_a_file_that_fits_no_base_is_told_of_the_nearest(tmp_path: Path) -> None:
    lora, _ = pefts_own({}, tmp_path / "a.safetensors")
    tensors = load_file(tmp_path / "a.safetensors")
    strange = {"unet.no.such.lora_A.weight": torch.ones(4, 8), "unet.no.such.lora_B.weight": torch.ones(8, 4)}
    save_file(tensors | strange, tmp_path / "b.safetensors")
    with pytest.raises(
        AdapterError, match=f"{len(MODULES) + 1} layers of the adapter b only {len(MODULES)} match pocket, which lacks no.such"
    ):
        hub.open_style(tmp_path / "b.safetensors")
    theirs = kohya.to_kohya(tensors, lora.alphas) | {"lora_unet_no_such.lora_down.weight": torch.ones(4, 8)}
    save_file(theirs, tmp_path / "k.safetensors")
    with pytest.raises(AdapterError, match=f"only {len(MODULES)} match pocket, the nearest base: it has a layer no_such"):
        hub.open_style(tmp_path / "k.safetensors")


def test_a_written_configuration_matches_each_layer_alone(tmp_path: Path) -> None:
    """Where one layer's path ends another's, peft would take the one's rank for the other."""
    ranks = {"conv": 1, "a.conv": 2, "a_conv": 3, "b.c": 2}
    config = lora_weights.lora_config(ranks, {module: float(rank) for module, rank in ranks.items()})
    for module, rank in ranks.items():
        key = get_pattern_key(config.rank_pattern.keys(), module)
        assert config.rank_pattern.get(key, config.r) == rank


def test_the_same_adapter_is_the_same_file_every_time(tmp_path: Path, unet: UNet2DConditionModel) -> None:
    lora, _ = pefts_own({"alpha_pattern": {"to_q": 1}}, tmp_path / "a.safetensors")
    apply.inject(unet, lora)
    facts = {f"stylekit_{word}": word for word in ("run", "base", "style", "steps", "seed", "näme")}
    files = {
        lora_file.write_lora(unet, lora.name, tmp_path / f"{i}.safetensors", dict(sorted(facts.items(), reverse=bool(i % 2)))).read_bytes()
        for i in range(6)
    }
    apply.eject(unet, lora.name)
    assert len(files) == 1
    assert {k: v for k, v in read_lora(tmp_path / "0.safetensors").metadata.items() if k in facts} == facts
    assert len({convert.convert(tmp_path / "0.safetensors", tmp_path / f"k{i}.safetensors").read_bytes() for i in range(6)}) == 1


@pytest.mark.parametrize("name", ["A.SAFETENSORS", "a.Safetensors"])
def test_the_ending_may_be_in_capitals(tmp_path: Path, name: str) -> None:
    path = one_layer(tmp_path, None).rename(tmp_path / name)
    assert hub.open_style(path).name == "a"
    assert hub.open_style(tmp_path).adapters[0].path == path


def test_files_in_other_scripts_keep_their_names(tmp_path: Path) -> None:
    names = ("モネ", "ゴッホ", "浮世绘", "été", "Ван Гог")
    for name in names:
        one_layer(tmp_path, None).rename(tmp_path / f"{name}.safetensors")
    styles = [hub.open_style(tmp_path / f"{name}.safetensors") for name in names]
    assert [style.name for style in styles] == ["モネ", "ゴッホ", "浮世绘", "été", "ван-гог"]
