"""How a base runs: precision, tiles, previews, memory; on small random models of Stable Diffusion 1.5's classes."""

from __future__ import annotations

import logging
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from diffusers import AutoencoderKL, AutoencoderTiny, UNet2DConditionModel
from safetensors.torch import save_file

from benchmarks.sd15_models import REDUCED, build_unet, build_vae
from stylekit.adapters import apply, deltas
from stylekit.adapters.lora_weights import LoraWeights
from stylekit.base import Base, best_device, open_tiny
from stylekit.errors import BaseError, StyleError
from stylekit.inference import codec, memory, weights
from stylekit.inference.compiled import compile_blocks


@pytest.fixture(scope="module")
def unet_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("unet")
    torch.manual_seed(0)
    build_unet(REDUCED).save_pretrained(folder / "unet")
    return folder


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_weights_are_what_diffusers_reads(unet_folder: Path, dtype: torch.dtype) -> None:
    ours = weights.load(UNet2DConditionModel, str(unet_folder), "unet", None, dtype)
    theirs = UNet2DConditionModel.from_pretrained(unet_folder, subfolder="unet", torch_dtype=dtype)
    assert ours.config.block_out_channels == theirs.config.block_out_channels
    found, expected = ours.state_dict(), theirs.state_dict()
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], tensor) and found[name].dtype == dtype for name, tensor in expected.items())


def test_a_folder_with_a_half_precision_variant_only(unet_folder: Path, tmp_path: Path) -> None:
    unet = UNet2DConditionModel.from_pretrained(unet_folder, subfolder="unet", torch_dtype=torch.float16)
    unet.save_pretrained(tmp_path / "unet", variant="fp16")
    loaded = weights.load(UNet2DConditionModel, str(tmp_path), "unet", None, torch.float32)
    assert torch.equal(loaded.conv_in.weight, unet.conv_in.weight.float())


def test_names_of_old_are_read_by_diffusers(tmp_path: Path) -> None:
    """Stable Diffusion 1.5's autoencoder calls its attention query, key, value and proj_attn."""
    torch.manual_seed(0)
    vae = build_vae(REDUCED)
    vae.save_pretrained(tmp_path / "vae")
    old = {"to_q.": "query.", "to_k.": "key.", "to_v.": "value.", "to_out.0.": "proj_attn."}
    state = {}
    for name, tensor in vae.state_dict().items():
        for new, word in old.items():
            name = name.replace(new, word)
        state[name] = tensor.contiguous()
    save_file(state, tmp_path / "vae" / "diffusion_pytorch_model.safetensors", metadata={"format": "pt"})
    loaded = weights.load(AutoencoderKL, str(tmp_path), "vae", None, torch.float32)
    assert torch.equal(loaded.encoder.mid_block.attentions[0].to_q.weight, vae.encoder.mid_block.attentions[0].to_q.weight)


@pytest.mark.parametrize("keep", [0, 5, 1000, -3])
def test_weights_that_are_cut_off(unet_folder: Path, tmp_path: Path, keep: int) -> None:
    data = (unet_folder / "unet" / "diffusion_pytorch_model.safetensors").read_bytes()
    path = tmp_path / "cut.safetensors"
    path.write_bytes(data[:keep])
    with pytest.raises(ValueError, match=r"cut off|Expecting|decode"):
        weights._read(path, torch.float32)


def small_lora(unet: torch.nn.Module, size: float) -> LoraWeights:
    """A LoRA on the attention's queries whose products are `size` times as great as what they are added to."""
    generator = torch.Generator().manual_seed(1)
    modules = {}
    for name, layer in unet.named_modules():
        if name.endswith("to_q"):
            down = torch.randn(4, layer.in_features, generator=generator)
            up = torch.randn(layer.out_features, 4, generator=generator)
            factor = size * float(layer.weight.std()) / float((up @ down).std())
            modules[name] = (down, up * factor)
    return LoraWeights(name="fog", modules=modules, alphas=dict.fromkeys(modules, 4.0), metadata={})


@pytest.mark.parametrize("size", [0.003, 0.03, 0.3])
def test_a_small_adapter_is_not_swallowed_by_half_precision(unet_folder: Path, size: float) -> None:
    """What it adds to bfloat16 weights, on average over an output, is what it adds unfused in float32: no more is lost than the weights'
    own rounding takes, however small the adapter."""
    half = weights.load(UNet2DConditionModel, str(unet_folder), "unet", None, torch.bfloat16)
    lora = small_lora(half, size)
    apply.inject(half, lora)
    name, (down, up) = next(iter(lora.modules.items()))
    weight = half.get_submodule(name).get_base_layer().weight
    before, product = weight.detach().float().clone(), up @ down
    with apply.applied(half, {"fog": 1.0}):
        added = weight.detach().float() - before
    assert torch.equal(weight.float(), before)
    x = torch.randn(4096, down.shape[1], generator=torch.Generator().manual_seed(2))
    fused, unfused, rounding = x @ added.T, x @ product.T, before.abs() * 2**-8  # at most
    noise = float((x**2 @ (rounding**2 / 3).T).mean().sqrt())
    assert float((fused - unfused).pow(2).mean().sqrt()) < noise
    kept = float((fused * unfused).sum() / unfused.pow(2).sum())
    assert 0.85 < kept < 1.15


def test_several_adapters_are_rounded_once(unet_folder: Path) -> None:
    half = weights.load(UNet2DConditionModel, str(unet_folder), "unet", None, torch.bfloat16)
    lora = small_lora(half, 0.01)
    many = [f"fog{i}" for i in range(8)]
    for name in many:
        apply.inject(half, LoraWeights(name=name, modules=lora.modules, alphas=lora.alphas, metadata={}))
    name, (down, up) = next(iter(lora.modules.items()))
    weight = half.get_submodule(name).get_base_layer().weight
    exact = weight.detach().float() + 8 * 0.1 * (up @ down)
    with apply.applied(half, dict.fromkeys(many, 0.1)):
        assert ((weight.float() - exact).abs() <= exact.abs() * 2**-8 + 1e-7).all()


def test_an_adapter_fused_for_good(sd_base: Base) -> None:
    """It is what it would be applied, it leaves nothing beside the weights, and DreamBooth's digest stays the base's own."""
    lora, noisy = small_lora(sd_base.unet, 0.3), torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    embeds, digest = torch.zeros(1, 77, sd_base.unet.config.cross_attention_dim), deltas.base_digest(sd_base.unet)
    names = [name for name, _ in sd_base.unet.named_modules()]
    with torch.inference_mode():
        apply.inject(sd_base.unet, lora)
        with apply.applied(sd_base.unet, {"fog": 1.0}):
            expected = sd_base.denoise(noisy, 300, embeds)
        apply.eject(sd_base.unet, "fog")
        apply.fuse_for_good(sd_base.unet, lora)
        assert torch.equal(sd_base.denoise(noisy, 300, embeds), expected)
    assert [name for name, _ in sd_base.unet.named_modules()] == names
    assert deltas.base_digest(sd_base.unet) == digest


def test_an_autoencoder_that_overflows_goes_on_in_float32(sd_base: Base, caplog: pytest.LogCaptureFixture) -> None:
    latents = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        expected = sd_base.decode(latents)
        sd_base.vae.to(torch.float16)
        sd_base.vae.decoder.conv_in.weight.mul_(1e4)
        with caplog.at_level(logging.WARNING):
            result = sd_base.decode(latents * 1e4)
    assert torch.isfinite(result).all()
    assert expected.shape == result.shape
    assert sd_base.vae.dtype == torch.float32
    assert "float32" in caplog.text


def test_a_unet_that_overflows_goes_on_in_bfloat16(sd_base: Base, caplog: pytest.LogCaptureFixture) -> None:
    sd_base.unet.conv_in.weight.mul_(1e5)
    embeds = torch.zeros(1, 77, sd_base.unet.config.cross_attention_dim)
    noisy = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    sd_base.unet.to(torch.float16)
    sd_base.dtype = torch.float16
    with torch.inference_mode(), caplog.at_level(logging.WARNING):
        assert torch.isfinite(sd_base.denoise(noisy, 100, embeds)).all()
    assert sd_base.dtype == sd_base.unet.dtype == torch.bfloat16
    assert "bfloat16" in caplog.text


@pytest.mark.slow
def test_large_pictures_are_coded_in_tiles(sd_base: Base, monkeypatch: pytest.MonkeyPatch) -> None:
    """But on a GPU that has room for one piece."""
    coarse = torch.rand(1, 3, 9, 9, generator=torch.Generator().manual_seed(0))
    pixels = torch.nn.functional.interpolate(coarse, (576, 640), mode="bilinear")
    with torch.inference_mode():
        whole = sd_base.encode(pixels)
        assert not sd_base.vae.use_tiling
        monkeypatch.setattr(codec, "TILED", 512 * 512)
        monkeypatch.setattr(memory, "free", lambda _: 2 * 2**30)
        sd_base.encode(pixels)
        assert not sd_base.vae.use_tiling
        monkeypatch.setattr(memory, "free", lambda _: 2**30)
        tiled = sd_base.encode(pixels)
        assert sd_base.vae.use_tiling
        back = sd_base.decode(tiled)
        assert sd_base.vae.use_tiling
        sd_base.encode(pixels[..., :128, :128])
        assert not sd_base.vae.use_tiling
    assert back.shape == pixels.shape
    assert tiled.shape == whole.shape


def test_tiles_begin_at_768_pixels(sd_base: Base, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    monkeypatch.setattr(sd_base.vae, "encode", lambda x: seen.append(sd_base.vae.use_tiling) or (torch.zeros(1, 4, 1, 1),))
    for side in (768, 760):
        sd_base.encode(torch.zeros(1, 3, side, side))
    assert seen == [True, False]


def test_too_little_memory_for_one_piece_is_enough_for_tiles(sd_base: Base, monkeypatch: pytest.MonkeyPatch) -> None:
    forward, tries = sd_base.vae.decode, []

    def decode(latents: torch.Tensor) -> object:
        tries.append(sd_base.vae.use_tiling)
        if not sd_base.vae.use_tiling:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return forward(latents)

    monkeypatch.setattr(sd_base.vae, "decode", decode)
    with torch.inference_mode():
        assert sd_base.decode(torch.zeros(1, 4, 8, 8)).shape == (1, 3, 64, 64)
    assert tries == [False, True]


@pytest.mark.parametrize(
    "error", [torch.OutOfMemoryError("x"), MemoryError(), RuntimeError("DefaultCPUAllocator: can't allocate memory: 9")]
)
def test_too_little_memory_is_a_sentence(error: Exception) -> None:
    with pytest.raises(StyleError, match="768 x 512: choose a smaller working size"), memory.told(torch.device("cpu"), (768, 512)):
        raise error
    with pytest.raises(RuntimeError, match="a bug"), memory.told(torch.device("cpu"), (768, 512)):
        raise RuntimeError("a bug")


def test_a_preview_costs_no_decoding(sd_base: Base, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once the autoencoder is large; and it shows the colours."""
    monkeypatch.setattr(codec, "CHEAP", 0)
    monkeypatch.setattr(sd_base.vae, "decode", lambda *_: pytest.fail("a preview was decoded"))
    with torch.inference_mode():
        assert sd_base.preview(torch.zeros(1, 4, 8, 10)).shape == (1, 3, 64, 80)


def test_colours_of_latents_are_found_where_the_encoder_tells_them() -> None:
    """An encoder that mixes colours linearly, with a scaling and an offset, is undone; its fourth channel says nothing new."""

    class Linear(torch.nn.Module):
        class config:
            scaling_factor = 0.2

        dtype = torch.float32

        def __init__(self) -> None:
            super().__init__()
            self.mix = torch.nn.Parameter(torch.tensor([[2.0, 1, 0], [0, 1, 1], [1, 0, -1], [0.5, 0.5, 0.5]]))

        def encode(self, pixels: torch.Tensor) -> tuple[torch.Tensor]:
            small = torch.nn.functional.adaptive_avg_pool2d(pixels, (pixels.shape[-2] // 8, pixels.shape[-1] // 8))
            return (torch.einsum("nchw,rc->nrhw", small, self.mix) + 0.7,)

    vae = Linear()
    affine = codec.latent_colours(vae)
    pixels = torch.nn.functional.interpolate(torch.rand(1, 3, 8, 8) * 2 - 1, (64, 64), mode="nearest")
    with torch.no_grad():
        found = codec.colours_of(codec.encode(vae, pixels), affine)
    assert torch.allclose(found, pixels[..., ::8, ::8], atol=0.05)


def test_the_device_is_the_best_there_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert best_device() == "mps"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert best_device() == "cuda"


@pytest.mark.parametrize("source", ["nonsense", "a/b/c", "stylekit-tests/no-such-autoencoder"])
def test_a_tiny_autoencoder_that_is_not_there(sd_base: Base, monkeypatch: pytest.MonkeyPatch, source: str) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(BaseError, match=f"tiny autoencoder '{source}'"):
        open_tiny(source, torch.device("cpu"), torch.float32, sd_base.vae)


def test_a_tiny_autoencoder_shows_previews_and_results(sd_base: Base, tmp_path: Path) -> None:
    AutoencoderTiny(encoder_block_out_channels=(8,) * 4, decoder_block_out_channels=(8,) * 4).save_pretrained(tmp_path / "tiny")
    AutoencoderTiny(latent_channels=16).save_pretrained(tmp_path / "other")
    sd_base.tiny = open_tiny(str(tmp_path / "tiny"), torch.device("cpu"), torch.float32, sd_base.vae)
    latents = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        assert torch.equal(sd_base.preview(latents), sd_base.tiny.decode(latents).sample)
        assert torch.equal(sd_base.decode(latents, tiny=True), sd_base.tiny.decode(latents).sample)
        assert not torch.equal(sd_base.decode(latents), sd_base.tiny.decode(latents).sample)
        pixels = torch.rand(1, 3, 64, 64)
        assert torch.equal(sd_base.encode(pixels, tiny=True), sd_base.tiny.encode(pixels).latents)
    with pytest.raises(BaseError, match="latents of 16 channels"):
        open_tiny(str(tmp_path / "other"), torch.device("cpu"), torch.float32, sd_base.vae)


def test_bases_are_opened_by_several_threads() -> None:
    """As by two apps in one process: while diffusers loads, what another thread makes would have no weights."""
    with ThreadPoolExecutor(4) as pool:
        bases = list(pool.map(lambda _: Base.open(device="cpu"), range(8)))
    assert not any(parameter.is_meta for base in bases for model in (base.unet, base.vae) for parameter in model.parameters())


def test_where_a_gpu_has_no_room_for_both_networks_they_take_turns(sd_base: Base) -> None:
    """The device is torch's meta device, which takes weights as a GPU does and holds none."""
    for network in (sd_base.unet, sd_base.vae):
        network.to("cpu")
    gpu = torch.device("meta")
    memory.take_turn(sd_base.unet, [sd_base.vae], gpu)
    assert (sd_base.unet.device.type, sd_base.vae.device.type) == ("meta", "cpu")
    assert memory.crowded(3 * 2**30, free=4 * 2**30)
    assert not memory.crowded(3 * 2**30, free=8 * 2**30)
    assert not memory.crowded(3 * 2**30, free=None)  # a CPU has one memory for all


def test_networks_that_take_turns_make_the_same_picture(sd_base: Base, monkeypatch: pytest.MonkeyPatch) -> None:
    turns = []
    monkeypatch.setattr(memory, "take_turn", lambda needed, others, device: turns.append(needed))
    latents = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    embeds = torch.zeros(1, 77, sd_base.unet.config.cross_attention_dim)
    with torch.inference_mode():
        alone = sd_base.decode(sd_base.denoise(latents, 100, embeds))
        assert not turns
        sd_base.offload = True
        assert torch.equal(sd_base.decode(sd_base.denoise(latents, 100, embeds)), alone)
    assert turns == [sd_base.unet, sd_base.vae]


def test_attention_in_slices_is_the_same_attention(sd_base: Base) -> None:
    latents = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    embeds = torch.randn(1, 77, sd_base.unet.config.cross_attention_dim, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        whole = sd_base.denoise(latents, 100, embeds)
        memory.slice_attention(sd_base.unet)
        assert torch.allclose(sd_base.denoise(latents, 100, embeds), whole, atol=1e-5)
    assert memory.wants_slices(torch.device("mps"), total=16 * 2**30)
    assert not memory.wants_slices(torch.device("mps"), total=96 * 2**30)
    assert not memory.wants_slices(torch.device("cuda"), total=4 * 2**30)  # torch's own attention needs no more than slices do


def test_compiled_blocks_make_the_same_and_hear_what_listens(sd_base: Base, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """torch's eager backend goes the whole way of compiling but for the code; a block in which something listens runs as it is."""
    monkeypatch.delenv("TORCHINDUCTOR_CACHE_DIR", raising=False)
    monkeypatch.setattr("os.environ", dict(os.environ))
    latents = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    embeds = torch.randn(1, 77, sd_base.unet.config.cross_attention_dim, generator=torch.Generator().manual_seed(1))
    layer = sd_base.unet.get_submodule("down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q")
    made = []

    def backend(graph: torch.fx.GraphModule, _: object) -> object:
        made.append(graph)
        return graph.forward

    with torch.inference_mode():
        plain = sd_base.denoise(latents, 100, embeds)
        compile_blocks(sd_base.unet, tmp_path, backend)
        assert torch.allclose(sd_base.denoise(latents, 100, embeds), plain, atol=1e-5)
        assert made
        handle = layer.register_forward_hook(lambda _, __, output: 0 * output)
        silent = sd_base.denoise(latents, 100, embeds)
        handle.remove()
        assert not torch.allclose(silent, plain, atol=1e-4)
        assert torch.allclose(sd_base.denoise(latents, 100, embeds), plain, atol=1e-5)
    assert os.environ["TORCHINDUCTOR_CACHE_DIR"] == str(tmp_path)
