"""IP-Adapters: read and checked, the same numbers as in diffusers, on part of the picture, and out again without a trace."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from diffusers import StableDiffusionPipeline
from huggingface_hub import constants
from PIL import Image
from safetensors.torch import load_file, save_file
from torch.nn import functional as F
from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

from benchmarks.sd15_models import FULL, REDUCED, build_unet
from stylekit.adapters import apply, lora_weights
from stylekit.base import Base
from stylekit.errors import AdapterError, SettingError, StyleError
from stylekit.style_picture import ip_adapter, reference
from stylekit.style_picture.ip_adapter import BROAD_BLOCKS, ENCODER_FOLDER, WEIGHTS_FILE, ImagePrompt, IpAdapter, applied, embed
from tests import hub_server

TIMESTEP = 300
IMAGE_WIDTH = 24
EMBEDS = torch.randn(1, 5, 64, generator=torch.Generator().manual_seed(3))
NOISY = torch.randn(1, 4, 8, 16, generator=torch.Generator().manual_seed(0))
RIGHT = F.pad(torch.ones(1, 1, 64, 64), (64, 0))  # of a picture of 64 x 128 pixels
FIRST = "up_blocks.1.attentions.0.transformer_blocks.0.attn2"
Tensors = dict[str, torch.Tensor]


def tensors_for(unet: torch.nn.Module) -> Tensors:
    """A plain IP-Adapter's keys and shapes for `unet`, random numbers."""
    generator = torch.Generator().manual_seed(5)
    width = unet.config.cross_attention_dim
    shapes = {"proj.weight": (4 * width, IMAGE_WIDTH), "proj.bias": (4 * width,), "norm.weight": (width,), "norm.bias": (width,)}
    tensors = {f"image_proj.{name}": torch.randn(shape, generator=generator) for name, shape in shapes.items()}
    for i, name in enumerate(unet.attn_processors):
        if "attn2" in name:
            inner = unet.get_submodule(name.removesuffix(".processor")).inner_dim
            for half in "kv":
                tensors[f"ip_adapter.{i}.to_{half}_ip.weight"] = 0.3 * torch.randn(inner, width, generator=generator)
    return tensors


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Laid out as h94/IP-Adapter is, for the reduced UNet, with a small encoder of its class."""
    folder = tmp_path_factory.mktemp("ip-adapter")
    (folder / "models").mkdir()
    save_file(tensors_for(build_unet(REDUCED)), folder / WEIGHTS_FILE)
    torch.manual_seed(0)
    config = CLIPVisionConfig(
        hidden_size=32,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        image_size=28,
        patch_size=14,
        projection_dim=IMAGE_WIDTH,
    )
    CLIPVisionModelWithProjection(config).save_pretrained(folder / ENCODER_FOLDER)
    return folder


@pytest.fixture(scope="module")
def adapter(folder: Path) -> IpAdapter:
    return IpAdapter.open(folder)


@pytest.fixture(scope="module")
def pictures(adapter: IpAdapter, photo: Image.Image) -> torch.Tensor:
    return embed(adapter, [photo, photo.rotate(180).convert("L").convert("RGB")])


def plain(base: Base, noisy: torch.Tensor = NOISY) -> torch.Tensor:
    with torch.no_grad():
        return base.denoise(noisy, TIMESTEP, EMBEDS)


def styled(base: Base, adapter: IpAdapter, *prompts: ImagePrompt, noisy: torch.Tensor = NOISY, **settings: tuple[str, ...]) -> torch.Tensor:
    with torch.no_grad(), applied(base, adapter, prompts, **settings) as denoise:
        return denoise(noisy, TIMESTEP, EMBEDS)


def layer_output(base: Base, adapter: IpAdapter, *prompts: ImagePrompt) -> torch.Tensor:
    """(N, h, w, channels) of the first layer that sees the pictures."""
    seen: list[torch.Tensor] = []
    with torch.no_grad(), applied(base, adapter, prompts) as denoise:
        handle = base.unet.get_submodule(FIRST).register_forward_hook(lambda _, __, output: seen.append(output))
        denoise(NOISY, TIMESTEP, EMBEDS)
        handle.remove()
    return seen[0].unflatten(1, (2, 4))


def test_an_embedding_depends_on_the_picture_and_repeats(adapter: IpAdapter, pictures: torch.Tensor, photo: Image.Image) -> None:
    assert pictures.shape == (2, IMAGE_WIDTH)
    assert pictures.dtype == torch.float32
    assert not torch.allclose(pictures[0], pictures[1], atol=1e-3)
    assert torch.allclose(embed(adapter, [photo])[0], pictures[0], atol=1e-5)


@pytest.mark.parametrize("scale", [1.0, 0.6])
def test_the_same_numbers_as_diffusers(sd_base: Base, folder: Path, adapter: IpAdapter, photo: Image.Image, scale: float) -> None:
    ours = [
        styled(sd_base, adapter, ImagePrompt(embeds=embed(adapter, [photo]), weight=scale), **blocks)
        for blocks in ({}, {"blocks": BROAD_BLOCKS})
    ]
    parts = (sd_base.vae, None, None, sd_base.unet, sd_base.scheduler, None, None)
    pipe = StableDiffusionPipeline(*parts, requires_safety_checker=False)
    pipe.load_ip_adapter(folder, subfolder="models", weight_name=Path(WEIGHTS_FILE).name)
    broad = {"down": {"block_0": scale, "block_1": scale}, "mid": scale, "up": {"block_2": scale, "block_3": scale}}
    with torch.no_grad():
        embeds = pipe.encode_image(photo, "cpu", 1)[0]
        for result, config in zip(ours, ({"up": {"block_1": scale}}, broad), strict=True):
            pipe.set_ip_adapter_scale(0.0)
            pipe.set_ip_adapter_scale(config)
            given = {"image_embeds": [embeds[None]]}
            theirs = sd_base.unet(NOISY, TIMESTEP, encoder_hidden_states=EMBEDS, added_cond_kwargs=given).sample
            assert torch.allclose(result, theirs, atol=1e-5)


@pytest.mark.parametrize("weight", [0.0, torch.zeros(1, 1, 64, 128)])
def test_weight_zero_is_the_base_bit_for_bit(sd_base: Base, adapter: IpAdapter, pictures: torch.Tensor, weight: reference.Weight) -> None:
    assert torch.equal(styled(sd_base, adapter, ImagePrompt(embeds=pictures[:1], weight=weight)), plain(sd_base))
    assert torch.equal(styled(sd_base, adapter), plain(sd_base))


def test_pictures_blocks_and_weights_matter(sd_base: Base, adapter: IpAdapter, pictures: torch.Tensor) -> None:
    one, two = (ImagePrompt(embeds=row[None], weight=1.0) for row in pictures)
    results = [
        plain(sd_base),
        styled(sd_base, adapter, one),
        styled(sd_base, adapter, two),
        styled(sd_base, adapter, one, two),
        styled(sd_base, adapter, one, blocks=BROAD_BLOCKS),
        styled(sd_base, adapter, ImagePrompt(embeds=pictures[:1], weight=0.5)),
    ]
    for i, first in enumerate(results):
        for second in results[i + 1 :]:
            assert (first - second).abs().max() > 1e-4


def test_a_map_paints_its_half_of_the_attention(sd_base: Base, adapter: IpAdapter, pictures: torch.Tensor) -> None:
    """Seen at the first layer: from there convolutions, normalisation and self-attention carry a little everywhere."""
    one, two = pictures[:1], pictures[1:]
    own = layer_output(sd_base, adapter, ImagePrompt(embeds=one, weight=1e-30))  # too little to be seen
    first, second = (layer_output(sd_base, adapter, ImagePrompt(embeds=embeds, weight=1.0)) for embeds in (one, two))
    half = layer_output(sd_base, adapter, ImagePrompt(embeds=one, weight=RIGHT))
    assert torch.equal(half[:, :, :2], own[:, :, :2])
    assert torch.equal(half[:, :, 2:], first[:, :, 2:])
    assert ((half[:, :, 2:] - own[:, :, 2:]).abs().amax(-1) > 1e-4).all()
    both = layer_output(sd_base, adapter, ImagePrompt(embeds=one, weight=1 - RIGHT), ImagePrompt(embeds=two, weight=RIGHT))
    assert torch.allclose(both[:, :, :2], first[:, :, :2], atol=1e-6)
    assert torch.allclose(both[:, :, 2:], second[:, :, 2:], atol=1e-6)


def test_placements_of_the_photo_take_their_own_maps(sd_base: Base, adapter: IpAdapter, pictures: torch.Tensor) -> None:
    noisy = torch.cat([NOISY, NOISY])
    maps = torch.cat([torch.zeros_like(RIGHT), RIGHT])
    painted, base = styled(sd_base, adapter, ImagePrompt(embeds=pictures[:1], weight=maps), noisy=noisy), plain(sd_base, noisy)
    assert torch.allclose(painted[0], base[0], atol=1e-5)
    assert (painted[1] - base[1]).abs().max() > 1e-4


def test_leaving_restores_the_model_also_after_an_exception(sd_base: Base, adapter: IpAdapter, pictures: torch.Tensor) -> None:
    unet = sd_base.unet
    first, before = plain(sd_base), {name: tensor.clone() for name, tensor in unet.state_dict().items()}
    processors, names, config = dict(unet.attn_processors), [name for name, _ in unet.named_modules()], dict(unet.config)

    def cancelled() -> None:
        with torch.no_grad(), applied(sd_base, adapter, [ImagePrompt(embeds=pictures[:1], weight=1.0)]) as denoise:
            assert not torch.equal(denoise(NOISY, TIMESTEP, EMBEDS), first)
            assert list(unet.state_dict()) == list(before)  # within, too: nothing for others to stumble over
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cancelled()
    after = unet.state_dict()
    assert all(torch.equal(after[name], tensor) for name, tensor in before.items())
    assert all(unet.attn_processors[name] is processor for name, processor in processors.items())
    assert [name for name, _ in unet.named_modules()] == names
    assert dict(unet.config) == config
    assert unet.config.encoder_hid_dim_type is None
    assert unet.encoder_hid_proj is None
    assert not any(module._forward_hooks for module in unet.modules())
    assert torch.equal(plain(sd_base), first)


@pytest.mark.parametrize("weight", [0.7, RIGHT])
def test_with_a_lora_and_a_reference_at_once(sd_base: Base, adapter: IpAdapter, pictures: torch.Tensor, weight: reference.Weight) -> None:
    generator = torch.Generator().manual_seed(4)
    inner = sd_base.unet.get_submodule(FIRST).inner_dim
    halves = {f"{FIRST}.to_q": (torch.randn(2, inner, generator=generator), torch.randn(inner, 2, generator=generator))}
    apply.inject(sd_base.unet, lora_weights.LoraWeights(name="fog", modules=halves, alphas=dict.fromkeys(halves, 2.0), metadata={}))
    prompt = ImagePrompt(embeds=pictures[:1], weight=weight)
    picture = reference.Reference(latents=torch.randn(1, 4, 16, 16, generator=generator), weight=weight)
    base, only_prompt = plain(sd_base), styled(sd_base, adapter, prompt)
    mixed = apply.applied(sd_base.unet, {"fog": weight})
    with torch.no_grad(), applied(sd_base, adapter, [prompt]) as denoise, mixed:
        with_lora = denoise(NOISY, TIMESTEP, EMBEDS)
        with reference.applied(sd_base, [picture], EMBEDS, 0, NOISY) as denoise:
            with_both = denoise(NOISY, TIMESTEP, EMBEDS)
        assert torch.equal(sd_base.denoise(NOISY, TIMESTEP, EMBEDS), with_lora)
    results = [base, only_prompt, with_lora, with_both]
    assert all((a - b).abs().max() > 1e-5 for i, a in enumerate(results) for b in results[i + 1 :])
    assert torch.equal(plain(sd_base), base)


@pytest.mark.parametrize(("dtype", "autocast"), [(torch.bfloat16, False), (torch.float32, True)])
def test_other_precisions(sd_base: Base, adapter: IpAdapter, pictures: torch.Tensor, dtype: torch.dtype, autocast: bool) -> None:
    prompt = ImagePrompt(embeds=pictures[:1], weight=RIGHT)
    exact = styled(sd_base, adapter, prompt)
    sd_base.unet.to(dtype)
    sd_base.dtype, sd_base.autocast = dtype, autocast
    result = styled(sd_base, adapter, prompt)
    assert result.dtype == torch.float32
    assert (result - exact).norm() < 0.03 * exact.norm()


def renamed(tensors: Tensors) -> None:
    tensors["image_proj.latents"] = tensors.pop("image_proj.proj.weight")


def without_a_half(tensors: Tensors) -> None:
    del tensors["ip_adapter.5.to_v_ip.weight"]


def without_projection(tensors: Tensors) -> None:
    del tensors["image_proj.norm.bias"]


def of_a_lora(tensors: Tensors) -> None:
    tensors.clear()
    tensors["unet.down_blocks.0.attentions.0.transformer_blocks.0.attn2.to_k.lora_A.weight"] = torch.ones(2, 2)


def not_finite(tensors: Tensors) -> None:
    tensors["ip_adapter.3.to_k_ip.weight"][0, 0] = float("nan")


def wrong_tokens(tensors: Tensors) -> None:
    tensors["image_proj.proj.weight"] = torch.ones(16 * 64, IMAGE_WIDTH)


def wrong_layer(tensors: Tensors) -> None:
    tensors["ip_adapter.3.to_k_ip.weight"] = torch.ones(32, 65)


def unknown_layer(tensors: Tensors) -> None:
    tensors["ip_adapter.2.to_k_ip.weight"] = torch.ones(32, 64)


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (renamed, "'image_proj.latents', which is no part of a plain IP-Adapter: use models/ip-adapter_sd15"),
        (unknown_layer, "'ip_adapter.2.to_k_ip.weight', which is no part"),
        (of_a_lora, "'unet.down_blocks"),
        (without_a_half, r"lacks 5\.to_v_ip\.weight"),
        (without_projection, r"lacks norm\.bias"),
        (not_finite, "NaN or infinite"),
        (wrong_tokens, r"wrong shape at image_embeds\.weight"),
        (wrong_layer, "wrong shape at layer 3"),
    ],
)
def test_files_that_are_no_plain_ip_adapter_are_refused(
    folder: Path, tmp_path: Path, spoil: Callable[[Tensors], None], reason: str
) -> None:
    tensors = load_file(folder / WEIGHTS_FILE)
    spoil(tensors)
    (tmp_path / "models").mkdir()
    save_file(tensors, tmp_path / WEIGHTS_FILE)
    with pytest.raises(AdapterError, match=reason):
        IpAdapter.open(tmp_path)


def test_missing_and_damaged_files_are_told(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(AdapterError, match=r"There is no IP-Adapter at .*ip-adapter_sd15"):
        IpAdapter.open(tmp_path)
    (tmp_path / "models").mkdir()
    (tmp_path / WEIGHTS_FILE).write_bytes((folder / WEIGHTS_FILE).read_bytes()[:1000])
    with pytest.raises(AdapterError, match="cannot be read"):
        IpAdapter.open(tmp_path)
    with pytest.raises(StyleError, match="There is no folder"):
        IpAdapter.open("./missing")


def test_an_encoder_that_is_missing_halved_or_another_is_told(folder: Path, tmp_path: Path, photo: Image.Image) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    adapter = IpAdapter.open(copy)
    weights = copy / ENCODER_FOLDER / "model.safetensors"
    tensors = load_file(weights)
    projection = tensors.pop("visual_projection.weight")
    save_file(tensors, weights, metadata={"format": "pt"})
    with pytest.raises(AdapterError, match=r"lacks visual_projection\.weight"):
        embed(adapter, [photo])
    config = CLIPVisionConfig.from_pretrained(copy / ENCODER_FOLDER)
    config.projection_dim = 8
    config.save_pretrained(copy / ENCODER_FOLDER)
    save_file(tensors | {"visual_projection.weight": projection[:8].contiguous()}, weights, metadata={"format": "pt"})
    with pytest.raises(AdapterError, match="gives 8 numbers, where the IP-Adapter takes 24"):
        embed(adapter, [photo])
    weights.unlink()
    with pytest.raises(AdapterError, match="cannot be loaded"):
        embed(adapter, [photo])


@pytest.mark.parametrize(("width", "family"), [(2048, "Stable Diffusion XL"), (768, "16 layers of prompts 768 wide")])
def test_another_base_is_told(sd_base: Base, tmp_path: Path, width: int, family: str, pictures: torch.Tensor) -> None:
    projection = {"image_embeds.weight": torch.zeros(4 * width, IMAGE_WIDTH), "norm.weight": torch.zeros(width)}
    other = IpAdapter(folder=tmp_path, projection=projection, layers=[(torch.zeros(32, width), torch.zeros(32, width))] * 16)
    with pytest.raises(AdapterError, match=f"is for {family} and does not fit random, which has 16 layers of prompts 64 wide"):
        styled(sd_base, other, ImagePrompt(embeds=pictures[:1], weight=1.0))


def test_the_real_file_has_these_shapes() -> None:
    """Keys 1 to 31, odd; 44.6 MB in float16, as on the Hub."""
    with torch.device("meta"):
        unet = build_unet(FULL)
    layers = ip_adapter._cross_attention(unet)
    assert len(layers) == 16
    numbers = sum(2 * layer.inner_dim * layer.cross_attention_dim for layer in layers.values()) + 4 * 768 * 1025 + 2 * 768
    assert 0 < 44_642_768 - 2 * numbers < 10_000  # the file's head


@pytest.mark.parametrize("weight", [-1.0, float("inf")])
def test_bad_settings_are_told(sd_base: Base, adapter: IpAdapter, pictures: torch.Tensor, weight: float) -> None:
    with pytest.raises(SettingError, match="weight of a style picture"):
        ImagePrompt(embeds=pictures[:1], weight=weight)
    with pytest.raises(SettingError, match=r"no attention to the prompt in up_blocks\.9"):
        styled(sd_base, adapter, ImagePrompt(embeds=pictures[:1], weight=1.0), blocks=("up_blocks.9",))


def test_offline_it_is_told_what_to_do(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(StyleError, match="cannot be reached, and h94/IP-Adapter is not in the cache: check the connection"):
        IpAdapter.open(cache=tmp_path)


def test_it_is_fetched_once_and_only_what_is_needed(folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    names = (WEIGHTS_FILE, *ip_adapter.ENCODER_FILES)
    files = {name: (folder / name).read_bytes() for name in names} | {"models/ip-adapter_sd15.bin": b"pickle", "README.md": b"---\n---\n"}
    with hub_server.serve() as server:
        hub_server.aim_client(monkeypatch, server.url)
        server.add("h94/IP-Adapter", files)
        server.add("owner/half", {WEIGHTS_FILE: files[WEIGHTS_FILE]})
        fetched = IpAdapter.open(cache=tmp_path)
        with pytest.raises(StyleError, match=r"models/image_encoder/config\.json of owner/half cannot be had"):
            IpAdapter.open("owner/half", cache=tmp_path)
        with pytest.raises(StyleError, match="There is no owner/none"):
            IpAdapter.open("owner/none", cache=tmp_path)
    assert {path.relative_to(fetched.folder).as_posix() for path in fetched.folder.rglob("*") if path.is_file()} == set(names)
    again = IpAdapter.open(cache=tmp_path)  # the server is gone
    assert again.folder == fetched.folder
