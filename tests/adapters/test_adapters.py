"""Adapters go in and come out without a trace; bad files are refused with the reason."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import pytest
import torch
from diffusers import UNet2DConditionModel
from safetensors.torch import load_file, save_file
from torch import nn
from torch.nn import functional as F

from stylekit.adapters import apply, lora_settings, lora_weights, weight_maps
from stylekit.adapters.apply import applied, eject, inject, resident
from stylekit.adapters.lora_file import read_lora, write_lora
from stylekit.adapters.lora_weights import LoraWeights
from stylekit.errors import AdapterError
from stylekit.storage.paths import POCKET_FOLDER
from stylekit.stylizer import Stylizer


@pytest.fixture
def unet() -> UNet2DConditionModel:
    """A pocket UNet of its own, so that a failing test leaves nothing in the shared one."""
    model = UNet2DConditionModel.from_pretrained(POCKET_FOLDER / "unet", torch_dtype=torch.float32)
    return model.eval().requires_grad_(False)


@pytest.fixture(scope="module")
def sketch(stylizer: Stylizer) -> LoraWeights:
    return read_lora(stylizer.library["sketch"].adapter("pocket").path, "sketch")


@pytest.fixture(scope="module")
def ukiyoe(stylizer: Stylizer) -> LoraWeights:
    return read_lora(stylizer.library["ukiyoe"].adapter("pocket").path, "ukiyoe")


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
    after = unet.state_dict()
    assert all(torch.equal(after[k], v) for k, v in before.items())
    assert torch.equal(output(unet), first)


def test_what_others_write_to_a_weight_in_between_stays(unet: UNet2DConditionModel, sketch: LoraWeights) -> None:
    inject(unet, sketch)
    layer = lora_weights.lora_layers(unet)["conv_out"].get_base_layer()
    for mode in (torch.no_grad, torch.inference_mode):
        for _ in range(2):
            with mode(), applied(unet, {"sketch": 1.0}):
                pass
        with mode():
            layer.weight.mul_(0.5)
        mine = layer.weight.clone()
        with mode(), applied(unet, {"sketch": 1.0}):
            assert not torch.equal(layer.weight, mine)
        assert torch.equal(layer.weight, mine)


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
    apply._activate(unet, {lora_weights.adapter_key("sketch"): 0.7})
    unfused = output(unet)
    assert torch.allclose(fused, unfused, atol=1e-3)
    assert not torch.equal(fused, torch.zeros_like(fused))


def test_two_adapters_add_up(unet: UNet2DConditionModel) -> None:
    torch.manual_seed(0)
    weight = unet.conv_out.weight
    loras = {n: random_lora(n, {"conv_out": (torch.randn(2, *weight.shape[1:]), torch.randn(weight.shape[0], 2, 1, 1))}) for n in "ab"}
    for lora in loras.values():
        inject(unet, lora)
    base = lora_weights.lora_layers(unet)["conv_out"].get_base_layer().weight.clone()
    deltas = {
        n: torch.einsum("or,rikl->oikl", up[:, :, 0, 0], down) for n, lora in loras.items() for down, up in [lora.modules["conv_out"]]
    }
    with applied(unet, {"a": 0.25, "b": 0.5}):
        now = lora_weights.lora_layers(unet)["conv_out"].get_base_layer().weight
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
        assert torch.allclose(lora_weights.lora_layers(unet)["conv_out"].get_base_layer().weight, before + 1, atol=1e-5)
    eject(unet, name)
    assert resident(unet) == ()


def test_alpha_over_rank_scales(unet: UNet2DConditionModel) -> None:
    torch.manual_seed(0)
    up = torch.randn(32, 4, 1, 1)
    down = torch.randn(4, *unet.conv_out.weight.shape[1:])
    inject(unet, random_lora("a", {"conv_out": (down, up)}, alpha=2.0))
    base = lora_weights.lora_layers(unet)["conv_out"].get_base_layer().weight.clone()
    with applied(unet, {"a": 1.0}):
        delta = lora_weights.lora_layers(unet)["conv_out"].get_base_layer().weight - base
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
    metadata = json.loads(sketch.metadata[lora_settings.CONFIG_KEY])
    theirs.load_lora_adapter(load_file(path), prefix="unet", adapter_name="sketch", metadata=metadata)
    assert torch.allclose(ours, output(theirs), atol=1e-3)


def test_adapters_are_small(stylizer: Stylizer) -> None:
    assert len(stylizer.library) >= 6
    for style in stylizer.library:
        for adapter in style.adapters:
            assert adapter.path.stat().st_size <= {"lora": 3e6, "dreambooth": 9e6, "prompt": 2**18, "pictures": 2**18}[adapter.kind]


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


def whole(value: float) -> torch.Tensor:
    return torch.full((1, 1, 64, 64), value)


def left_half() -> torch.Tensor:
    weights = torch.zeros(1, 1, 64, 64)
    weights[..., :32] = 1
    return weights


@pytest.mark.parametrize("value", [1.0, 0.6])
def test_a_map_of_one_value_equals_the_fused_weight(unet: UNet2DConditionModel, sketch: LoraWeights, value: float) -> None:
    inject(unet, sketch)
    with applied(unet, {"sketch": value}):
        fused = output(unet)
    with applied(unet, {"sketch": whole(value)}):
        painted = output(unet)
    assert float((painted - fused).abs().max()) < 1e-3
    assert float((fused - output(unet)).abs().max()) > 0.1


def test_a_map_of_zero_is_the_base_exactly(unet: UNet2DConditionModel, sketch: LoraWeights) -> None:
    first = output(unet)
    inject(unet, sketch)
    with applied(unet, {"sketch": whole(0)}):
        assert torch.equal(output(unet), first)


def test_numbers_and_maps_mix(unet: UNet2DConditionModel, sketch: LoraWeights, ukiyoe: LoraWeights) -> None:
    inject(unet, sketch)
    inject(unet, ukiyoe)
    with applied(unet, {"sketch": 0.4, "ukiyoe": 0.5}):
        fused = output(unet)
    for weights in ({"sketch": 0.4, "ukiyoe": whole(0.5)}, {"ukiyoe": whole(0.5), "sketch": whole(0.4)}):
        with applied(unet, weights):
            assert float((output(unet) - fused).abs().max()) < 1e-3


def test_halves_are_the_halves_of_the_whole_styles(unet: UNet2DConditionModel, sketch: LoraWeights, ukiyoe: LoraWeights) -> None:
    """One pass; away from the border, where the styles see each other, each side is its own style's."""
    inject(unet, sketch)
    inject(unet, ukiyoe)
    with applied(unet, {"sketch": 1.0}):
        a = output(unet)
    with applied(unet, {"ukiyoe": 1.0}):
        b = output(unet)
    with applied(unet, {"sketch": left_half(), "ukiyoe": 1 - left_half()}):
        both = output(unet)
    for side, own, other in ((slice(0, 2), a, b), (slice(6, 8), b, a)):
        near, far = ((both - style)[..., side].abs().mean() for style in (own, other))
        assert near < 0.35 * far


def test_painting_is_undone_whatever_happens(unet: UNet2DConditionModel, sketch: LoraWeights, ukiyoe: LoraWeights) -> None:
    inject(unet, sketch)
    inject(unet, ukiyoe)
    before, first = snapshot(unet), output(unet)
    weights = {"sketch": left_half(), "ukiyoe": 0.5}

    def untouched() -> bool:
        hooks = any(module._forward_hooks or module._forward_pre_hooks for module in unet.modules())
        after = unet.state_dict()
        return not hooks and all(torch.equal(after[k], v) for k, v in before.items()) and torch.equal(output(unet), first)

    with applied(unet, weights):
        assert not torch.equal(output(unet), first)
    assert untouched()
    with pytest.raises(KeyboardInterrupt), applied(unet, weights):
        raise KeyboardInterrupt
    assert untouched()
    with pytest.raises(RuntimeError), applied(unet, weights):
        unet(torch.zeros(1, 3, 8, 8), 20, encoder_hidden_states=torch.zeros(1, 8, 64))  # fails in the middle of a pass
    assert untouched()
    with pytest.raises(AdapterError, match="not loaded"), applied(unet, {"ghost": left_half()}):
        pass
    assert untouched()


class Layers(nn.Module):
    """One layer of every kind that adapters change: convolution with a stride, token layer, and a layer of the prompt."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, stride=2, padding=1)
        self.token = nn.Linear(8, 8)
        self.attn2 = nn.Module()
        self.attn2.to_k = nn.Linear(5, 8)


def test_every_kind_of_layer_adds_the_map_times_the_product() -> None:
    """Closed form, layer by layer: output + B(map * A(input)), and the mean of the map for the prompt."""
    torch.manual_seed(0)
    layers = Layers().requires_grad_(False)
    shapes = {"conv": ((4, 3, 3, 3), (8, 4, 1, 1)), "token": ((2, 8), (8, 2)), "attn2.to_k": ((2, 5), (8, 2))}
    loras = {n: random_lora(n, {m: (torch.randn(d), torch.randn(u)) for m, (d, u) in shapes.items()}, alpha=3.0) for n in "ab"}
    for lora in loras.values():
        inject(layers, lora)
    pixels, tokens, prompt = torch.randn(2, 3, 8, 12), torch.randn(2, 24, 8), torch.randn(2, 24, 5)
    plain = layers.conv(pixels), layers.token(tokens), layers.attn2.to_k(prompt)
    maps = {name: torch.rand(2, 1, 16, 24) for name in "ab"}
    with applied(layers, maps):
        conv, token, key = layers.conv(pixels), layers.token(tokens), layers.attn2.to_k(prompt)
    total = maps["a"] + maps["b"]
    for name, lora in loras.items():
        small = F.avg_pool2d(maps[name], 4)  # 16 x 24 -> 4 x 6
        (down, up), scale = lora.modules["conv"], 3.0 / 4
        conv = conv - scale * F.conv2d(F.conv2d(pixels, down, stride=2, padding=1) * small, up)
        down, up = lora.modules["token"]
        token = token - 1.5 * (tokens @ down.T * small.flatten(2).transpose(1, 2)) @ up.T
        down, up = lora.modules["attn2.to_k"]
        mean = (maps[name] * total).sum() / total.sum()
        key = key - 1.5 * mean * (prompt @ down.T) @ up.T
    for now, before in zip((conv, token, key), plain, strict=True):
        assert torch.allclose(now, before, atol=1e-4)


def test_each_region_is_normalised_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(weight_maps, "PRIOR", 1e-9)
    torch.manual_seed(0)
    norm = nn.GroupNorm(2, 8)
    nn.init.normal_(norm.weight)
    nn.init.normal_(norm.bias)
    x = torch.randn(1, 8, 8, 8) + 3 * left_half()[..., ::8, ::8]
    halves = torch.cat([norm(x[..., :4]), norm(x[..., 4:])], -1)
    for maps in (torch.cat([left_half(), 1 - left_half()], 1), left_half()):  # two styles; one style and what is left alone
        laid = weight_maps.WeightMaps(keys=[str(i) for i in range(maps.shape[1])], maps=maps)
        assert torch.allclose(weight_maps.normalise_by_region(norm, laid)(norm, (x,), norm(x)), halves, atol=1e-5)
    laid = weight_maps.WeightMaps(keys=["0"], maps=torch.full((1, 1, 64, 64), 0.3))
    assert torch.allclose(weight_maps.normalise_by_region(norm, laid)(norm, (x,), norm(x)), norm(x), atol=1e-5)
    point = torch.zeros(1, 1, 64, 64)
    point[..., 5, 5] = 1
    laid = weight_maps.WeightMaps(keys=["0"], maps=point)
    assert torch.isfinite(weight_maps.normalise_by_region(norm, laid)(norm, (x,), norm(x))).all()
