"""A picture as the style: what is kept of it, its ground, the general adapter, and the pictures that come out, on the real pocket base."""

from __future__ import annotations

import dataclasses
import io
import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from stylekit.__main__ import main
from stylekit.adapters import apply, lora_weights
from stylekit.base import Base
from stylekit.errors import AdapterError, PictureError, SettingError
from stylekit.images import open_picture, save_png, to_tensor
from stylekit.maps import WeightMap
from stylekit.mix import StyleMix
from stylekit.pixels.colour import to_oklab
from stylekit.recipe import Recipe
from stylekit.storage.paths import POCKET_FOLDER, ROOT
from stylekit.style_picture.general import FILE, GeneralAdapter, PictureReader, load_general, save_general
from stylekit.style_picture.picture import KEPT_SIDE, LEAST_SIDE, MANNER_SIDE, StylePicture
from stylekit.styles import StyleLibrary, card_text, read_style
from stylekit.stylizer import Stylizer
from stylekit.underpainting.ground import ground_of, lay, recolour
from stylekit.underpainting.settings import Ground

PHOTOS = ROOT / "assets" / "photos"


def painting(seed: int = 0, size: tuple[int, int] = (300, 240), colour: tuple[int, int, int] = (30, 60, 150)) -> Image.Image:
    """Broad strokes in one palette, as a painting has."""
    noise = np.random.default_rng(seed).normal(size=(size[1] // 6, size[0] // 20, 1))
    strokes = Image.fromarray(np.clip(128 + 90 * noise[..., 0], 0, 255).astype(np.uint8)).resize(size, Image.Resampling.BICUBIC)
    light = np.asarray(strokes, np.float32)[..., None] / 255
    return Image.fromarray((np.array(colour) * (1 - light) + np.array((240, 220, 120)) * light).astype(np.uint8))


@pytest.fixture(scope="module")
def blue() -> StylePicture:
    return StylePicture.of(painting())


@pytest.fixture(scope="module")
def red() -> StylePicture:
    return StylePicture.of(painting(1, colour=(170, 30, 20)))


def of(*pictures: StylePicture, **changes: object) -> Recipe:
    weights = {picture.name: 1 / len(pictures) for picture in pictures}
    return Recipe(mix=StyleMix.of(weights), pictures=pictures).with_(**changes)


def pixels(picture: Image.Image) -> np.ndarray:
    return np.asarray(picture, np.float32)


# what is kept of a picture


def test_a_style_picture_is_small_and_named_by_its_content(tmp_path: Path, blue: StylePicture) -> None:
    large = painting(size=(3000, 1000))
    kept = StylePicture.of(large)
    assert (max(kept.whole.size), max(kept.picture.size)) == (KEPT_SIDE, MANNER_SIDE)
    assert kept.picture.mode == "RGB"
    large.save(tmp_path / "a.png")
    assert StylePicture.of(tmp_path / "a.png").name == kept.name != blue.name
    assert StylePicture.of(kept) is kept
    assert StylePicture.from_text(kept.text) == kept


@pytest.mark.parametrize("mode", ["RGBA", "LA", "L", "P", "CMYK"])
def test_any_kind_of_picture_will_do(mode: str) -> None:
    assert StylePicture.of(painting().convert("RGB").convert(mode if mode != "LA" else "L").convert(mode)).picture.mode == "RGB"


def test_transparency_lies_on_white() -> None:
    clear = Image.new("RGBA", (100, 100), (255, 0, 0, 0))
    assert np.asarray(StylePicture.of(clear).picture).min() > 250


def test_what_is_no_picture_or_too_small_is_told(tmp_path: Path) -> None:
    (tmp_path / "notes.jpg").write_text("no picture")
    with pytest.raises(PictureError, match=r"notes\.jpg is not a picture"):
        StylePicture.of(tmp_path / "notes.jpg")
    Image.new("RGB", (LEAST_SIDE - 1, 200)).save(tmp_path / "small.png")
    with pytest.raises(PictureError, match=r"small.png is 63 x 200 pixels, too small to show a manner: .* at least 64"):
        StylePicture.of(tmp_path / "small.png")
    with pytest.raises(PictureError, match="does not exist"):
        StylePicture.of(tmp_path / "none.jpg")


def test_bytes_that_stylekit_did_not_write_are_refused() -> None:
    file = io.BytesIO()
    Image.new("RGB", (KEPT_SIDE + 1, 50)).save(file, "JPEG")
    for wrong in (b"", b"no picture", file.getvalue()):
        with pytest.raises(SettingError, match="style picture"):
            StylePicture(jpeg=wrong)
    with pytest.raises(SettingError, match="damaged"):
        StylePicture.from_text("§")


# recipes


def test_recipes_carry_their_pictures(tmp_path: Path, blue: StylePicture, red: StylePicture) -> None:
    recipe = Recipe(mix=StyleMix.of({blue.name: 0.5, "monet": 0.5}), pictures=(red, blue))
    assert recipe.pictures == (blue,)  # what the mix does not name is left out
    assert recipe.picture(blue.name) == blue
    assert recipe.picture("monet") is None
    assert Recipe.from_json(recipe.to_json()) == recipe
    path = save_png(Image.new("RGB", (20, 20)), tmp_path / "a.png", of(blue, red))
    assert Recipe.from_png(path) == of(blue, red)


def test_a_mix_without_its_picture_is_told(blue: StylePicture) -> None:
    with pytest.raises(SettingError, match=f"names the style picture {blue.name}, which is not there"):
        Recipe(mix=StyleMix.of(blue.name))
    values = json.loads(of(blue).to_json())
    for broken in ({"pictures": {blue.name: "AAAA"}}, {"pictures": [3]}, {"pictures": {}}):
        with pytest.raises(SettingError):
            Recipe.from_json(json.dumps(values | broken))


def test_maps_and_pictures_of_noise_fit_the_metadata_together(tmp_path: Path, rng: np.random.Generator) -> None:
    pictures = tuple(StylePicture.of(Image.fromarray(rng.integers(0, 255, (400, 400, 3), np.uint8))) for _ in range(4))
    maps = [WeightMap.of(rng.random((700, 900), np.float32)) for _ in range(4)]
    recipe = Recipe(mix=StyleMix.of({p.name: m for p, m in zip(pictures, maps, strict=True)}), strength=maps[0], pictures=pictures)
    path = save_png(Image.new("RGB", (90, 60)), tmp_path / "a.png", recipe)
    assert Recipe.from_png(path) == recipe


# the ground


def test_the_ground_has_the_pictures_colours(blue: StylePicture) -> None:
    photo = to_tensor(open_picture(PHOTOS / "astronaut.jpg").resize((200, 200)))
    art = to_tensor(blue.picture)
    toned = recolour(photo, ground_of(art))
    ours, theirs = (to_oklab(p).flatten(2)[0] for p in (toned, art))
    assert torch.allclose(ours.mean(1), theirs.mean(1), atol=0.03)  # but for what the gamut clips
    assert torch.allclose(ours.std(1), theirs.std(1), atol=0.04)


def test_a_picture_on_its_own_ground_stays_as_it_is() -> None:
    art = to_tensor(painting())
    assert float((recolour(art, ground_of(art)) - art).abs().mean()) < 0.01


def test_brushwork_is_seen_and_flat_colour_is_not() -> None:
    flat = np.zeros((256, 256, 3), np.uint8)
    flat[:, 100:] = 200
    assert ground_of(to_tensor(Image.fromarray(flat))).strokes == 0
    fine = np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)
    assert ground_of(to_tensor(Image.fromarray(fine).resize((256, 256), Image.Resampling.BICUBIC))).strokes == 1


def test_another_seed_lays_other_strokes_and_the_same_the_same() -> None:
    photo, where = to_tensor(open_picture(PHOTOS / "coffee.jpg").resize((120, 80))), ground_of(to_tensor(painting()))
    where = dataclasses.replace(where, strokes=1.0)
    assert torch.equal(lay(photo, where, 3), lay(photo, where, 3))
    assert not torch.equal(lay(photo, where, 3), lay(photo, where, 4))
    still = dataclasses.replace(where, strokes=0.0)
    assert torch.equal(lay(photo, still, 3), lay(photo, still, 4))


@pytest.mark.parametrize(
    "wrong", [{"mean": (0.1, 0.2)}, {"covariance": (1.0,) * 5}, {"strokes": 1.5}, {"strokes": math.nan}, {"mean": ("a", 0, 0)}]
)
def test_a_damaged_ground_is_told(wrong: dict[str, object]) -> None:
    right: dict[str, object] = {"mean": (0.5, 0.0, 0.0), "covariance": (0.01, 0, 0, 0.01, 0, 0.01), "strokes": 0.5}
    with pytest.raises(SettingError, match="ground"):
        Ground(**(right | wrong))  # type: ignore[arg-type]


def test_a_style_card_may_have_a_ground(tmp_path: Path) -> None:
    style = StyleLibrary.open()["monet"]
    where = ground_of(to_tensor(painting()))
    style = dataclasses.replace(style, adapters=tuple(dataclasses.replace(a, underpainting=where) for a in style.adapters))
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "style.toml").write_text(card_text(style, {a.path: "weights.safetensors" for a in style.adapters}))
    assert read_style(tmp_path / "mine" / "style.toml").adapters[0].underpainting == where


# the general adapter


def test_the_general_adapter_is_small_and_fits_its_base(stylizer: Stylizer, blue: StylePicture) -> None:
    path = POCKET_FOLDER / FILE
    assert path.stat().st_size <= 6_000_000
    lora = load_general(path).lora(PictureReader().read(blue), "a")
    lora_weights.check_fits(lora, stylizer.base.unet)


def test_factors_are_those_of_the_network(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = GeneralAdapter({"a": ((4, 6), (5, 4)), "b": ((2, 3, 3, 3), (7, 2, 1, 1))}, dimensions=10, codes=3, hidden=8)
    for up in model.ups:
        torch.nn.init.normal_(up)
    model.axes.normal_()
    manner = dataclasses.replace(PictureReader().read(painting()), moments=torch.randn(10))
    lora = model.lora(manner, "mine")
    scales = model.scales(manner.moments[None])
    for i, module in enumerate(("a", "b")):
        down, up = lora.modules[module]
        assert torch.equal(down, model.downs[i])
        assert torch.allclose(up.flatten(1), (model.ups[i].flatten(1) * scales[i][0]).detach())
        assert lora.alphas[module] == len(down)
    save_general(model, tmp_path / "g.safetensors", {"note": "test"})
    again = load_general(tmp_path / "g.safetensors").lora(manner, "mine")
    for module, (down, up) in lora.modules.items():
        assert torch.allclose(again.modules[module][0], down, atol=2e-3)
        assert torch.allclose(again.modules[module][1], up, atol=1e-2)


def test_a_damaged_file_is_told(tmp_path: Path) -> None:
    (tmp_path / FILE).write_bytes((POCKET_FOLDER / FILE).read_bytes()[:1000])
    with pytest.raises(AdapterError, match="cannot be read"):
        load_general(tmp_path / FILE)


def test_a_picture_is_read_alike_at_any_size() -> None:
    reader, art = PictureReader(), painting(size=(384, 300))
    a, b = (reader.read(StylePicture.of(art.resize(size, Image.Resampling.LANCZOS))) for size in ((384, 300), (1536, 1200)))
    other = reader.read(open_picture(PHOTOS / "coins.jpg"))
    assert float((a.moments - b.moments).norm()) < 0.25 * float((a.moments - other.moments).norm())


# pictures that come out


def test_the_palette_goes_over_and_the_scene_stays(stylizer: Stylizer, blue: StylePicture, red: StylePicture) -> None:
    photo = open_picture(PHOTOS / "coffee.jpg").resize((192, 128))
    results = {p.name: to_oklab(to_tensor(stylizer.stylize(photo, of(p)).image)).mean((2, 3))[0] for p in (blue, red)}
    for picture, other in ((blue, red), (red, blue)):
        own, its = (to_oklab(to_tensor(p.picture)).mean((2, 3))[0] for p in (picture, other))
        assert (results[picture.name] - own).norm() < (results[picture.name] - its).norm()
    light = [np.asarray(p.convert("L").resize((24, 16)), np.float32).ravel() for p in (photo, stylizer.stylize(photo, of(blue)).image)]
    assert np.corrcoef(*light)[0, 1] > 0.6


def test_a_recipe_repeats_the_picture_and_nothing_is_left_behind(stylizer: Stylizer, photo: Image.Image, blue: StylePicture) -> None:
    before = stylizer.stylize(photo, Recipe(mix=StyleMix.of("sketch"))).image
    first = stylizer.stylize(photo, of(blue, seed=3))
    again = stylizer.stylize(photo, Recipe.from_json(first.recipe.to_json())).image
    assert again.tobytes() == first.image.tobytes()
    assert stylizer.stylize(photo, Recipe(mix=StyleMix.of("sketch"))).image.tobytes() == before.tobytes()


def test_weight_and_strength_zero_are_the_photo(stylizer: Stylizer, photo: Image.Image, blue: StylePicture) -> None:
    assert stylizer.stylize(photo, of(blue, strength=0)).image.tobytes() == photo.tobytes()
    nothing = Recipe(mix=StyleMix.of({blue.name: 0.0}), pictures=(blue,))
    assert stylizer.stylize(photo, nothing).image.tobytes() == photo.tobytes()


def test_outside_its_map_the_photo_stays_bit_for_bit(stylizer: Stylizer, photo: Image.Image, blue: StylePicture) -> None:
    left = np.zeros((photo.height, photo.width), np.float32)
    left[:, : photo.width // 2] = 1
    painted = Recipe(mix=StyleMix.of({blue.name: WeightMap.of(left)}), pictures=(blue,))
    result = pixels(stylizer.stylize(photo, painted).image)
    assert (result == pixels(photo))[:, photo.width // 2 :].all()
    assert np.abs(result - pixels(photo))[:, : photo.width // 2].mean() > 5


def test_it_mixes_with_styles_of_the_library(stylizer: Stylizer, photo: Image.Image, blue: StylePicture) -> None:
    alone = {name: pixels(stylizer.stylize(photo, r).image) for name, r in {"b": of(blue), "s": Recipe(mix=StyleMix.of("sketch"))}.items()}
    both = pixels(stylizer.stylize(photo, Recipe(mix=StyleMix.of({blue.name: 0.5, "sketch": 0.5}), pictures=(blue,))).image)
    apart = np.abs(alone["b"] - alone["s"]).mean()
    assert np.abs(both - alone["b"]).mean() < apart
    assert np.abs(both - alone["s"]).mean() < apart


@pytest.mark.parametrize("kind", ["photo", "flat", "noise", "grey"])
def test_odd_style_pictures_give_whole_pictures(stylizer: Stylizer, photo: Image.Image, rng: np.random.Generator, kind: str) -> None:
    odd = {
        "photo": open_picture(PHOTOS / "china.jpg"),
        "flat": Image.new("RGB", (100, 100), (90, 90, 90)),
        "noise": Image.fromarray(rng.integers(0, 255, (200, 200, 3), np.uint8)),
        "grey": painting().convert("L"),
    }[kind]
    result = stylizer.stylize(photo, of(StylePicture.of(odd))).image
    assert result.size == photo.size
    if kind == "grey":
        assert np.asarray(result.convert("HSV"))[..., 1].mean() < 60


def test_many_pictures_do_not_stay_in_the_model(photo: Image.Image) -> None:
    engine = Stylizer(Base.open(), StyleLibrary.open(), max_resident=2)
    for seed in range(4):
        engine.stylize(photo, of(StylePicture.of(painting(seed))))
    assert len(apply.resident(engine.base.unet)) <= 2


# Stable Diffusion: small random models of its classes


@pytest.fixture
def sd_like(sd_base: Base, monkeypatch: pytest.MonkeyPatch) -> Base:
    """`sd_base` with an embedding for the empty prompt, since it has no text encoder."""
    embeds = torch.randn(1, 77, sd_base.unet.config.cross_attention_dim, generator=torch.Generator().manual_seed(0))
    monkeypatch.setattr(sd_base, "prompt_embeds", lambda prompt=None: embeds)
    return sd_base


def test_a_base_without_a_general_adapter_looks_at_the_picture(
    sd_like: Base, photo: Image.Image, blue: StylePicture, red: StylePicture
) -> None:
    engine = Stylizer(sd_like, StyleLibrary(styles=()))
    settings: dict[str, object] = {"base": sd_like.name, "num_inference_steps": 2, "size": 64, "strength": 0.3}
    before = {name: value.clone() for name, value in sd_like.unet.state_dict().items()}
    plain = pixels(engine.stylize(photo, Recipe().with_(**settings)).image)
    results = [pixels(engine.stylize(photo, of(p, **settings)).image) for p in (blue, red)]
    assert (results[0] != plain).any()
    assert (results[0] != results[1]).any()
    assert all(torch.equal(value, before[name]) for name, value in sd_like.unet.state_dict().items())
    assert pixels(engine.stylize(photo, Recipe().with_(**settings)).image).tobytes() == plain.tobytes()


def test_its_map_holds_on_stable_diffusion_too(sd_like: Base, photo: Image.Image, blue: StylePicture) -> None:
    left = np.zeros((photo.height, photo.width), np.float32)
    left[:, : photo.width // 2] = 1
    recipe = Recipe(mix=StyleMix.of({blue.name: WeightMap.of(left)}), pictures=(blue,), base=sd_like.name, size=64, num_inference_steps=2)
    result = pixels(Stylizer(sd_like, StyleLibrary(styles=())).stylize(photo, recipe).image)
    assert (result == pixels(photo))[:, photo.width // 2 :].all()
    assert (result != pixels(photo)).any()


# the command line


def test_style_images_on_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    art, out = tmp_path / "art.png", tmp_path / "out.png"
    painting().save(art)
    photo = str(PHOTOS / "coffee.jpg")
    small = ["--size", "128", "--out", str(out), "--overwrite"]
    name = StylePicture.of(art).name
    assert main([photo, "--style-image", str(art), *small]) == 0
    assert str(Recipe.from_png(out).mix) == name
    assert main([photo, "--style", "sketch:0.5", "--style-image", f"{art}:0.4", *small]) == 0
    assert Recipe.from_png(out).mix.means == {"sketch": 0.5, name: 0.4}
    assert main([photo, "--recipe", str(out), "--out", str(tmp_path / "again.png")]) == 0
    assert Image.open(tmp_path / "again.png").tobytes() == Image.open(out).tobytes()
    mask = Image.new("L", Image.open(photo).size)
    mask.paste(255, (0, 0, mask.width // 2, mask.height))
    mask.save(tmp_path / "mask.png")
    assert main([photo, "--style", "sketch", "--region", f"{art}={tmp_path / 'mask.png'}", *small]) == 0
    assert Recipe.from_png(out).mix.names == (name, "sketch")
    for flags, said in (
        (["--style-image", str(art), "--style-image", f"{art}:0.3"], "the same picture as another"),
        (["--style-image", f"{art}:much"], "is not a number"),
        (["--style-image", str(tmp_path / "none.png")], "none.png does not exist"),
    ):
        assert main([photo, *flags, *small]) == 2
        assert said in capsys.readouterr().err
