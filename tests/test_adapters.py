"""Adapters go in and come out without a trace; bad files are refused with the reason."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import pytest
import torch
from diffusers import UNet2DConditionModel
from safetensors.torch import load_file, save_file

from stylekit import adapters
from stylekit.adapters import LoraWeights, applied, eject, inject, read_lora, resident, write_lora
from stylekit.base import POCKET_FOLDER
from stylekit.errors import AdapterError
from stylekit.stylizer import Stylizer


@pytest.fixture
def unet() -> UNet2DConditionModel:
    """A pocket UNet of its own, so that a failing test leaves nothing in the shared one."""
    model = UNet2DConditionModel.from_pretrained(POCKET_FOLDER / "unet", torch_dtype=torch.float32)
    return model.eval().requires_grad_(False)


@pytest.fixture(scope="module")
def sketch(stylizer: Stylizer) -> LoraWeights:
    return read_lora(stylizer.library["sketch"].adapter("pocket").path, "sketch")


def output(unet: UNet2DConditionModel) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    latents = torch.randn(1, 32, 8, 8, generator=generator)
    embeds = torch.randn(1, 8, unet.config.cross_attention_dim, generator=generator)
    with torch.no_grad():
        return unet(latents, 20, encoder_hidden_states=embeds).sample


def snapshot(unet: UNet2DConditionModel) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in unet.state_dict().items()}


def random_lora(name: str, modules: dict[str, tuple[torch.Tensor, torch.Tensor]], alpha: float | None = None) -> LoraWeights:
    return LoraWeights(name=name, modules=modules, alphas={m: alpha or float(d.shape[0]) for m, (d, _) in modules.items()}, metadata={})


def test_inject_then_eject_restores_the_model(unet: UNet2DConditionModel, sketch: LoraWeights) -> None:
    before, names, first = snapshot(unet), [n for n, _ in unet.named_modules()], output(unet)
    inject(unet, sketch)
    assert resident(unet) == ("sketch",)
    assert torch.equal(output(unet), first)  # resident is not active
    eject(unet, "sketch")
    after = unet.state_dict()
    assert list(after) == list(before)
    assert all(torch.equal(after[k], before[k]) for k in before)
    assert [n for n, _ in unet.named_modules()] == names
    assert torch.equal(output(unet), first)


def test_applied_is_undone_bit_for_bit_even_after_an_exception(unet: UNet2DConditionModel, sketch: LoraWeights) -> None:
    first = output(unet)
    inject(unet, sketch)
    before = snapshot(unet)
    seen: list[torch.Tensor] = []

    def cancelled() -> None:
        with applied(unet, {"sketch": 1.0}):
            seen.append(output(unet))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cancelled()
    assert not torch.equal(seen[0], first)
    assert all(torch.equal(unet.state_dict()[k], v) for k, v in before.items())
    assert torch.equal(output(unet), first)


def test_weight_zero_is_the_base_exactly(unet: UNet2DConditionModel, sketch: LoraWeights) -> None:
    first = output(unet)
    inject(unet, sketch)
    with applied(unet, {"sketch": 0.0}):
        assert torch.equal(output(unet), first)


def test_fused_equals_the_lora_formula(unet: UNet2DConditionModel, sketch: LoraWeights) -> None:
    """Against peft's own unfused layers, with the weight as their scale."""
    inject(unet, sketch)
    with applied(unet, {"sketch": 0.7}):
        fused = output(unet)
    adapters._activate(unet, {adapters.adapter_key("sketch"): 0.7})
    unfused = output(unet)
    assert torch.allclose(fused, unfused, atol=1e-3)
    assert not torch.equal(fused, torch.zeros_like(fused))


def test_two_adapters_add_up(unet: UNet2DConditionModel) -> None:
    torch.manual_seed(0)
    weight = unet.conv_out.weight
    loras = {n: random_lora(n, {"conv_out": (torch.randn(2, *weight.shape[1:]), torch.randn(weight.shape[0], 2, 1, 1))}) for n in "ab"}
    for lora in loras.values():
        inject(unet, lora)
    base = adapters.lora_layers(unet)["conv_out"].get_base_layer().weight.clone()
    deltas = {
        n: torch.einsum("or,rikl->oikl", up[:, :, 0, 0], down) for n, lora in loras.items() for down, up in [lora.modules["conv_out"]]
    }
    with applied(unet, {"a": 0.25, "b": 0.5}):
        now = adapters.lora_layers(unet)["conv_out"].get_base_layer().weight
        assert torch.allclose(now, base + 0.25 * deltas["a"] + 0.5 * deltas["b"], atol=1e-5)
    eject(unet, "a")
    assert resident(unet) == ("b",)


@pytest.mark.parametrize("name", ["half", "train", "forward", "v1.5", "owner/name", "a%2Eb"])
def test_any_name_will_do(unet: UNet2DConditionModel, name: str) -> None:
    """peft keeps adapters in module dictionaries, which refuse dots and the names of a module's own methods."""
    weight = unet.conv_out.weight
    inject(unet, random_lora(name, {"conv_out": (torch.ones(1, *weight.shape[1:]), torch.ones(weight.shape[0], 1, 1, 1))}))
    assert resident(unet) == (name,)
    before = weight.clone()
    with applied(unet, {name: 1.0}):
        assert torch.allclose(adapters.lora_layers(unet)["conv_out"].get_base_layer().weight, before + 1, atol=1e-5)
    eject(unet, name)
    assert resident(unet) == ()


def test_alpha_over_rank_scales(unet: UNet2DConditionModel) -> None:
    torch.manual_seed(0)
    up = torch.randn(32, 4, 1, 1)
    down = torch.randn(4, *unet.conv_out.weight.shape[1:])
    inject(unet, random_lora("a", {"conv_out": (down, up)}, alpha=2.0))
    base = adapters.lora_layers(unet)["conv_out"].get_base_layer().weight.clone()
    with applied(unet, {"a": 1.0}):
        delta = adapters.lora_layers(unet)["conv_out"].get_base_layer().weight - base
    assert torch.allclose(delta, 0.5 * torch.einsum("or,rikl->oikl", up[:, :, 0, 0], down), atol=1e-5)


def test_save_and_load_round_trip(unet: UNet2DConditionModel, sketch: LoraWeights, tmp_path: Path) -> None:
    inject(unet, sketch)
    path = write_lora(unet, "sketch", tmp_path / "pytorch_lora_weights.safetensors", {"note": "x"})
    again = read_lora(path, "sketch")
    assert again.ranks == sketch.ranks
    assert again.alphas == sketch.alphas
    assert again.metadata["note"] == "x"
    assert all(torch.equal(again.modules[m][i], sketch.modules[m][i]) for m in sketch.modules for i in (0, 1))


def test_stock_diffusers_reads_the_file_and_gives_the_same(stylizer: Stylizer, unet: UNet2DConditionModel, sketch: LoraWeights) -> None:
    path = stylizer.library["sketch"].adapter("pocket").path
    inject(unet, sketch)
    with applied(unet, {"sketch": 1.0}):
        ours = output(unet)
    theirs = UNet2DConditionModel.from_pretrained(POCKET_FOLDER / "unet", torch_dtype=torch.float32).eval()
    metadata = json.loads(sketch.metadata[adapters.CONFIG_KEY])
    theirs.load_lora_adapter(load_file(path), prefix="unet", adapter_name="sketch", metadata=metadata)
    assert torch.allclose(ours, output(theirs), atol=1e-3)


def test_adapters_are_small(stylizer: Stylizer) -> None:
    for style in stylizer.library:
        assert style.adapter("pocket").path.stat().st_size <= 3e6


def test_a_pickle_is_not_opened(tmp_path: Path) -> None:
    class Bomb:
        def __reduce__(self) -> tuple[object, tuple[str, ...]]:
            return (Path(tmp_path / "exploded").touch, ())

    for name in ("a.bin", "a.safetensors"):
        (tmp_path / name).write_bytes(pickle.dumps(Bomb()))
        with pytest.raises(AdapterError):
            read_lora(tmp_path / name)
    assert not (tmp_path / "exploded").exists()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff" * 40,
        (10**12).to_bytes(8, "little") + b"{}",
        (60).to_bytes(8, "little") + b'{"a":{"dtype":"F32","shape":[9],"data_offsets":[0,36]}}     ',
    ],
)
def test_malformed_files_are_told(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.safetensors"
    path.write_bytes(content)
    with pytest.raises(AdapterError, match="cannot be read"):
        read_lora(path)


def save(path: Path, tensors: dict[str, torch.Tensor]) -> Path:
    save_file(tensors, path)
    return path


def test_files_that_do_not_fit_are_refused_and_change_nothing(unet: UNet2DConditionModel, tmp_path: Path) -> None:
    first, names = output(unet), [n for n, _ in unet.named_modules()]
    ok = {"unet.conv_out.lora_A.weight": torch.zeros(2, 128, 3, 3), "unet.conv_out.lora_B.weight": torch.zeros(32, 2, 1, 1)}
    bad = {
        "holds": {"lora_te.x.lora_down.weight": torch.zeros(2, 2)},
        "one half": {"unet.conv_out.lora_A.weight": torch.zeros(2, 128, 3, 3)},
        "lacks": {"unet.no_such.lora_A.weight": torch.zeros(2, 4), "unet.no_such.lora_B.weight": torch.zeros(4, 2)},
        "does not fit": {"unet.conv_in.lora_A.weight": torch.zeros(2, 4, 3, 3), "unet.conv_in.lora_B.weight": torch.zeros(320, 2, 1, 1)},
        "NaN": {k: v + float("nan") for k, v in ok.items()},
        "rank": {"unet.conv_out.lora_A.weight": torch.zeros(2, 128, 3, 3), "unet.conv_out.lora_B.weight": torch.zeros(32, 3, 1, 1)},
    }
    for word, tensors in bad.items():
        with pytest.raises(AdapterError, match=word):
            inject(unet, read_lora(save(tmp_path / "a.safetensors", tensors)))
    with pytest.raises(AdapterError, match="not loaded"), applied(unet, {"ghost": 1.0}):
        pass
    assert [n for n, _ in unet.named_modules()] == names
    assert torch.equal(output(unet), first)


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(AdapterError, match="does not exist"):
        read_lora(tmp_path / "none.safetensors")
