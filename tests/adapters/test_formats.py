"""kohya's format: there and back without loss, the same picture from either file, here and in stock diffusers."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionPipeline, UNet2DConditionModel
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import nn

from benchmarks.sd15_models import FULL, REDUCED, build_unet, save_model
from stylekit.adapters import apply, convert, families, kohya, lora_settings
from stylekit.adapters.lora_file import WEIGHTS_FILE, read_lora, read_tensors
from stylekit.base import Base
from stylekit.errors import AdapterError
from stylekit.mix import StyleMix
from stylekit.recipe import Recipe
from stylekit.storage.paths import POCKET_FOLDER, STYLES_FOLDER
from stylekit.styles import StyleLibrary
from stylekit.stylizer import Stylizer

Tensors = dict[str, torch.Tensor]
CARD = 'title = "T"\nblurb = "b"\nlicense = "MIT"\n[[adapters]]\nbase = "{base}"\nfile = "{file}"\nmade = "m"\ndata = "d"\n'


@pytest.fixture(scope="module")
def sd15(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_model(tmp_path_factory.mktemp("sd15"), REDUCED)


@pytest.fixture(scope="module")
def unet(sd15: Path) -> UNet2DConditionModel:
    return UNet2DConditionModel.from_pretrained(sd15 / "unet").eval()


def random_lora(
    unet: nn.Module, rank: Callable[[int], int], alpha: Callable[[int], float], dtype: torch.dtype = torch.float32
) -> tuple[Tensors, dict[str, float]]:
    """A strong LoRA on every layer, linear and convolution; rank and alpha by the layer's number."""
    generator = torch.Generator().manual_seed(0)
    tensors: Tensors = {}
    alphas: dict[str, float] = {}
    layers = {name: module for name, module in unet.named_modules() if isinstance(module, (nn.Linear, nn.Conv2d))}
    for number, (name, layer) in enumerate(layers.items()):
        weight, r = layer.weight, rank(number)
        down = torch.randn(r, *weight.shape[1:], generator=generator)
        up = torch.randn(weight.shape[0], r, *[1] * (weight.ndim - 2), generator=generator)
        tensors[f"unet.{name}.lora_A.weight"] = (0.1 * down).to(dtype)
        tensors[f"unet.{name}.lora_B.weight"] = (0.1 * up).to(dtype)
        alphas[name] = alpha(number)
    return tensors, alphas


def uneven(unet: nn.Module, dtype: torch.dtype = torch.float32) -> tuple[Tensors, dict[str, float]]:
    return random_lora(unet, lambda n: 2 + n % 3, lambda n: (1.0, 4.0, 2.5)[n // 2 % 3], dtype)


def attention_keys(width: int, text: int = 8, **extra: torch.Tensor) -> Tensors:
    """A kohya file of one cross-attention layer."""
    layer = "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn2_to_k"
    return {f"{layer}.lora_down.weight": torch.ones(4, text), f"{layer}.lora_up.weight": torch.ones(width, 4), **extra}


@pytest.mark.parametrize("name", ["sketch", "ukiyoe"])
def test_shipped_adapters_go_there_and_back_unchanged(stylizer: Stylizer, tmp_path: Path, name: str) -> None:
    source = stylizer.library[name].adapter("pocket").path
    there = convert.convert(source, tmp_path / "kohya.safetensors")
    back = convert.convert(there, tmp_path / "back.safetensors", "diffusers")
    (before, metadata), (after, kept) = read_tensors(source), read_tensors(back)
    assert after.keys() == before.keys()
    assert all(torch.equal(after[k], before[k]) and after[k].dtype == before[k].dtype for k in before)
    assert read_lora(there).alphas == read_lora(back).alphas == read_lora(source).alphas
    assert {k: kept[k] for k in metadata if k != lora_settings.CONFIG_KEY} == {
        k: v for k, v in metadata.items() if k != lora_settings.CONFIG_KEY
    }
    config = json.loads(kept[lora_settings.CONFIG_KEY])
    original = json.loads(metadata[lora_settings.CONFIG_KEY])
    assert {k: original[k] for k in config} == config


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_uneven_ranks_alphas_and_precisions_go_there_and_back(unet: UNet2DConditionModel, tmp_path: Path, dtype: torch.dtype) -> None:
    tensors, alphas = uneven(unet, dtype)
    save_file(kohya.to_kohya(tensors, alphas), tmp_path / "a.safetensors")
    path = convert.convert(tmp_path / "a.safetensors", tmp_path / "b.safetensors", "diffusers")
    assert read_lora(path).alphas == alphas
    again = load_file(convert.convert(path, tmp_path / "c.safetensors"))
    assert all(torch.equal(again[k], v) and again[k].dtype == v.dtype for k, v in load_file(tmp_path / "a.safetensors").items())


@pytest.mark.slow
def test_the_pocket_base_paints_the_same_from_either_format(stylizer: Stylizer, photo: Image.Image, tmp_path: Path) -> None:
    for name in ("sketch", "ukiyoe"):
        shutil.copytree(STYLES_FOLDER / name, tmp_path / name)
        path = tmp_path / name / "pocket" / WEIGHTS_FILE
        path.unlink()
        convert.convert(stylizer.library[name].adapter("pocket").path, path)
    theirs = Stylizer(Base.open(device="cpu"), StyleLibrary.open(tmp_path))
    recipe = Recipe(mix=StyleMix.of("sketch:0.4,ukiyoe:0.6"))
    assert theirs.stylize(photo, recipe).image.tobytes() == stylizer.stylize(photo, recipe).image.tobytes()


@pytest.mark.slow
def test_stable_diffusion_paints_the_same_from_either_format(
    sd15: Path, unet: UNet2DConditionModel, photo: Image.Image, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STYLEKIT_CACHE", str(tmp_path / "cache"))
    tensors, alphas = uneven(unet)
    for name in ("kohya", "diffusers"):
        (tmp_path / "styles" / name).mkdir(parents=True)
        (tmp_path / "styles" / name / "style.toml").write_text(CARD.format(base=sd15, file="a.safetensors"))
    files = [tmp_path / "styles" / name / "a.safetensors" for name in ("kohya", "diffusers")]
    save_file(kohya.to_kohya(tensors, alphas), files[0])
    convert.convert(*files, "diffusers")
    stylizer = Stylizer(Base.open(str(sd15), device="cpu"), StyleLibrary.open(tmp_path / "styles"))
    recipe = Recipe(base=str(sd15), strength=0.5, num_inference_steps=2)
    plain, *pictures = (
        stylizer.stylize(photo, recipe.with_(mix=mix)).image for mix in (StyleMix(), StyleMix.of("kohya"), StyleMix.of("diffusers"))
    )
    assert pictures[0].tobytes() == pictures[1].tobytes()
    assert np.abs(np.asarray(pictures[0], float) - np.asarray(plain, float)).mean() > 1


@pytest.mark.slow
@pytest.mark.parametrize("to", convert.FORMATS)
def test_stock_diffusers_paints_the_same(sd15: Path, unet: UNet2DConditionModel, tmp_path: Path, to: str) -> None:
    """In diffusers' own pipeline, with the file loaded by diffusers and by stylekit.

    The kohya file has one alpha: diffusers 0.42 gives attention layers the commonest alpha where a kohya file has several.
    """
    tensors, alphas = uneven(unet) if to == "diffusers" else random_lora(unet, lambda n: 2 + n % 3, lambda _: 1.5)
    save_file(kohya.to_kohya(tensors, alphas), tmp_path / "kohya.safetensors")
    convert.convert(tmp_path / "kohya.safetensors", tmp_path / "diffusers.safetensors", "diffusers")
    pipe = StableDiffusionPipeline.from_pretrained(sd15, use_safetensors=True)
    pipe.set_progress_bar_config(disable=True)

    def picture() -> np.ndarray:
        generator = torch.Generator().manual_seed(0)
        return pipe("a cat", 64, 64, num_inference_steps=2, guidance_scale=1.0, generator=generator, output_type="np").images

    plain = picture()
    pipe.load_lora_weights(tmp_path, weight_name=f"{to}.safetensors", use_safetensors=True)
    theirs = picture()
    pipe.unload_lora_weights()
    apply.inject(pipe.unet, read_lora(tmp_path / f"{to}.safetensors", "a"))
    with apply.applied(pipe.unet, {"a": 1.0}):
        ours = picture()
    assert np.abs(ours - theirs).max() < 1e-3
    assert np.abs(ours - plain).max() > 0.05


@pytest.mark.parametrize(("alpha", "wanted"), [(None, 4.0), (0.0, 4.0), (4.0, 4.0), (1.0, 1.0), (0.5, 0.5), (-2.0, -2.0)])
def test_alpha_is_read_as_kohya_reads_it(alpha: float | None, wanted: float) -> None:
    tensors = attention_keys(8)
    if alpha is not None:
        tensors["lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn2_to_k.alpha"] = torch.tensor(alpha, dtype=torch.float16)
    _, alphas = kohya.from_kohya(tensors, "a")
    assert alphas == {"down_blocks.0.attentions.0.transformer_blocks.0.attn2.to_k": wanted}


def test_names_are_those_of_the_base() -> None:
    weights = {"lora_down.weight": torch.ones(1, 2), "lora_up.weight": torch.ones(2, 1)}
    tensors = {f"lora_unet_to_q_in_0.{part}": tensor for part, tensor in weights.items()}
    for module in ("to_q.in_0", "to.q_in.0", "to_q_in_0"):
        renamed, _ = kohya.from_kohya(tensors, "a", modules=[module, "to_q"])
        assert list(renamed) == [f"unet.{module}.lora_A.weight", f"unet.{module}.lora_B.weight"]
    with pytest.raises(AdapterError, match="to_q_in_0 that this base lacks"):
        kohya.from_kohya(tensors, "a", modules=["to_q.in"])


def test_every_layer_of_stable_diffusion_and_of_the_pocket_base_is_known() -> None:
    with torch.device("meta"):
        pocket = UNet2DConditionModel.from_config(UNet2DConditionModel.load_config(POCKET_FOLDER / "unet"))
        names = {n for unet in (build_unet(FULL), pocket) for n, m in unet.named_modules() if isinstance(m, (nn.Linear, nn.Conv2d))}
    known = set(families.known_modules())
    assert names <= known
    assert len({name.replace(".", "_") for name in known}) == len(known)


@pytest.mark.parametrize("prefix", ["lora_te_text_", "lora_te1_text_", "text_encoder.text_"])
def test_converting_leaves_the_text_encoder_out_and_says_so(caplog: pytest.LogCaptureFixture, tmp_path: Path, prefix: str) -> None:
    tensors = attention_keys(8)
    if prefix.startswith("text"):
        tensors, _ = kohya.from_kohya(tensors, "a")
    save_file(tensors | {f"{prefix}model.lora_down.weight": torch.ones(4, 8)}, tmp_path / "a.safetensors")
    assert len(read_lora(tmp_path / "a.safetensors").modules) == len(read_tensors(tmp_path / "a.safetensors")[0]) // 2 == 1
    assert "a.safetensors: layers of the text encoder are left out (1 tensors)" in caplog.text


@pytest.mark.parametrize(("layer", "half"), [("to_k", "to_k.lora"), ("to_k", "processor.to_k_lora"), ("to_out.0", "processor.to_out_lora")])
def test_diffusers_older_names_are_read(tmp_path: Path, layer: str, half: str) -> None:
    """As diffusers' example scripts write them, and as they did in 2023."""
    block = "unet.mid_block.attentions.0.transformer_blocks.0.attn2"
    save_file({f"{block}.{half}.down.weight": torch.ones(2, 8), f"{block}.{half}.up.weight": torch.ones(8, 2)}, tmp_path / "a.safetensors")
    lora = read_lora(tmp_path / "a.safetensors")
    assert lora.ranks == lora.alphas == {f"{block.removeprefix('unet.')}.{layer}": 2}
    exported = load_file(convert.convert(tmp_path / "a.safetensors", tmp_path / "b.safetensors"))
    assert f"lora_unet_{block.removeprefix('unet.')}_{layer}".replace(".", "_") + ".alpha" in exported


def test_bare_keys_are_a_unets(tmp_path: Path) -> None:
    """As some tools save a UNet's LoRA by itself."""
    tensors, _ = kohya.from_kohya(attention_keys(8), "a")
    save_file(tensors, tmp_path / "a.safetensors")
    save_file({key.removeprefix("unet."): tensor for key, tensor in tensors.items()}, tmp_path / "b.safetensors")
    assert read_lora(tmp_path / "b.safetensors").ranks == read_lora(tmp_path / "a.safetensors").ranks


@pytest.mark.parametrize(
    ("tensors", "word"),
    [
        (attention_keys(8, lora_te2_text_model_encoder_layers_0_mlp_fc1=torch.ones(4, 8)), "for Stable Diffusion XL"),
        (attention_keys(8, text=2048), "for Stable Diffusion XL"),
        (attention_keys(8, text=1024), "for Stable Diffusion 2"),
        ({"lora_unet_input_blocks_4_1_transformer_blocks_0_attn1_to_q.lora_down.weight": torch.ones(4, 8)}, "input_blocks_4_1_tr"),
        ({"lora_unet_double_blocks_0_img_attn_proj.lora_down.weight": torch.ones(4, 8)}, "double_blocks_0_img_attn_proj that this base"),
        ({"lora_unet_conv_in.hada_w1_a": torch.ones(4, 8)}, r"\(LoHa\): of kohya's formats only plain LoRA and LoCon"),
        ({"lora_unet_conv_in.lokr_w1": torch.ones(4, 8)}, r"\(LoKr\)"),
        ({"lora_unet_conv_in.lora_mid.weight": torch.ones(4, 4, 3, 3)}, "only plain LoRA and LoCon"),
        (attention_keys(8, **{"lora_unet_conv_in.dora_scale": torch.ones(8)}), r"\(DoRA\): of kohya's formats only plain LoRA and LoCon"),
        ({"lora_unet_conv_in.lora_down.weight": torch.tensor(1.0)}, "only plain LoRA and LoCon"),
        (attention_keys(8, **{"lora_unet_conv_in.alpha": torch.ones(2)}), "not one finite number"),
        (attention_keys(8, **{"lora_unet_conv_in.alpha": torch.tensor(float("nan"))}), "not one finite number"),
        ({"lora_unet_conv_in.lora_down.weight": torch.ones(4, 4, 3, 3)}, "lacks one half of conv_in"),
        ({"lora_te_text_model_encoder_layers_0_mlp_fc1.lora_down.weight": torch.ones(4, 8)}, "holds no LoRA layers"),
    ],
)
def test_what_cannot_be_used_is_refused_by_name(tensors: Tensors, word: str, tmp_path: Path) -> None:
    save_file(tensors, tmp_path / "a.safetensors")
    with pytest.raises(AdapterError, match=word):
        read_lora(tmp_path / "a.safetensors")
    with pytest.raises(AdapterError, match=word):
        convert.convert(tmp_path / "a.safetensors", tmp_path / "b.safetensors", "diffusers")
    assert [p.name for p in tmp_path.iterdir()] == ["a.safetensors"]


def test_the_export_carries_what_other_tools_look_for(tmp_path: Path) -> None:
    save_file(attention_keys(320, text=768), tmp_path / "a.safetensors", metadata={"ss_tag": "x"})
    convert.convert(tmp_path / "a.safetensors", tmp_path / "b.safetensors", "diffusers")
    tensors, metadata = read_tensors(convert.convert(tmp_path / "b.safetensors", tmp_path / "c.safetensors"))
    assert metadata.pop("format") == "pt"
    assert metadata == {
        "ss_tag": "x",
        "ss_network_module": "networks.lora",
        "ss_network_dim": "4",
        "ss_network_alpha": "4.0",
        "ss_base_model_version": "sd_v1",
    }
    assert tensors.keys() - load_file(tmp_path / "a.safetensors").keys() == {
        "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn2_to_k.alpha"
    }


def test_the_command_converts_or_tells_why_not(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    source, target = tmp_path / "a.safetensors", tmp_path / "new" / "b.safetensors"
    save_file(attention_keys(8), source)
    assert convert.main([str(source), str(target), "--to", "diffusers"]) == 0
    assert str(target) in capsys.readouterr().out
    before = target.read_bytes()

    def refused(*argv: object) -> str:
        assert convert.main([str(arg) for arg in argv]) == 2
        error = capsys.readouterr().err
        assert "Traceback" not in error
        assert target.read_bytes() == before
        return error

    assert "usage" in refused(source)
    assert "usage" in refused(source, target, "--to", "flux")
    assert "already" in refused(source, target)
    assert "another file" in refused(target, target)
    assert "another file" in refused(target, tmp_path / "b.ckpt")
    assert "does not exist" in refused(tmp_path / "none.safetensors", target)

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(convert, "write_tensors", full)
    assert "free space" in refused(source, target, "--to", "diffusers")
    assert list(target.parent.iterdir()) == [target]
