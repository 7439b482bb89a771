"""The Stylizer on the real pocket base and the real styles."""

from __future__ import annotations

import dataclasses
import threading
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
from PIL import Image, ImageDraw

from stylekit import images
from stylekit.adapters import apply
from stylekit.base import Base
from stylekit.base_card import SD_CARD
from stylekit.errors import StyleError, UnknownStyleError
from stylekit.maps import WeightMap
from stylekit.mix import StyleMix
from stylekit.pixels.colour import to_oklab
from stylekit.recipe import Recipe
from stylekit.styles import StyleLibrary
from stylekit.stylizer import Stylized, Stylizer, StylizeStep

STYLES = ("sketch", "ukiyoe")
SIZE = (96, 64)  # of a plan that is only looked at


def distance(a: Image.Image, b: Image.Image) -> float:
    return float(np.abs(np.asarray(a, np.float32) - np.asarray(b, np.float32)).mean())


def recipe(style: str = "sketch", **changes: object) -> Recipe:
    """Without the hand: these are tests of what the model paints."""
    return Recipe(mix=StyleMix.of(style), hand=False).with_(**changes)


def half(size: tuple[int, int], right: bool = False) -> WeightMap:
    """1 on the left half of a picture of `size`, or on the right."""
    values = np.zeros((size[1], size[0]), np.float32)
    values[:, : size[0] // 2] = 1
    return WeightMap.of(1 - values if right else values)


def disc(size: tuple[int, int], level: int = 255) -> Image.Image:
    mask = Image.new("L", size)
    w, h = size
    ImageDraw.Draw(mask).ellipse((w * 0.2, h * 0.2, w * 0.7, h * 0.8), fill=level)
    return mask


def pixels(picture: Image.Image) -> np.ndarray:
    return np.asarray(picture, np.float32)


@pytest.fixture(scope="module")
def coffee(root: Path) -> Image.Image:
    return Image.open(root / "assets" / "photos" / "coffee.jpg").convert("RGB").resize((300, 200), Image.Resampling.LANCZOS)


def test_strength_zero_is_the_photo(stylizer: Stylizer, photo: Image.Image) -> None:
    assert stylizer.stylize(photo, recipe(strength=0)).image.tobytes() == photo.tobytes()


@pytest.mark.parametrize("style", STYLES)
def test_the_dial_moves_steadily_from_photo_to_style(stylizer: Stylizer, coffee: Image.Image, style: str) -> None:
    pictures = [stylizer.stylize(coffee, recipe(style, strength=s)).image for s in (0, 0.25, 0.5, 0.75, 1)]
    from_photo = [distance(coffee, p) for p in pictures]
    steps = [distance(a, b) for a, b in pairwise(pictures)]
    assert from_photo == sorted(from_photo)
    assert max(steps) < 0.6 * from_photo[-1]  # no jump: no quarter of the dial does most of the work


def test_sketch_is_grey_paper_with_ink(stylizer: Stylizer, coffee: Image.Image) -> None:
    array = np.asarray(stylizer.stylize(coffee, recipe("sketch")).image, np.float32)
    assert np.abs(array - array.mean(-1, keepdims=True)).mean() < 8  # no colour
    light = array.mean(-1)
    assert np.percentile(light, 75) > 215  # paper
    assert light.std() > 25  # ink
    assert np.abs(np.asarray(coffee, np.float32) - np.asarray(coffee, np.float32).mean(-1, keepdims=True)).mean() > 15


def test_content_stays_where_it_is(stylizer: Stylizer, coffee: Image.Image) -> None:
    """Edges of the photo are edges of every style: correlation of gradients."""

    def edges(picture: Image.Image) -> np.ndarray:
        light = np.asarray(picture.convert("L").resize((75, 50), Image.Resampling.BOX), np.float32)
        return np.hypot(*np.gradient(light)).ravel()

    for style in STYLES:
        result = stylizer.stylize(coffee, recipe(style)).image
        assert np.corrcoef(edges(coffee), edges(result))[0, 1] > 0.5


def test_same_seed_same_pixels_other_seed_other_pixels(stylizer: Stylizer, photo: Image.Image) -> None:
    first = stylizer.stylize(photo, recipe(seed=3)).image
    assert stylizer.stylize(photo, recipe(seed=3)).image.tobytes() == first.tobytes()
    assert stylizer.stylize(photo, recipe(seed=4)).image.tobytes() != first.tobytes()


def test_a_fresh_stylizer_gives_the_same_pixels(stylizer: Stylizer, photo: Image.Image) -> None:
    assert Stylizer.open().stylize(photo, recipe()).image.tobytes() == stylizer.stylize(photo, recipe()).image.tobytes()


@pytest.mark.parametrize("size", [(16, 16), (17, 33), (150, 101), (40, 500), (800, 90)])
def test_any_size_comes_back_as_it_was(stylizer: Stylizer, size: tuple[int, int]) -> None:
    photo = Image.fromarray(np.random.default_rng(0).integers(0, 255, (size[1], size[0], 3), dtype=np.uint8))
    assert stylizer.stylize(photo, recipe(size=256)).image.size == size


def test_a_large_photo_is_worked_small_and_returned_large(stylizer: Stylizer, photo: Image.Image) -> None:
    large = photo.resize((1500, 1000))
    events = list(stylizer.steps(large, recipe(size=128)))
    assert isinstance(events[1], StylizeStep)
    assert events[1].preview is not None
    assert events[1].preview.size == (128, 85)
    assert isinstance(events[-1], Stylized)
    assert events[-1].image.size == (1500, 1000)


def test_padding_does_not_bleed(stylizer: Stylizer, coffee: Image.Image) -> None:
    """A crop that is on the grid and the same crop that is not agree away from the padded border."""
    whole = stylizer.stylize(coffee.crop((0, 0, 256, 192)), recipe()).image
    less = stylizer.stylize(coffee.crop((0, 0, 250, 187)), recipe()).image
    assert distance(whole.crop((0, 0, 120, 90)), less.crop((0, 0, 120, 90))) < 12


def test_steps_are_counted(stylizer: Stylizer, photo: Image.Image) -> None:
    events = list(stylizer.steps(photo, recipe(num_inference_steps=3)))
    assert [(e.step, e.total) for e in events if isinstance(e, StylizeStep)] == [(0, 3), (1, 3), (2, 3), (3, 3)]
    assert isinstance(events[-1], Stylized)
    assert events[-1].recipe == recipe(num_inference_steps=3)


def test_the_empty_mix_is_the_base_and_no_weight_at_all_is_the_photo(stylizer: Stylizer, photo: Image.Image) -> None:
    assert stylizer.stylize(photo, Recipe()).image.tobytes() != photo.tobytes()
    nothing = WeightMap.of(np.zeros((10, 15), np.float32))
    left, right = half(photo.size), half(photo.size, right=True)
    for silent in (
        recipe("sketch:0"),
        recipe("sketch:0,ukiyoe:0"),
        recipe(mix={"sketch": nothing, "ukiyoe": 0.0}),
        recipe(strength=nothing),
        recipe(mix={"sketch": left}, strength=right),  # nowhere both
    ):
        assert stylizer.stylize(photo, silent).image.tobytes() == photo.tobytes()


def test_a_blend_lies_between_its_styles(stylizer: Stylizer, coffee: Image.Image) -> None:
    a, b, both = (stylizer.stylize(coffee, recipe(mix)).image for mix in ("sketch", "ukiyoe", "sketch:0.5,ukiyoe:0.5"))
    apart = distance(a, b)
    assert distance(both, a) < apart
    assert distance(both, b) < apart


def test_the_order_of_a_blend_does_not_matter(stylizer: Stylizer, photo: Image.Image) -> None:
    one = stylizer.stylize(photo, recipe("sketch:0.3,ukiyoe:0.7")).image
    other = stylizer.stylize(photo, recipe("ukiyoe:0.7,sketch:0.3")).image
    assert one.tobytes() == other.tobytes()


def test_closing_the_generator_frees_the_lock_and_restores_the_model(stylizer: Stylizer, photo: Image.Image) -> None:
    before = stylizer.stylize(photo, Recipe()).image
    steps = stylizer.steps(photo, recipe(num_inference_steps=5))
    next(steps)
    steps.close()
    assert stylizer.stylize(photo, Recipe()).image.tobytes() == before.tobytes()


def test_an_exception_mid_way_restores_the_model(stylizer: Stylizer, photo: Image.Image, monkeypatch: pytest.MonkeyPatch) -> None:
    before = stylizer.stylize(photo, Recipe()).image
    monkeypatch.setattr(type(stylizer.base), "decode", lambda *_, **__: (_ for _ in ()).throw(ValueError("no room")))
    with pytest.raises(ValueError, match="no room"):
        stylizer.stylize(photo, recipe())
    monkeypatch.undo()
    assert stylizer.stylize(photo, Recipe()).image.tobytes() == before.tobytes()


def test_threads_with_different_styles_equal_their_serial_outputs(stylizer: Stylizer, photo: Image.Image) -> None:
    recipes = [recipe("sketch"), recipe("ukiyoe"), Recipe(), recipe("sketch:0.5,ukiyoe:0.5")]
    serial = [stylizer.stylize(photo, r).image.tobytes() for r in recipes]
    results: dict[int, bytes] = {}

    def work(i: int) -> None:
        results[i] = stylizer.stylize(photo, recipes[i]).image.tobytes()

    threads = [threading.Thread(target=work, args=(i,)) for i in range(len(recipes))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert [results[i] for i in range(len(recipes))] == serial


def test_unknown_style_and_other_base(stylizer: Stylizer, photo: Image.Image) -> None:
    with pytest.raises(UnknownStyleError) as error:
        stylizer.stylize(photo, recipe("rembrandt"))
    assert "sketch" in str(error.value)
    with pytest.raises(StyleError, match="pocket is loaded"):
        stylizer.stylize(photo, recipe(base="stable-diffusion-v1-5/stable-diffusion-v1-5"))
    assert "rembrandt" not in apply.resident(stylizer.base.unet)


def with_card(stylizer: Stylizer, name: str, **changes: object) -> Stylizer:
    """The same engine, with another card for the adapter of style `name`."""
    style = stylizer.library[name]
    card = dataclasses.replace(style.adapter("pocket"), **changes)  # type: ignore[arg-type]
    others = tuple(other for other in stylizer.library if other.name != name)
    return Stylizer(stylizer.base, StyleLibrary(styles=(*others, dataclasses.replace(style, adapters=(card,)))))


def test_an_adapter_may_ask_for_its_own_noise_level(stylizer: Stylizer, photo: Image.Image) -> None:
    own = with_card(stylizer, "sketch", timestep=40)
    plain = stylizer.base.card
    assert own.plan(recipe(strength=1), SIZE).timesteps[0] == 40
    assert own.plan(recipe(strength=0.5), SIZE).timesteps[0] == round(plain.timestep(0.5) * 40 / plain.timestep(1))
    assert own.plan(recipe("sketch:0.5,ukiyoe:0.5"), SIZE).timesteps[0] == round((40 + plain.timestep(1)) / 2)
    assert own.plan(recipe("sketch:0"), SIZE).timesteps[0] == plain.timestep(1)  # a silent style has no say
    assert distance(own.stylize(photo, recipe()).image, stylizer.stylize(photo, recipe()).image) > 0.5


def test_an_adapter_may_ask_for_its_own_phases(stylizer: Stylizer, photo: Image.Image) -> None:
    own = with_card(stylizer, "sketch", phases=1)
    assert (own.plan(recipe(), SIZE).phases, stylizer.plan(recipe(), SIZE).phases) == (1, stylizer.base.card.phases)
    assert own.plan(recipe("sketch:0,ukiyoe:1"), SIZE).phases == stylizer.base.card.phases
    assert distance(own.stylize(photo, recipe()).image, stylizer.stylize(photo, recipe()).image) > 0.5


@pytest.mark.parametrize("wrong", [{"timestep": 0}, {"timestep": 1000}, {"phases": 3}, {"num_inference_steps": 0}])
def test_a_card_that_asks_for_the_impossible_is_refused(stylizer: Stylizer, wrong: dict[str, int]) -> None:
    with pytest.raises(StyleError, match="asks for"):
        with_card(stylizer, "sketch", **wrong)


def test_two_styles_in_one_pass(stylizer: Stylizer, coffee: Image.Image, monkeypatch: pytest.MonkeyPatch) -> None:
    """Left is the one style and right the other, as if each had the picture to itself, for one call of the UNet."""
    a, b = (pixels(stylizer.stylize(coffee, recipe(style, num_inference_steps=1)).image) for style in STYLES)
    passes: list[int] = []
    denoise = Base.denoise

    def counted(self: Base, *args: object) -> torch.Tensor:
        passes.append(1)
        return denoise(self, *args)  # type: ignore[arg-type]

    monkeypatch.setattr(Base, "denoise", counted)
    maps = {STYLES[0]: half(coffee.size), STYLES[1]: half(coffee.size, right=True)}
    both = pixels(stylizer.stylize(coffee, recipe(mix=maps, num_inference_steps=1)).image)
    assert len(passes) == 1
    for side, own, other in ((slice(0, 110), a, b), (slice(190, 300), b, a)):
        near, far = (float(np.abs((both - style)[:, side]).mean()) for style in (own, other))
        assert near < 8
        assert far > 4 * near


def test_what_is_not_painted_is_the_photo_bit_for_bit_at_its_own_size(stylizer: Stylizer, coffee: Image.Image) -> None:
    large = coffee.resize((1200, 800), Image.Resampling.LANCZOS)
    mask = disc(large.size)
    outside = np.asarray(mask) == 0
    for painted in (recipe(mix={"sketch": WeightMap.of(mask)}), recipe(strength=WeightMap.of(mask), structure=0.5, keep_colours=0.5)):
        *_, result = stylizer.steps(large, painted.with_(size=128, match_border=True))
        assert isinstance(result, Stylized)
        assert np.array_equal(np.asarray(result.image)[outside], np.asarray(large)[outside])
        inside = np.abs(pixels(result.image) - pixels(large)).mean(-1)[~outside]
        assert (inside > 0).mean() > 0.9


def test_a_mask_of_another_size_touches_nothing_outside(stylizer: Stylizer, photo: Image.Image) -> None:
    for size in ((30, 20), (450, 300)):
        mask = disc(size)
        result = stylizer.stylize(photo, recipe(mix={"sketch": WeightMap.of(mask)})).image
        untouched = np.asarray(mask.resize(photo.size, Image.Resampling.BOX)) == 0
        assert np.array_equal(np.asarray(result)[untouched], np.asarray(photo)[untouched])
        assert distance(result, photo) > 5


def test_one_pixel_of_paint(stylizer: Stylizer, photo: Image.Image) -> None:
    mask = Image.new("L", photo.size)
    mask.putpixel((40, 50), 255)
    result = np.asarray(stylizer.stylize(photo, recipe(mix={"sketch": WeightMap.of(mask)})).image)
    changed = np.argwhere((result != np.asarray(photo)).any(-1))
    assert changed.tolist() in ([], [[50, 40]])


def test_a_soft_brush_is_a_soft_style(stylizer: Stylizer, photo: Image.Image) -> None:
    full = stylizer.stylize(photo, recipe()).image
    by_mix, by_dial = [], []
    for level in (64, 128, 192):
        weights = WeightMap.of(disc(photo.size, level))
        by_mix.append(distance(stylizer.stylize(photo, recipe(mix={"sketch": weights})).image, photo))
        by_dial.append(distance(stylizer.stylize(photo, recipe(strength=weights)).image, photo))
    assert by_mix == sorted(by_mix)
    assert by_mix[0] < 0.6 * by_mix[-1]
    assert by_dial == pytest.approx(by_mix, rel=0.2)  # on this base the dial is the adapters' scale
    assert by_mix[-1] < distance(full, photo)


def test_a_map_of_one_value_is_the_number(stylizer: Stylizer, photo: Image.Image) -> None:
    third = WeightMap.of(np.full((7, 9), 0.6, np.float32))
    number = stylizer.stylize(photo, recipe("sketch:0.6")).image
    assert stylizer.stylize(photo, recipe(mix={"sketch": third})).image.tobytes() == number.tobytes()
    turned_down = stylizer.stylize(photo, recipe(strength=0.6)).image
    assert distance(stylizer.stylize(photo, recipe(strength=third)).image, turned_down) < 0.5


def test_there_is_no_seam(stylizer: Stylizer) -> None:
    """On a flat photo, whose tone the style changes a lot, no two neighbours differ by more than the feather allows."""
    flat = Image.new("RGB", (192, 128), (90, 120, 140))
    painted = recipe(mix={"sketch": half(flat.size)}, feather=0.05)
    row = pixels(stylizer.stylize(flat, painted).image)[64].mean(-1)
    change = abs(row[48] - row[-1])
    assert change > 30
    assert np.abs(np.diff(row))[60:].max() < 0.25 * change
    hard = pixels(stylizer.stylize(flat, painted.with_(feather=0.0)).image)[64].mean(-1)
    assert np.abs(np.diff(hard))[60:].max() > np.abs(np.diff(row))[60:].max()
    met = pixels(stylizer.stylize(flat, painted.with_(match_border=True)).image)[64].mean(-1)
    assert abs(met[90] - met[-1]) < 0.5 * abs(row[90] - row[-1])


def test_kept_colours_are_the_photos_and_the_lightness_is_the_styles(stylizer: Stylizer, coffee: Image.Image) -> None:
    plain, kept = (stylizer.stylize(coffee, recipe("ukiyoe", keep_colours=k)).image for k in (0, 1))
    photo_lab, plain_lab, kept_lab = (to_oklab(images.to_tensor(p)) for p in (coffee, plain, kept))
    assert float((kept_lab - plain_lab)[:, :1].abs().mean()) < 0.01
    off, before = (float((lab - photo_lab)[:, 1:].abs().mean()) for lab in (kept_lab, plain_lab))
    assert off < 0.2 * before


def test_colours_do_not_drift_however_often(stylizer: Stylizer, photo: Image.Image) -> None:
    mask = disc(photo.size)
    outside = np.asarray(mask) == 0
    again = recipe("ukiyoe", strength=WeightMap.of(mask), keep_colours=1.0)
    picture, seen = photo, []
    for _ in range(4):
        picture = stylizer.stylize(picture, again).image
        assert np.array_equal(np.asarray(picture)[outside], np.asarray(photo)[outside])
        seen.append((to_oklab(images.to_tensor(picture)) - to_oklab(images.to_tensor(photo)))[0, 1:].mean((1, 2)))
    assert max(float(shift.abs().max()) for shift in seen) < 0.01  # about one just noticeable step


def test_structure_returns_along_the_dial(stylizer: Stylizer, coffee: Image.Image) -> None:
    def detail(picture: Image.Image) -> np.ndarray:
        light = pixels(picture.convert("L"))
        return light - pixels(picture.convert("L").resize((38, 25), Image.Resampling.BOX).resize(picture.size, Image.Resampling.BICUBIC))

    pictures = [stylizer.stylize(coffee, recipe("ukiyoe", structure=s, hand=True)).image for s in (0, 0.3, 0.6, 1)]
    alike = [np.corrcoef(detail(coffee).ravel(), detail(p).ravel())[0, 1] for p in pictures]
    assert alike == sorted(alike)
    assert alike[-1] > alike[0] + 0.1
    assert pictures[0].tobytes() == stylizer.stylize(coffee, recipe("ukiyoe", hand=True)).image.tobytes()


def test_painting_cancelled_or_failed_leaves_no_trace(stylizer: Stylizer, photo: Image.Image, monkeypatch: pytest.MonkeyPatch) -> None:
    before = stylizer.stylize(photo, Recipe()).image.tobytes()
    painted = recipe(mix={"sketch": half(photo.size), "ukiyoe": half(photo.size, right=True)}, num_inference_steps=3)
    first = stylizer.stylize(photo, painted).image.tobytes()
    steps = stylizer.steps(photo, painted)
    assert [next(steps).step for _ in range(2)] == [0, 1]  # type: ignore[union-attr]
    steps.close()
    with monkeypatch.context() as patch:
        patch.setattr(type(stylizer.base), "decode", lambda *_, **__: (_ for _ in ()).throw(ValueError("no room")))
        with pytest.raises(ValueError, match="no room"):
            stylizer.stylize(photo, painted)
    assert not any(module._forward_hooks for module in stylizer.base.unet.modules())
    assert stylizer.stylize(photo, Recipe()).image.tobytes() == before
    assert stylizer.stylize(photo, painted).image.tobytes() == first


def test_styles_that_take_fewer_steps_join_for_the_last(stylizer: Stylizer, photo: Image.Image) -> None:
    """Beside a style of three steps, one of one step looks as it does alone."""
    three = with_card(with_card(stylizer, "ukiyoe", num_inference_steps=3), "sketch", num_inference_steps=1)
    alone = pixels(three.stylize(photo, recipe("sketch")).image)
    maps = {"sketch": half(photo.size), "ukiyoe": half(photo.size, right=True)}
    beside = pixels(three.stylize(photo, recipe(mix=maps)).image)
    forced = pixels(three.stylize(photo, recipe(mix=maps, num_inference_steps=3)).image)
    assert np.abs(beside - alone)[:, :55].mean() < 5
    assert np.abs(beside - alone)[:, :55].mean() < np.abs(forced - alone)[:, :55].mean()


def test_a_style_that_is_nowhere_has_no_say(stylizer: Stylizer, photo: Image.Image) -> None:
    nothing = WeightMap.of(np.zeros((4, 4), np.float32))
    alone = recipe(mix={"sketch": half(photo.size)})
    assert len(stylizer.plan(recipe(mix={"sketch": half(photo.size), "ukiyoe": nothing}), SIZE).timesteps) == len(
        stylizer.plan(alone, SIZE).timesteps
    )
    own = with_card(stylizer, "sketch", timestep=40)
    quarter = recipe(mix={"sketch": WeightMap.of(np.eye(2, dtype=np.float32)), "ukiyoe": 0.5})
    assert own.plan(quarter, SIZE).timesteps[0] == round((40 + stylizer.base.card.timestep(1)) / 2)  # each by its mean weight


@pytest.fixture(scope="module")
def noise_dial() -> Stylizer:
    """A small random base of Stable Diffusion's classes, whose dial is the noise, without styles."""
    torch.manual_seed(0)
    unet = UNet2DConditionModel(
        sample_size=8,
        block_out_channels=(32, 64),
        layers_per_block=1,
        cross_attention_dim=32,
        attention_head_dim=2,
        norm_num_groups=16,
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
    )
    vae = AutoencoderKL(
        block_out_channels=(16, 16, 16, 16),
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        latent_channels=4,
        norm_num_groups=8,
    )
    base = Base(
        name="small",
        source="small",
        card=SD_CARD,
        unet=unet.eval().requires_grad_(False),
        vae=vae.eval().requires_grad_(False),
        scheduler=DDIMScheduler(beta_schedule="scaled_linear", clip_sample=False),
        device=torch.device("cpu"),
        dtype=torch.float32,
    )
    stylizer = Stylizer(base, StyleLibrary(styles=()))
    stylizer._prompts[None] = torch.zeros(1, 4, 32)
    return stylizer


def test_where_the_dial_is_noise_each_pixel_starts_at_its_own_step(noise_dial: Stylizer) -> None:
    photo = Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 96, 3), dtype=np.uint8))
    ramp = WeightMap.of(np.tile(np.linspace(0, 0.8, 96, dtype=np.float32), (64, 1)))
    painted = Recipe(base="small", strength=ramp, num_inference_steps=4)
    plan = noise_dial.plan(painted, photo.size)
    starts = plan.starts
    assert plan.timesteps == (600, 450, 300, 150)
    assert starts is not None
    assert starts.shape == (64, 96)
    assert starts[0].tolist() == sorted(starts[0].tolist())
    assert round(float(starts.max())) == 600
    seen: list[torch.Tensor] = []
    denoise = Base.denoise

    def watched(self: Base, noisy: torch.Tensor, *args: object) -> torch.Tensor:
        seen.append(noisy)
        return denoise(self, noisy, *args)  # type: ignore[arg-type]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Base, "denoise", watched)
        result = noise_dial.stylize(photo, painted).image
    assert len(seen) == 4  # one pass a step, whatever the map
    assert np.array_equal(np.asarray(result)[:, 0], np.asarray(photo)[:, 0])  # no strength, no change
    level = Recipe(base="small", strength=0.8, num_inference_steps=4)
    flat = level.with_(strength=WeightMap.of(np.full((4, 4), 0.8, np.float32)))
    assert noise_dial.stylize(photo, flat).image.tobytes() == noise_dial.stylize(photo, level).image.tobytes()


def test_no_gradients_are_kept(stylizer: Stylizer, photo: Image.Image) -> None:
    stylizer.stylize(photo, recipe())
    assert not any(p.requires_grad for p in stylizer.base.unet.parameters())
    assert torch.is_grad_enabled()


def test_every_style_has_a_card_with_pictures(stylizer: Stylizer) -> None:
    assert {style.name for style in stylizer.library} >= set(STYLES)
    for style in stylizer.library:
        assert style.preview is not None
        assert style.before is not None
        assert style.preview.is_file()
        assert style.before.is_file()
        assert style.adapters or style.drawn
        assert all(adapter.made and adapter.data for adapter in style.adapters)
        assert style.drawn or style.hand is None
