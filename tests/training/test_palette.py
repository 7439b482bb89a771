"""Targets of colour: what a set of paintings does to photos, and pairs made with it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from stylekit.base import Base
from stylekit.errors import SettingError, StyleError, UnknownStyleError
from stylekit.images import open_picture
from stylekit.storage.paths import PHOTOS_FOLDER
from training.pictures import data
from training.style.lora_settings import LoraTraining
from training.targets import palette as palette_module
from training.targets.pairs import load_recoloured_pairs, recoloured_pair
from training.targets.palette import MANNERS, Manner, Palette, learn, opened, small_paintings, small_photos, stepped
from training.targets.places import places, skin
from training.targets.procedural import to_lab, to_rgb
from training.targets.table import colour_table, looked_up

PHOTOS = PHOTOS_FOLDER
SHADE, LIGHT = (6, -34), (4, 48)  # (a, b) of the paintings' shade and light


def painted(seed: int) -> np.ndarray:
    """A painting in patches: blue shade, yellow light, and a few reds and greens of middle tone."""
    rng = np.random.default_rng(seed)
    light = rng.uniform(8, 96, (12, 16))
    colour = np.where((light < 52)[..., None], SHADE, LIGHT) * rng.uniform(0.7, 1.3, (12, 16, 1))
    other = rng.random((12, 16)) < 0.3
    colour[other] = np.array([(46, 30), (-36, 30)])[rng.integers(0, 2, other.sum())]
    lab = np.dstack([light, colour + rng.normal(0, 3, colour.shape)]).astype(np.float32)
    return to_rgb(np.kron(lab, np.ones((8, 8, 1), np.float32))).round().astype(np.uint8)


@pytest.fixture(scope="module")
def palette() -> Palette:
    photos = small_photos(sorted(PHOTOS.glob("*.jpg")))
    return learn(photos, [painted(i) for i in range(8)], Manner(low=12, high=92, warm=0.8, turn=0.5))


def chroma(lab: np.ndarray) -> np.ndarray:
    return np.hypot(lab[..., 1], lab[..., 2])


def test_greys_get_the_paintings_shade_and_light(palette: Palette) -> None:
    ramp = np.zeros((140, 240, 3), np.uint8)
    ramp[20:] = np.linspace(0, 255, 240)[None, :, None]  # the black above keeps it from being a sky
    lab = to_lab(palette.recolour(ramp))[20:]
    dark, light = lab[:, 30:80].mean((0, 1)), lab[:, 190:230].mean((0, 1))
    assert dark[2] < -10
    assert light[2] > 15
    assert np.all(np.diff(lab[60, 10:230, 0]) > -0.6)  # tones keep their order


def test_neighbours_stay_neighbours(palette: Palette) -> None:
    fine = np.dstack([np.full((1, 400), 50), np.linspace(-30, 30, 400)[None], np.full((1, 400), 8)]).astype(np.float32)
    assert np.abs(np.diff(looked_up(palette.tables[2], fine), axis=1)).max() < 1


def test_the_result_is_as_colourful_as_the_paintings_and_no_mean_of_them(palette: Palette) -> None:
    photo = np.asarray(open_picture(PHOTOS / "china.jpg").resize((320, 213)))
    theirs = np.concatenate([chroma(to_lab(painted(i))).ravel() for i in range(8)])
    before, after = chroma(to_lab(photo)), chroma(to_lab(palette.recolour(photo)))
    assert after.mean() > 1.3 * before.mean()
    assert after.mean() > 0.6 * theirs.mean()
    assert np.percentile(after, 90) > 0.8 * np.percentile(theirs, 75)


def test_pale_paintings_make_pale_pictures() -> None:
    photos = small_photos(sorted(PHOTOS.glob("*.jpg")))
    grey = [to_rgb(to_lab(painted(i)) * (1, 0.15, 0.15)).round().astype(np.uint8) for i in range(8)]
    photo = np.asarray(open_picture(PHOTOS / "coffee.jpg").resize((300, 200)))
    result = to_lab(learn(photos, grey, Manner(skin=1)).recolour(photo))
    assert chroma(result).mean() < 0.5 * chroma(to_lab(photo)).mean()


def test_the_skies_of_few_photos_are_not_stretched_to_all_skies(monkeypatch: pytest.MonkeyPatch) -> None:
    photos, paintings = small_photos(data.shipped_photos()[0]), [painted(i) for i in range(8)]
    sky = small_photos([PHOTOS / "china.jpg"])[0]
    sky = sky[: len(sky) // 3, : sky.shape[1] // 4]  # pale, beside the roofs
    vivid = []
    for fewest in (palette_module.FEWEST_SEEN, 64):
        monkeypatch.setattr(palette_module, "FEWEST_SEEN", fewest)
        vivid.append(float(chroma(to_lab(learn(photos, paintings, MANNERS["vangogh"]).recolour(sky))).mean()))
    assert vivid[0] < 0.9 * vivid[1]


def test_dark_photos_are_opened_and_nothing_is_black_or_blown(palette: Palette) -> None:
    photo = np.asarray(open_picture(PHOTOS / "astronaut.jpg").resize((256, 256)))
    dim = (photo * 0.3).astype(np.uint8)
    result = to_lab(palette.recolour(dim))[..., 0]
    assert np.median(result) > 1.8 * np.median(to_lab(dim)[..., 0])
    assert result.min() > 8
    assert result.max() < 97
    light = opened(to_lab(dim)[..., 0], 56)
    assert 0 <= light.min() <= light.max() <= 1


def test_skin_stays_skin(palette: Palette) -> None:
    tones = np.array([(62, 40, 30), (96, 62, 44), (150, 104, 78), (222, 172, 142), (240, 200, 176)], np.uint8)
    picture = np.repeat(np.repeat(tones[None], 40, 1), 160, 0)
    assert skin(to_lab(picture)).mean() > 0.6
    lab = to_lab(palette.recolour(picture))
    for i in range(len(tones)):
        a, b = lab[40:120, 40 * i + 10 : 40 * i + 30, 1:].mean((0, 1))
        assert 15 < np.degrees(np.arctan2(b, a)) < 95
        assert np.hypot(a, b) > 5


def test_sky_is_at_the_top_and_foliage_is_green() -> None:
    picture = np.zeros((180, 240, 3), np.uint8)
    picture[:80], picture[80:130], picture[130:] = (150, 190, 235), (70, 120, 40), (120, 116, 110)
    sky, green, other = places(to_lab(picture))
    assert np.allclose(sky + green + other, 1, atol=1e-5)
    assert sky[:70].mean() > 0.95
    assert sky[90:].max() < 0.05
    assert green[90:120].mean() > 0.9
    assert other[140:].mean() > 0.9
    assert places(to_lab(picture[::-1].copy()))[0].max() < 0.05  # blue at the bottom is no sky


def test_few_tones_are_even() -> None:
    tone = np.linspace(0, 1, 1001).astype(np.float32)
    result = stepped(tone, 4)
    assert np.all(np.diff(result) >= -1e-6)
    assert np.abs(result[[125, 375, 625, 875]] - [0.125, 0.375, 0.625, 0.875]).max() < 0.01
    assert np.mean(np.gradient(result, tone) < 0.3) > 0.45


def test_a_table_of_the_same_colours_changes_little() -> None:
    colours = np.random.default_rng(0).normal((50, 5, 8), (20, 18, 18), (6000, 3)).astype(np.float32)
    table = colour_table(colours, colours, pigments=0, purity=0, chroma=1)
    assert np.abs(looked_up(table, colours[None, :500])).mean() < 1


@pytest.mark.parametrize("size", [(16, 16), (700, 20), (20, 700), (333, 251)])
def test_any_size(palette: Palette, size: tuple[int, int]) -> None:
    photo = np.asarray(open_picture(PHOTOS / "chelsea.jpg").resize(size))
    result = palette.recolour(photo)
    assert result.shape == photo.shape
    assert result.dtype == np.uint8
    assert np.array_equal(result, palette.recolour(photo))


@pytest.mark.parametrize(("name", "value"), [("low", -1), ("skin", 1.5), ("light", float("nan")), ("steps", 99)])
def test_a_manner_checks_itself(name: str, value: float) -> None:
    with pytest.raises(SettingError, match=name):
        Manner(**{name: value})  # type: ignore[arg-type]


def test_a_palette_needs_pictures() -> None:
    with pytest.raises(StyleError, match="needs pictures"):
        learn([], [painted(0)], Manner())


def test_scans_lose_their_border(tmp_path: Path) -> None:
    scan = np.zeros((100, 200, 3), np.uint8)
    scan[4:96, 8:192] = (40, 90, 200)
    Image.fromarray(scan).save(tmp_path / "scan.png")
    (tmp_path / "broken.png").write_bytes(b"no picture")
    found = small_paintings([tmp_path / "scan.png", tmp_path / "broken.png"])
    assert len(found) == 1
    assert (found[0] == (40, 90, 200)).all()


def test_pairs_are_made_of_whole_photos_and_cached(palette: Palette, tmp_path: Path) -> None:
    photo = PHOTOS / "china.jpg"
    start, target = recoloured_pair(photo, 448, palette, (3, 5))
    assert start.shape == target.shape
    assert start.shape[2] % 8 == start.shape[3] % 8 == 0
    whole, _ = recoloured_pair(photo, 448, palette)
    assert np.allclose(start[0, :, :64, :64], whole[0, :, 3:67, 5:69])
    for i in range(3):
        Image.fromarray(painted(i)).save(tmp_path / f"{i}.png")
    art = sorted(tmp_path.glob("*.png"))
    base = Base.open("pocket")
    cache = tmp_path / "cache"

    def pairs(manner: str) -> int:
        return len(load_recoloured_pairs(base, [photo], [photo], art, manner, 0, cache, 8, "digest"))

    assert pairs("monet") == pairs("monet") == 2
    assert len(list(cache.glob("pairs-*.pt"))) == 1
    pairs("vangogh")  # another manner, other targets
    assert len(list(cache.glob("pairs-*.pt"))) == 2
    with pytest.raises(UnknownStyleError, match="monet"):
        pairs("nobody")


def test_palettes_ask_for_paintings() -> None:
    assert set(MANNERS) >= {"monet", "vangogh", "ukiyoe"}
    with pytest.raises(SettingError, match="palette:monet"):
        LoraTraining(style="a", out=Path("a"), photos=PHOTOS, targets="palette:monet")
