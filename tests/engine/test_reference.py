"""A picture as the style, without training: what it changes, where, and that it leaves nothing behind."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import pytest
import torch
from PIL import Image
from torch.nn import functional as F

from stylekit import sampling
from stylekit.adapters import apply, lora_weights
from stylekit.base import Base
from stylekit.errors import BaseError, SettingError
from stylekit.style_picture import reference
from stylekit.style_picture.reference import Reference, Weights, adain, applied, encode, style_layers

TIMESTEP = 300
SEED = 7
EMBEDS = torch.randn(1, 5, 64, generator=torch.Generator().manual_seed(3))


def random_latents(seed: int, height: int = 8, width: int = 16, count: int = 1) -> torch.Tensor:
    return torch.randn(count, 4, height, width, generator=torch.Generator().manual_seed(seed))


CONTENT = random_latents(0)
STYLE, OTHER = random_latents(1, 16, 16), 2 * random_latents(2, 8, 8) + 1
RIGHT = F.pad(torch.ones(1, 1, 64, 64), (64, 0))  # of a picture of 64 x 128 pixels


def noised(latents: torch.Tensor, base: Base) -> torch.Tensor:
    noise = torch.randn(latents.shape, generator=torch.Generator().manual_seed(SEED))
    return sampling.add_noise(latents, noise, base.alphas_cumprod[TIMESTEP])


def styled(base: Base, *references: Reference, content: torch.Tensor = CONTENT, **settings: float) -> torch.Tensor:
    with torch.no_grad(), applied(base, references, EMBEDS, SEED, content, **settings) as denoise:
        return denoise(noised(content, base), TIMESTEP, EMBEDS)


def plain(base: Base, content: torch.Tensor = CONTENT) -> torch.Tensor:
    with torch.no_grad():
        return base.denoise(noised(content, base), TIMESTEP, EMBEDS)


@contextmanager
def outputs_of(base: Base, path: str) -> Iterator[list[torch.Tensor]]:
    """What the layer at `path` gives on, pass by pass; enter it after the hooks whose work is to be seen."""
    seen: list[torch.Tensor] = []
    handle = base.unet.get_submodule(path).register_forward_hook(lambda _, __, output: seen.append(output))
    yield seen
    handle.remove()


def add_lora(base: Base, parts: Sequence[str] = ("to_q", "to_k", "to_v", "to_out.0")) -> None:
    """A random LoRA, fog, in the layers that take a style picture in."""
    generator = torch.Generator().manual_seed(4)
    modules = {}
    for path, layer in style_layers(base).items():
        for part in parts:
            width = layer.inner_dim
            modules[f"{path}.{part}"] = tuple(0.3 * torch.randn(s, generator=generator) for s in ((2, width), (width, 2)))
    alphas = dict.fromkeys(modules, 2.0)
    apply.inject(base.unet, lora_weights.LoraWeights(name="fog", modules=modules, alphas=alphas, metadata={}))  # type: ignore[arg-type]


def test_the_layers_are_those_of_the_paper(sd_base: Base) -> None:
    assert list(style_layers(sd_base)) == [f"up_blocks.{b}.attentions.{i}.transformer_blocks.0.attn1" for b in (2, 3) for i in range(3)]


def test_a_base_without_such_layers_is_told(sd_base: Base) -> None:
    del sd_base.unet.up_blocks[1:]
    sd_base.unet.up_blocks[0].attentions = None
    with (
        pytest.raises(BaseError, match="random has no self-attention"),
        applied(sd_base, [Reference(latents=STYLE, weight=1.0)], EMBEDS, 0, STYLE),
    ):
        pass


@pytest.mark.parametrize("weight", [0.0, torch.zeros(1, 1, 64, 128)])
def test_weight_zero_is_the_base_bit_for_bit(sd_base: Base, weight: reference.Weight) -> None:
    assert torch.equal(styled(sd_base, Reference(latents=STYLE, weight=weight)), plain(sd_base))
    assert torch.equal(styled(sd_base), plain(sd_base))
    assert torch.equal(adain(CONTENT, [Reference(latents=STYLE, weight=weight)]), CONTENT)


def test_pictures_of_any_size_act_and_each_in_its_own_way(sd_base: Base) -> None:
    base = plain(sd_base)
    one, two = (styled(sd_base, Reference(latents=latents, weight=1.0)) for latents in (STYLE, OTHER))
    assert one.shape == base.shape
    for first, second in ((base, one), (base, two), (one, two)):
        assert (first - second).abs().mean() > 1e-3
    half = styled(sd_base, Reference(latents=STYLE, weight=0.5))
    assert 0 < (half - base).norm() < (one - base).norm()


def test_gamma_tau_and_the_seed_matter(sd_base: Base) -> None:
    picture = Reference(latents=STYLE, weight=1.0)
    first = styled(sd_base, picture)
    assert not torch.equal(styled(sd_base, picture, tau=1.0), first)
    photo = random_latents(9)  # at its own noise the query is the photo's already, so another picture asks here
    with torch.no_grad():
        results = []
        for gamma, seed in ((0.75, SEED), (0.0, SEED), (0.75, SEED + 1)):
            with applied(sd_base, [picture], EMBEDS, seed, CONTENT, gamma=gamma) as denoise:
                results.append(denoise(photo, TIMESTEP, EMBEDS))
    assert not torch.equal(results[0], results[1])
    assert not torch.equal(results[0], results[2])


def test_the_photo_as_its_own_style_is_the_photo(sd_base: Base) -> None:
    """Without sharpening, as keys, values and queries are the layer's own."""
    result = styled(sd_base, Reference(latents=CONTENT, weight=1.0), tau=1.0)
    assert torch.allclose(result, plain(sd_base), atol=1e-4)


def test_first_layer_against_the_formula(sd_base: Base) -> None:
    path, layer = next(iter(style_layers(sd_base).items()))
    inputs: list[torch.Tensor] = []
    handle = layer.register_forward_pre_hook(lambda _, args: inputs.append(args[0]))
    plain(sd_base, STYLE)
    plain(sd_base)
    other = random_latents(9)
    with torch.no_grad():
        sd_base.denoise(other, TIMESTEP, EMBEDS)
        handle.remove()
        style, photo, now = inputs
        query = 0.75 * layer.to_q(photo) + 0.25 * layer.to_q(now)
        q, k, v = (x.unflatten(-1, (layer.heads, -1)).transpose(1, 2) for x in (query, layer.to_k(style), layer.to_v(style)))
        scores = 1.5 * q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5
        expected = layer.to_out[0]((scores.softmax(-1) @ v).transpose(1, 2).flatten(2))
        with applied(sd_base, [Reference(latents=STYLE, weight=1.0)], EMBEDS, SEED, CONTENT) as denoise, outputs_of(sd_base, path) as seen:
            denoise(other, TIMESTEP, EMBEDS)
    assert torch.allclose(seen[-1], expected, atol=1e-5)


def test_a_map_paints_its_half_of_the_attention(sd_base: Base) -> None:
    """Seen at the first layer: from there convolutions, normalisation and attention itself carry a little everywhere."""
    path = next(iter(style_layers(sd_base)))
    with outputs_of(sd_base, path) as seen:
        plain(sd_base)
    picture = Reference(latents=STYLE, weight=RIGHT)
    with torch.no_grad(), applied(sd_base, [picture], EMBEDS, SEED, CONTENT) as denoise, outputs_of(sd_base, path) as painted:
        denoise(noised(CONTENT, sd_base), TIMESTEP, EMBEDS)
    own, half = (x.unflatten(1, (4, 8)) for x in (seen[-1], painted[-1]))
    assert torch.equal(half[:, :, :4], own[:, :, :4])
    assert ((half[:, :, 4:] - own[:, :, 4:]).abs().amax(-1) > 1e-4).all()


def test_a_map_of_ones_is_the_number_and_the_far_side_changes_less(sd_base: Base) -> None:
    whole = styled(sd_base, Reference(latents=STYLE, weight=1.0))
    assert torch.equal(styled(sd_base, Reference(latents=STYLE, weight=torch.ones(1, 1, 64, 128))), whole)
    change = (styled(sd_base, Reference(latents=STYLE, weight=RIGHT)) - plain(sd_base)).abs().mean((0, 1, 2))
    assert change[8:].mean() > change[:8].mean()


@pytest.mark.parametrize("other", [OTHER, random_latents(8, 16, 16)])
def test_two_pictures_each_on_its_half(sd_base: Base, other: torch.Tensor) -> None:
    path = next(iter(style_layers(sd_base)))
    left = 1 - RIGHT
    sides = []
    for references in (
        [Reference(latents=STYLE, weight=left), Reference(latents=other, weight=RIGHT)],
        [Reference(latents=STYLE, weight=1.0)],
        [Reference(latents=other, weight=1.0)],
    ):
        with torch.no_grad(), applied(sd_base, references, EMBEDS, SEED, CONTENT) as denoise, outputs_of(sd_base, path) as seen:
            denoise(noised(CONTENT, sd_base), TIMESTEP, EMBEDS)
        sides.append(seen[-1].unflatten(1, (4, 8)))
    both, one, two = sides
    assert torch.allclose(both[:, :, :4], one[:, :, :4], atol=1e-6)
    assert torch.allclose(both[:, :, 4:], two[:, :, 4:], atol=1e-6)


def test_placements_of_the_photo_take_their_own_maps(sd_base: Base) -> None:
    content = random_latents(5, count=2)
    painted = styled(sd_base, Reference(latents=STYLE, weight=torch.cat([torch.zeros_like(RIGHT), RIGHT])), content=content)
    base = plain(sd_base, content)
    assert torch.allclose(painted[0], base[0], atol=1e-5)
    assert (painted[1] - base[1]).abs().mean() > 1e-3


def test_pictures_of_one_size_share_a_pass_and_guidance_asks_for_no_second(sd_base: Base, monkeypatch: pytest.MonkeyPatch) -> None:
    batches: list[int] = []
    forward = sd_base.denoise
    monkeypatch.setattr(sd_base, "denoise", lambda latents, *rest: batches.append(len(latents)) or forward(latents, *rest))
    references = [Reference(latents=latents, weight=0.3) for latents in (STYLE, OTHER, STYLE + 1)]
    with torch.no_grad(), applied(sd_base, references, EMBEDS, SEED, CONTENT) as denoise:
        results = [denoise(CONTENT, timestep, embeds) for timestep, embeds in ((300, EMBEDS), (300, -EMBEDS), (200, EMBEDS))]
    assert batches == [2, 1, 1, 1, 1, 2, 1, 1, 1]
    assert not torch.equal(results[0], results[1])


def test_leaving_restores_the_model_also_after_an_exception(sd_base: Base) -> None:
    first, before = plain(sd_base), {name: tensor.clone() for name, tensor in sd_base.unet.state_dict().items()}
    processors, names = dict(sd_base.unet.attn_processors), [name for name, _ in sd_base.unet.named_modules()]

    def cancelled() -> None:
        with torch.no_grad(), applied(sd_base, [Reference(latents=STYLE, weight=1.0)], EMBEDS, SEED, CONTENT) as denoise:
            assert not torch.equal(denoise(noised(CONTENT, sd_base), TIMESTEP, EMBEDS), first)
            denoise(torch.zeros(1, 3, 8, 16), TIMESTEP, EMBEDS)  # fails within a pass

    with pytest.raises(RuntimeError, match="channels"):
        cancelled()
    after = sd_base.unet.state_dict()
    assert list(after) == list(before)
    assert all(torch.equal(after[name], tensor) for name, tensor in before.items())
    assert all(sd_base.unet.attn_processors[name] is processor for name, processor in processors.items())
    assert [name for name, _ in sd_base.unet.named_modules()] == names
    assert not any(module._forward_hooks for module in sd_base.unet.modules())
    assert torch.equal(plain(sd_base), first)


@pytest.mark.parametrize("weight", [0.7, RIGHT])
def test_with_a_lora_fused_or_painted(sd_base: Base, weight: reference.Weight) -> None:
    """The style picture has another shape than the photo, on which the LoRA's map would not fit."""
    add_lora(sd_base)
    picture = Reference(latents=STYLE, weight=1.0)
    base, only_picture = plain(sd_base), styled(sd_base, picture)
    with torch.no_grad(), apply.applied(sd_base.unet, {"fog": weight}):
        only_lora, both = plain(sd_base), styled(sd_base, picture)
        assert torch.equal(plain(sd_base), only_lora)
    for other in (base, only_picture, only_lora):
        assert (both - other).abs().mean() > 1e-4
    mixed = apply.applied(sd_base.unet, {"fog": weight})
    with torch.no_grad(), applied(sd_base, [picture], EMBEDS, SEED, CONTENT) as denoise, mixed:  # entered in the other order
        again = denoise(noised(CONTENT, sd_base), TIMESTEP, EMBEDS)
    assert torch.equal(again, both)
    assert torch.equal(plain(sd_base), base)


def test_a_painted_lora_does_not_reach_the_style_pictures_own_pass(sd_base: Base) -> None:
    """Of keys alone, it acts through the style picture's where it is in the weights, and not at all where it is painted on the photo."""
    add_lora(sd_base, ("to_k",))
    picture = Reference(latents=STYLE, weight=1.0)
    without = styled(sd_base, picture, gamma=0)  # the photo's own queries come from a pass in which it is painted
    with torch.no_grad(), apply.applied(sd_base.unet, {"fog": torch.ones(1, 1, 64, 128)}):
        painted = styled(sd_base, picture, gamma=0)
    with torch.no_grad(), apply.applied(sd_base.unet, {"fog": 1.0}):
        fused = styled(sd_base, picture, gamma=0)
    assert torch.allclose(painted, without, atol=1e-4)
    assert not torch.allclose(fused, without, atol=1e-3)


def test_a_whole_sampling_with_a_map(sd_base: Base) -> None:
    """As the sampler is driven: the starting latents moved, then every step asked of what the block gives."""
    references = [Reference(latents=STYLE, weight=RIGHT)]
    noise = torch.randn(CONTENT.shape, generator=torch.Generator().manual_seed(SEED))
    results = []
    for chosen in ([], references):
        with torch.no_grad(), applied(sd_base, chosen, EMBEDS, SEED, CONTENT) as denoise:
            steps = sampling.sample(
                lambda noisy, timestep, denoise=denoise: denoise(noisy, timestep, EMBEDS),
                adain(CONTENT, chosen),
                noise,
                sampling.timesteps_from(400, 3),
                sd_base.alphas_cumprod,
                sd_base.prediction_type,
            )
            results.append(list(steps)[-1].latents)
    change = (results[1] - results[0]).abs().mean((0, 1, 2))
    assert torch.isfinite(results[1]).all()
    assert change[8:].mean() > 3 * change[:8].mean() > 0


@pytest.mark.parametrize(("dtype", "autocast"), [(torch.bfloat16, False), (torch.float32, True)])
def test_other_precisions(sd_base: Base, dtype: torch.dtype, autocast: bool) -> None:
    exact = styled(sd_base, Reference(latents=STYLE, weight=RIGHT))
    sd_base.unet.to(dtype)
    sd_base.dtype, sd_base.autocast = dtype, autocast
    result = styled(sd_base, Reference(latents=STYLE, weight=RIGHT))
    assert result.dtype == torch.float32
    assert (result - exact).norm() < 0.03 * exact.norm()


def test_statistics_go_over_to_the_reference(sd_base: Base) -> None:
    content = random_latents(5, count=2) * 3 - 1
    whole = adain(content, [Reference(latents=OTHER, weight=1.0)])
    for ours, theirs in ((whole.mean((2, 3)), OTHER.mean((2, 3))), (whole.std((2, 3), correction=0), OTHER.std((2, 3), correction=0))):
        assert torch.allclose(ours, theirs.expand_as(ours), atol=1e-4)
    half = adain(content, [Reference(latents=OTHER, weight=0.5)])
    assert torch.allclose(half, (content + whole) / 2, atol=1e-5)
    both = adain(content, [Reference(latents=latents, weight=0.5) for latents in (OTHER, STYLE)])
    assert torch.allclose(both.mean((2, 3)), (OTHER + STYLE.mean((2, 3), keepdim=True)).mean((2, 3)).expand(2, -1) / 2, atol=1e-4)


def test_under_a_map_the_statistics_are_the_regions() -> None:
    moved = adain(CONTENT, [Reference(latents=OTHER, weight=RIGHT)])
    assert torch.equal(moved[..., :8], CONTENT[..., :8])
    region = moved[..., 8:]
    assert torch.allclose(region.mean((2, 3)), OTHER.mean((2, 3)), atol=1e-4)
    assert torch.allclose(region.std((2, 3), correction=0), OTHER.std((2, 3), correction=0), atol=1e-4)


def test_flat_latents_are_not_blown_up() -> None:
    moved = adain(torch.full((1, 4, 8, 8), 0.3), [Reference(latents=OTHER, weight=1.0)])
    assert torch.isfinite(moved).all()
    assert torch.allclose(moved, OTHER.mean((2, 3), keepdim=True).expand_as(moved), atol=0.1)


def test_numbers_and_maps_mix() -> None:
    weights = Weights([0.25, RIGHT])
    own = torch.zeros(1, 32, 3)
    result = weights.laid_on(own, [own + 1, own + 2]).unflatten(1, (4, 8))
    assert torch.equal(result[:, :, :4], torch.full((1, 4, 4, 3), 0.25))
    assert torch.equal(result[:, :, 4:], torch.full((1, 4, 4, 3), 2.25))


def test_a_picture_of_any_size_becomes_latents(sd_base: Base, photo: Image.Image) -> None:
    latents = encode(sd_base, photo)  # 150 x 100
    assert latents.shape == (1, 4, 16, 24)
    assert latents.dtype == torch.float32


@pytest.mark.parametrize("weight", [-0.1, float("nan"), torch.full((1, 1, 8, 8), -1.0), torch.ones(8, 8)])
def test_bad_weights_are_told(weight: reference.Weight) -> None:
    with pytest.raises(SettingError, match="weight of a style picture"):
        Reference(latents=STYLE, weight=weight)


@pytest.mark.parametrize("settings", [{"gamma": 1.5}, {"tau": 0.0}])
def test_bad_settings_are_told(sd_base: Base, settings: dict[str, float]) -> None:
    with pytest.raises(SettingError, match="gamma goes from 0 to 1"):
        styled(sd_base, Reference(latents=STYLE, weight=1.0), **settings)
