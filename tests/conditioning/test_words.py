"""Styles in words on a base in Stable Diffusion 1.5's layout: a random model of exactly its classes, against diffusers' own pipeline."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler, StableDiffusionImg2ImgPipeline
from PIL import Image
from transformers import CLIPTextModel

from stylekit import images
from stylekit.base import Base
from stylekit.conditioning.guided import Speech, Spoken
from stylekit.conditioning.words import Words
from stylekit.errors import BaseError, StyleError
from stylekit.maps import WeightMap
from stylekit.mix import StyleMix
from stylekit.plan import entry_timestep
from stylekit.recipe import Recipe
from stylekit.styles import PROMPT, TOLD, Adapter, Style, StyleLibrary, card_text, read_style
from stylekit.stylizer import Stylizer

MONET = Words(positive="an oil painting of dabs", negative="a photograph", guidance=7.5)
PRINT = Words(positive="a woodblock print", negative="blurry", guidance=5.0)
SIZE = (128, 64)


def style(name: str, words: Words, **more: object) -> Style:
    adapter = Adapter(base="a/b", kind=PROMPT, path=Path("style.toml"), made="m", data="d", license="MIT", words=words, **more)  # type: ignore[arg-type]
    return Style(name=name, title=name, blurb="", period="", license="MIT", adapters=(adapter,))


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("STYLEKIT_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture(scope="module")
def base(twin: Path) -> Base:
    return Base.open(str(twin), device="cpu", dtype=torch.float32)


@pytest.fixture
def painter(base: Base) -> Stylizer:
    return Stylizer(base, StyleLibrary(styles=(style("monet", MONET, timestep=500), style("print", PRINT, timestep=500))))


@pytest.fixture
def small(photo: Image.Image) -> Image.Image:
    return photo.resize(SIZE)


def recipe(base: Base, mix: object, **settings: object) -> Recipe:
    return Recipe(mix=StyleMix.of(mix), base=base.name, num_inference_steps=2, **settings)  # type: ignore[arg-type]


def pixels(stylizer: Stylizer, photo: Image.Image, of: Recipe) -> np.ndarray:
    return np.asarray(stylizer.stylize(photo, of).image, np.float32)


@pytest.mark.parametrize("guidance", [None, 3.0, 1.0])
def test_words_are_what_diffusers_makes_of_them(painter: Stylizer, twin: Path, small: Image.Image, guidance: float | None) -> None:
    """The same words, negative words, guidance, noise and DDIM steps: not one pixel is off by more than a rounding."""
    ours = painter.stylize(small, recipe(painter.base, "monet", guidance_scale=guidance).with_(num_inference_steps=10)).image
    pipe = StableDiffusionImg2ImgPipeline.from_pretrained(twin, use_safetensors=True)
    pipe.set_progress_bar_config(disable=True)
    pipe.scheduler = DDIMScheduler.from_config(pipe.scheduler.config, steps_offset=50, clip_sample=False)
    pipe.scheduler.alphas_cumprod[0] = 1  # the last step ends in the clean latents, as ours does
    theirs = pipe(
        MONET.positive,
        image=painter.base.encode(images.to_tensor(small)),
        strength=0.5,
        num_inference_steps=20,
        guidance_scale=guidance or MONET.guidance,
        negative_prompt=MONET.negative,
        generator=torch.Generator().manual_seed(0),
    ).images[0]
    assert pipe.scheduler.timesteps.tolist()[10:] == list(
        painter.plan(recipe(painter.base, "monet").with_(num_inference_steps=10), SIZE).timesteps
    )
    difference = np.abs(np.asarray(ours, np.int16) - np.asarray(theirs, np.int16))
    assert difference.max() <= 1
    assert difference.mean() < 0.02


def test_words_change_the_picture_and_nothing_stays_behind(painter: Stylizer, small: Image.Image) -> None:
    base = painter.base
    plain = pixels(painter, small, recipe(base, {}).with_(num_inference_steps=2, strength=0.5))
    monet, other = (pixels(painter, small, recipe(base, name)) for name in ("monet", "print"))
    assert np.abs(monet - other).mean() > 0.1
    assert np.array_equal(pixels(painter, small, recipe(base, {}).with_(strength=0.5)), plain)
    assert not any(module._forward_hooks for module in base.unet.modules())


def test_the_text_encoder_is_loaded_once_for_all_styles_and_never_again(
    painter: Stylizer, small: Image.Image, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded = []
    load = CLIPTextModel.from_pretrained
    monkeypatch.setattr(CLIPTextModel, "from_pretrained", lambda *args, **more: loaded.append(args) or load(*args, **more))
    first = pixels(painter, small, recipe(painter.base, "monet"))
    assert len(loaded) == 1
    pixels(painter, small, recipe(painter.base, "print"))
    again = Stylizer(painter.base, painter.library)
    assert np.array_equal(pixels(again, small, recipe(painter.base, "monet")), first)
    assert len(loaded) == 1


def test_a_style_on_a_part_of_the_picture(painter: Stylizer, small: Image.Image) -> None:
    """The photo's own pixels where there is no style; and a map that is whole is the number 1."""
    base, half = painter.base, np.zeros((64, 128), np.float32)
    half[:, :64] = 1
    masked = pixels(painter, small, recipe(base, {"monet": WeightMap.of(half)}, feather=0.0))
    assert np.array_equal(masked[:, 66:], np.asarray(small, np.float32)[:, 66:])
    assert np.abs(masked[:, :60] - np.asarray(small, np.float32)[:, :60]).mean() > 1
    whole = pixels(painter, small, recipe(base, {"monet": WeightMap.of(np.ones((64, 128), np.float32))}))
    assert np.array_equal(whole, pixels(painter, small, recipe(base, "monet")))


def test_two_styles_in_two_places_each_say_their_own(base: Base) -> None:
    """In every layer that hears words, the answer at a place is that of the style which is there, and guidance is its own too."""
    generator = torch.Generator().manual_seed(1)
    embeds = [torch.randn(1, 77, base.unet.config.cross_attention_dim, generator=generator) for _ in range(3)]
    neutral, words, others = embeds
    left = torch.zeros(1, 1, 64, 128)
    left[..., :64] = 1
    noisy = torch.randn(1, 4, 8, 16, generator=generator)
    heard: dict[str, torch.Tensor] = {}
    layer = base.unet.get_submodule("down_blocks.0.attentions.0.transformer_blocks.0.attn2")

    def predict(*said: Spoken) -> torch.Tensor:
        speech = Speech(base)
        speech.say(said)
        heard.clear()
        pass_ = speech.base.denoise

        def denoise(*asked: object) -> torch.Tensor:  # within it, so that it is heard after the words
            handle = layer.register_forward_hook(lambda *args: heard.update(now=args[-1]))
            try:
                return pass_(*asked)  # type: ignore[arg-type]
            finally:
                handle.remove()

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(base, "denoise", denoise)
            return speech.predict(speech.denoise, noisy, 400, neutral)

    with torch.inference_mode():
        both = predict(*(Spoken(asked=a, avoided=a, guidance=1.0, weight=w) for a, w in ((words, left), (others, 1 - left))))
        mixed = heard["now"].unflatten(1, (8, 16))
        for asked, side in ((words, slice(0, 8)), (others, slice(8, 16))):
            predict(Spoken(asked=asked, avoided=asked, guidance=1.0, weight=1.0))
            assert torch.allclose(mixed[:, :, side], heard["now"].unflatten(1, (8, 16))[:, :, side], atol=1e-5)
        # guidance: 1 on the left, 4 on the right
        free, led = (predict(*(Spoken(asked=x, avoided=x, guidance=1.0, weight=w) for w in (left, 1 - left))) for x in (others, words))
        guided = predict(*(Spoken(asked=words, avoided=others, guidance=g, weight=w) for g, w in ((1.0, left), (4.0, 1 - left))))
    scale = torch.ones(1, 1, 8, 16)
    scale[..., 8:] = 4
    assert torch.allclose(guided, free + scale * (led - free), atol=1e-4)
    assert not torch.allclose(both, guided, atol=1e-2)


def test_a_weight_goes_from_the_base_alone_to_the_words(painter: Stylizer, small: Image.Image) -> None:
    base = painter.base
    plain, whole = (pixels(painter, small, recipe(base, {"monet": weight})) for weight in (1e-6, 1.0))
    halves = [np.abs(pixels(painter, small, recipe(base, {"monet": w})) - plain).mean() for w in (0.25, 0.5)]
    assert 0 < halves[0] < halves[1] < np.abs(whole - plain).mean()


def test_the_users_own_words_stand_for_the_styles(painter: Stylizer, small: Image.Image) -> None:
    base = painter.base
    own = pixels(painter, small, recipe(base, "monet", prompt=PRINT.positive))
    said = Stylizer(base, StyleLibrary(styles=(style("monet", replace(MONET, positive=PRINT.positive), timestep=500),)))
    assert np.array_equal(own, pixels(said, small, recipe(base, "monet")))


def test_a_triggers_words_are_said_and_a_base_of_few_steps_has_guidance_in_it(painter: Stylizer, small: Image.Image) -> None:
    lora = Adapter(base="a/b", kind="lora", path=Path("x"), made="m", data="d", license="MIT", trigger="a print")
    assert lora.words == Words(positive="a print")
    quick = replace(painter.base, card=replace(painter.base.card, few_steps=True))
    of = recipe(painter.base, "monet")
    once = pixels(Stylizer(quick, painter.library), small, of)
    assert np.array_equal(once, pixels(painter, small, of.with_(guidance_scale=1.0)))


def test_a_text_encoder_in_half_the_size_alone_is_read(twin: Path, tmp_path: Path) -> None:
    copy = tmp_path / "half"
    shutil.copytree(twin, copy)
    CLIPTextModel.from_pretrained(copy / "text_encoder").half().save_pretrained(copy / "text_encoder", variant="fp16")
    (copy / "text_encoder" / "model.safetensors").unlink()
    halved, whole = (Base.open(str(folder), device="cpu").embed(["a print"])[0] for folder in (copy, twin))
    assert torch.allclose(halved, whole, atol=0.05)


def test_cancel_leaves_no_trace(painter: Stylizer, small: Image.Image) -> None:
    steps = painter.steps(small, recipe(painter.base, {"monet": 0.5, "print": 0.5}), preview=True)
    next(steps)  # painting begins
    assert next(steps).preview is not None  # type: ignore[union-attr]
    steps.close()  # type: ignore[attr-defined]
    assert not any(module._forward_hooks for module in painter.base.unet.modules())


def test_the_dial_goes_through_the_range_of_noise_that_a_card_names(painter: Stylizer) -> None:
    adapter = replace(style("monet", MONET).adapters[0], strength=(0.3, 0.6))
    of = recipe(painter.base, "monet")
    entries = [entry_timestep(of.with_(strength=s), painter.base.card, {"monet": adapter}) for s in (0.0, 0.1, 0.2, 0.6, 1.0)]
    assert entries == [1, 150, 300, 450, 600]


def test_a_base_without_a_text_encoder_leaves_words_aside(stylizer: Stylizer, photo: Image.Image) -> None:
    """The pocket base reads none: its styles come out as they did, whatever their cards say for other bases."""
    assert not stylizer.base.reads_words
    with pytest.raises(BaseError, match="leave the prompt out"):
        stylizer.stylize(photo, Recipe(mix=StyleMix.of("sketch"), prompt="a cat", hand=False))
    with pytest.raises(StyleError, match="no adapter for the base pocket"):
        Stylizer(stylizer.base, StyleLibrary(styles=(style("monet", MONET),))).stylize(photo, Recipe(mix=StyleMix.of("monet")))


CARD = 'title = "T"\nblurb = "b"\nlicense = "MIT"\n[[adapters]]\nbase = "a/b"\nkind = "prompt"\nmade = "m"\ndata = "d"\n'


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ("", "no words: write them"),
        ('words = "w"\nfile = "x.safetensors"\n', "words and pictures need none"),
        ('words = "w"\nguidance = 99\n', "from 1 to 30"),
        ('words = "w"\nstrength = [0.8, 0.2]\n', "two numbers that rise"),
        ('words = "w"\nstrength = 0.8\n', r"\[from, to\]"),
        ('negative = "w"\n', "no words"),
        (f'words = "{"w" * 2000}"\n', "2000 letters"),
    ],
)
def test_cards_with_bad_words_are_refused(tmp_path: Path, more: str, said: str) -> None:
    folder = tmp_path / "fog"
    folder.mkdir()
    (folder / "style.toml").write_text(CARD + more)
    with pytest.raises(StyleError, match=said):
        read_style(folder / "style.toml")


def test_a_card_with_words_is_written_as_it_was_read(tmp_path: Path) -> None:
    folder = tmp_path / "fog"
    folder.mkdir()
    path = folder / "style.toml"
    path.write_text(CARD + 'words = "fog"\nnegative = "sun"\nguidance = 6.5\nstrength = [0.25, 0.5]\nnum_inference_steps = 12\n')
    read = read_style(path)
    path.write_text(card_text(read, {}))
    assert read_style(path) == read
    assert read.adapters[0].words == Words(positive="fog", negative="sun", guidance=6.5)


def test_every_style_of_the_gallery_has_words(root: Path) -> None:
    """But for the DreamBooth twins, which are there to show another way on the pocket base. CLIP reads 77 tokens, about 5 letters each."""
    for found in StyleLibrary.open(root / "styles"):
        if found.name.endswith("-dreambooth"):
            continue
        adapter = found.adapter("someone/a-base")
        assert adapter.kind in TOLD
        assert adapter.words is not None
        assert max(len(adapter.words.positive), len(adapter.words.negative)) < 300
        assert found.painted_on("someone/a-base")
        assert found.drawn_by("someone/a-base") == found.hand
