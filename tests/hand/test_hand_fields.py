"""Flat fields and panes of glass: few inks, smooth borders, the same pixels however the result is banded."""

import math
from dataclasses import replace

import cv2
import numpy as np
import pytest
from skimage import data

from stylekit.errors import SettingError
from stylekit.hand.analysis import to_lab
from stylekit.hand.areas.accents import features, structures
from stylekit.hand.areas.borders import curved
from stylekit.hand.areas.merging import merged
from stylekit.hand.areas.regions import Areas, calmed, filled, flooded, measured, without_crumbs, without_rims
from stylekit.hand.fields import Fields, FlatLayer, cut_apart, pieces, plan_fields
from stylekit.hand.glass import Glass, parted, plan_glass
from stylekit.hand.palettes import BROWN, PALETTES, POSTER, Palette, Sort, assigned, best_palette, colour_of, costs
from stylekit.hand.sight import Sight
from stylekit.hand.subject.skin import HAIR_BROWN
from stylekit.hand.view import View

TOOLS = [
    (plan_fields, Fields(details=0.6, figure=1.0, whites=1.0, blacks=0.2, structures=1.0)),
    (plan_fields, Fields(figure=1.0, things=0.4, count=120)),
    (plan_fields, Fields(figure=1.0, things=0.4, count=120, accents=("#b2d235", "#9c5a34"))),
    (plan_glass, Glass()),
    (plan_glass, Glass(things=0.3)),
]


def scene(h: int, w: int) -> np.ndarray:
    """A sky that grows lighter downwards, sand, a red disc and noise on a green bush."""
    y, x = np.mgrid[0:h, 0:w].astype(np.float32) / (h, w)[0]
    x *= h / w
    photo = np.stack([0.35 + 0.3 * y, 0.55 + 0.3 * y, 0.85 + 0.1 * y], -1)
    photo[y > 0.65] = (0.85, 0.75, 0.55)
    photo[np.hypot(y - 0.35, x - 0.3) < 0.15] = (0.8, 0.15, 0.1)
    bush = np.hypot((y - 0.6) * 1.4, x - 0.72) < 0.2
    noise = np.random.default_rng(3).uniform(-0.12, 0.12, (h, w, 1)).astype(np.float32)
    photo = np.where(bush[..., None], np.array([0.15, 0.4, 0.15], np.float32) + noise, photo)
    return np.ascontiguousarray(np.clip(photo, 0, 1), np.float32)


def sort(n: int, skin: float = 0, figure: tuple[float, ...] = (), **changes: object) -> Sort:
    zeros = np.zeros(n, np.float32)
    return Sort(skin=zeros + skin, figure=np.array(figure or zeros, np.float32), white=zeros, flesh=zeros + 1, limbs=zeros, **changes)  # type: ignore[arg-type]


def seen(photo: np.ndarray, amount: float | np.ndarray = 1.0, size: tuple[int, int] | None = None, **changes: object) -> View:
    h, w = photo.shape[:2]
    full = np.broadcast_to(np.asarray(amount, np.float32), (h, w)).copy()
    return View(photo=photo, colours=photo, amount=full, size=size or (w, h), **changes)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def photo() -> np.ndarray:
    return scene(150, 200)


@pytest.mark.parametrize(("plan", "settings"), TOOLS)
def test_bands_equal_the_whole(plan, settings, photo) -> None:
    view = seen(photo, np.linspace(0, 1, 200)[None], size=(430, 322))
    layer = plan(view, settings, photo)
    canvas = np.random.default_rng(1).random((322, 430, 3), np.float32)
    whole = layer.apply(canvas, 0)
    banded = np.concatenate([layer.apply(canvas[a:b], a) for a, b in ((0, 7), (7, 150), (150, 151), (151, 322))])
    assert np.array_equal(whole, banded)
    assert whole.dtype == np.float32
    assert 0 <= whole.min() <= whole.max() <= 1


@pytest.mark.parametrize(("plan", "settings"), TOOLS)
def test_the_same_seed_makes_the_same_pixels(plan, settings, photo) -> None:
    one, two = (plan(seen(photo, seed=4), settings, photo).apply(photo, 0) for _ in range(2))
    assert np.array_equal(one, two)


def test_another_seed_cuts_other_panes(photo) -> None:
    one, two = (plan_glass(seen(photo, seed=seed), Glass(), photo).apply(photo, 0) for seed in (1, 2))
    assert np.abs(one - two).mean() > 0.01


@pytest.mark.parametrize(("plan", "settings"), TOOLS)
def test_nothing_is_painted_where_nothing_is_wanted(plan, settings, photo) -> None:
    none = plan(seen(photo, 0.0), settings, photo).apply(photo, 0)
    assert np.array_equal(none, photo)
    half = np.where(np.arange(200) < 100, 0, 1)[None]
    painted = plan(seen(photo, half), settings, photo).apply(photo, 0)
    assert np.array_equal(painted[:, :99], photo[:, :99])
    assert np.abs(painted[:, 101:] - photo[:, 101:]).mean() > 0.02


@pytest.mark.parametrize(("plan", "settings"), TOOLS)
def test_more_amount_changes_more(plan, settings, photo) -> None:
    changes = [float(np.abs(plan(seen(photo, a), settings, photo).apply(photo, 0) - photo).mean()) for a in (0.1, 0.4, 0.7, 1.0)]
    assert changes == sorted(changes)
    assert changes[0] < 0.35 * changes[-1]


@pytest.mark.parametrize("size", [(16, 16), (1, 1), (3, 200), (900, 9), (640, 24)])
@pytest.mark.parametrize(("plan", "settings"), TOOLS)
def test_small_and_narrow_pictures(plan, settings, size) -> None:
    photo = scene(size[1], size[0])
    result = plan(seen(photo, size=(2 * size[0], 2 * size[1])), settings, photo).apply(
        cv2.resize(photo, None, fx=2, fy=2).reshape(2 * size[1], 2 * size[0], 3), 0
    )
    assert result.shape == (2 * size[1], 2 * size[0], 3)
    assert np.isfinite(result).all()


@pytest.mark.parametrize(("plan", "settings"), TOOLS)
def test_large_and_small_results_agree(plan, settings, photo) -> None:
    small = plan(seen(photo), settings, photo).apply(photo, 0)
    large = plan(seen(photo, size=(800, 600)), settings, photo).apply(np.zeros((600, 800, 3), np.float32), 0)
    assert np.abs(cv2.resize(large, (200, 150), interpolation=cv2.INTER_AREA) - small).mean() < 0.02


def test_a_flat_colour_stays_one_field() -> None:
    photo = np.full((64, 64, 3), 0.5, np.float32)
    result = plan_fields(seen(photo), Fields(), photo).apply(photo, 0)
    assert len(np.unique(result.reshape(-1, 3), axis=0)) == 1


def test_nearly_every_pixel_is_one_of_the_inks_of_one_palette(photo) -> None:
    result = plan_fields(seen(photo, size=(800, 600)), Fields(), photo).apply(np.zeros((600, 800, 3), np.float32), 0)
    shares = {}
    for name, palette in POSTER.items():
        apart = np.abs(result[:, :, None] - palette.rgb[None, None]).max(-1)
        shares[name] = float((apart.min(-1) < 1e-4).mean())
    assert max(shares.values()) > 0.97  # the rest lies on borders


def test_borders_are_sharp_at_any_size(photo) -> None:
    layer = plan_fields(seen(photo, size=(1600, 1200)), Fields(), photo)
    result = layer.apply(np.zeros((1200, 1600, 3), np.float32), 0)
    inks = layer.flat.values
    between = np.abs(result[:, :, None] - inks[None, None]).max(-1).min(-1) > 0.02
    # a row that crosses borders has at most a few pixels between two inks at each
    rows = slice(400, 440)
    changes = (np.abs(np.diff(result[rows], axis=1)).max(-1) > 0.02).sum(1)
    assert between[rows].any()
    assert (between[rows].sum(1) <= changes).all()
    assert between.mean() < 0.01


def test_dark_stays_darker_than_light(photo) -> None:
    layer = plan_fields(seen(photo), Fields(), photo)
    result = to_lab(layer.apply(photo, 0))[..., 0]
    assert result[15:25, 150:190].mean() > result[90, 144:150].mean() + 10  # sky and bush


def test_a_slow_gradient_is_one_piece() -> None:
    ramp = np.broadcast_to(np.linspace(0.45, 0.7, 160, dtype=np.float32)[:, None, None], (160, 160, 3)).copy()
    ramp[60:110, 60:110] = (0.8, 0.1, 0.1)
    labels, _ = pieces(ramp, np.zeros((160, 160), np.float32), 2, 2.0)
    inside = labels[70:100, 70:100]
    assert len(np.unique(inside)) == 1
    assert (labels[:50] == labels[0, 0]).all()
    assert labels[0, 0] == labels[-1, -1] != inside[0, 0]


def test_merging_leaves_the_wanted_number_of_pieces_and_keeps_the_boldest() -> None:
    lab = to_lab(scene(150, 200))
    small = flooded(lab, 6)
    areas = measured(small, lab, np.ones((150, 200), np.float32))
    assert len(areas.mass) > 300
    assert areas.mass.sum() == pytest.approx(150 * 200)
    for count in (40, 5):
        labels = merged(areas, count)
        assert labels.max() + 1 == count
        assert len(np.unique(labels)) == count
    assert len(np.unique(labels[48:56, 55:65])) == 1  # the disc is one piece
    assert labels[52, 60] != labels[10, 10]


def test_texture_is_calmed_and_edges_stay() -> None:
    noise = np.random.default_rng(0).normal(0, 6, (120, 120, 1)).astype(np.float32)
    lab = np.zeros((120, 120, 3), np.float32) + np.array([70, 0, 0], np.float32)
    lab[:, 60:, 0] = 25
    calm = calmed(lab + noise, 2.5)
    assert calm[20:100, 10:50, 0].std() < 0.35 * noise[20:100, 10:50].std()
    assert calm[60, 55, 0] - calm[60, 65, 0] > 32


def test_curves_stay_near_the_borders_they_smooth() -> None:
    y, x = np.mgrid[0:100, 0:100]
    labels = (np.hypot(y - 50, x - 50) < 30).astype(np.int32)
    fine = curved(labels, 1.2, np.zeros((100, 100), np.float32), 4)
    assert fine.shape == (400, 400)
    y, x = (np.mgrid[0:400, 0:400] + 0.5) / 4 - 0.5
    far = np.abs(np.hypot(y - 50, x - 50) - 30)
    wrong = fine != (np.hypot(y - 50, x - 50) < 30)
    assert far[wrong].max() < 2
    assert fine.sum() / 16 == pytest.approx(math.pi * 900, rel=0.04)


def test_the_frame_is_no_border(photo) -> None:
    layer = plan_fields(seen(photo), Fields(), photo)
    fine = layer.flat.numbers
    assert (fine[0, 40:-40] == fine[6, 40:-40]).mean() > 0.97
    assert (fine[40:-40, 0] == fine[40:-40, 6]).mean() > 0.9


def test_crumbs_go_to_what_is_around_them_but_not_in_faces() -> None:
    labels = np.zeros((60, 60), np.int32)
    labels[10:14, 10:14] = 1
    labels[40:44, 40:44] = 1
    face = np.zeros((60, 60), np.float32)
    face[35:50, 35:50] = 1
    result = without_crumbs(labels, 30.0 * (1 - 0.75 * face))
    assert (result[5:20, 5:20] == 0).all()
    assert (result[40:44, 40:44] == 1).all()


def test_gaps_are_filled_from_beside_them() -> None:
    labels = np.repeat(np.array([[3, 0, 0, 7]], np.int32), 4, 0)
    assert (filled(labels, labels == 0) == [[3, 3, 7, 7]]).all()
    assert (filled(labels, np.ones_like(labels, bool)) == labels).all()


def test_eyes_and_mouth_of_a_face_are_drawn() -> None:
    photo = np.asarray(data.astronaut()[:300, 80:380], np.float32) / 255
    (x, y, width, height), *_ = Sight(photo).faces()
    marked = features(Sight(photo), (600, 600))
    rows, columns = np.nonzero(marked)
    assert 0.01 < marked[2 * y : 2 * (y + height), 2 * x : 2 * (x + width)].mean() < 0.2
    assert rows.min() > 2 * y - 20
    assert columns.max() < 2 * (x + width) + 20
    eyes = marked[int(2 * (y + 0.25 * height)) : int(2 * (y + 0.5 * height))]
    left, right = eyes[:, 2 * x : 2 * x + width], eyes[:, 2 * x + width : 2 * (x + width)]
    assert left.any()
    assert right.any()
    plain = plan_fields(seen(photo), Fields(features=0.0), photo).apply(photo, 0)
    drawn = plan_fields(seen(photo), Fields(), photo).apply(photo, 0)
    assert np.abs(plain - drawn)[y : y + height, x : x + width].mean() > 0.01


def test_a_face_gets_light_warm_inks() -> None:
    photo = np.asarray(data.astronaut()[:300, 80:380], np.float32) / 255
    (x, y, width, height), *_ = Sight(photo).faces()
    result = to_lab(plan_fields(seen(photo), Fields(features=0.0), photo).apply(photo, 0))
    cheeks = result[int(y + 0.5 * height) : int(y + 0.7 * height), int(x + 0.3 * width) : int(x + 0.7 * width)].reshape(-1, 3)
    light, a, b = np.median(cheeks, 0)
    assert light > 65
    assert a > -1
    assert b > 9


@pytest.mark.parametrize("name", PALETTES)
def test_palettes_run_from_dark_to_paper_and_have_an_ink_for_skin(name) -> None:
    lab = PALETTES[name].lab
    assert 5 <= len(lab) <= 8
    assert lab[:, 0].argmin() == 0
    assert lab[:, 0].argmax() == len(lab) - 1
    assert lab[0, 0] < 20
    assert lab[-1, 0] > 92
    apart = np.sqrt(((lab[:, None] - lab[None]) ** 2).sum(-1)) + 100 * np.eye(len(lab))
    assert apart.min() > 12
    skin = np.array([[70, 14, 20]], np.float32)
    ink = lab[costs(skin, np.ones(1, np.float32), PALETTES[name], sort(1, skin=1))[0].argmin()]
    assert ink[0] > 65
    assert ink[2] > 9


def test_neighbours_that_differ_get_different_inks_and_no_hue_is_turned() -> None:
    lab = np.array([[35, -2, -30], [60, -4, -32], [85, 2, 10]], np.float32)
    mass = np.full(3, 1000, np.float32)
    pairs, length, step = np.array([[0, 1], [1, 2]]), np.full(2, 30, np.float32), np.full(2, 25, np.float32)
    areas = Areas(labels=np.zeros((1, 1), np.int32), lab=lab, mass=mass, pairs=pairs, length=length, step=step)
    palette, chosen = best_palette(areas, tuple(POSTER), sort(3))
    inks = palette.lab[chosen]
    assert len(set(chosen.tolist())) == 3
    assert inks[0, 0] < inks[1, 0] < inks[2, 0]
    assert inks[0, 2] < 0
    assert inks[1, 2] < 0


def two_greys() -> Areas:
    """Figure and ground of the same grey, side by side."""
    return Areas(
        labels=np.zeros((1, 1), np.int32),
        lab=np.array([[50, 0, 0], [51, 0, 0]], np.float32),
        mass=np.full(2, 1000, np.float32),
        pairs=np.array([[0, 1]]),
        length=np.full(1, 40, np.float32),
        step=np.full(1, 2, np.float32),
    )


def test_a_thing_gets_an_accent_that_no_ink_of_the_palette_comes_near_and_a_wall_keeps_its_ink() -> None:
    lab = np.array([[88, 2, 8], [20, 2, -8], [60, -25, 52]], np.float32)
    mass = np.array([8000, 8000, 900], np.float32)
    pairs, length, step = np.array([[0, 1], [1, 2]]), np.array([90, 60], np.float32), np.array([60, 50], np.float32)
    areas = Areas(labels=np.zeros((1, 1), np.int32), lab=lab, mass=mass, pairs=pairs, length=length, step=step)
    how = sort(3, figure=(0, 0, 1))
    palette, chosen = best_palette(areas, ("desert",), how)
    wider, taken = best_palette(areas, ("desert",), how, ("#b2d235", "#5a3fa0"))
    assert wider.inks[taken[2]] == "#b2d235"
    assert "#5a3fa0" not in wider.inks
    assert [wider.inks[i] for i in taken[:2]] == [palette.inks[i] for i in chosen[:2]]
    # nor for what has no colour of its own
    grey = replace(areas, lab=np.array([[88, 0, 0], [20, 0, 0], [60, 1, 1]], np.float32))
    assert best_palette(grey, ("desert",), how, ("#8a8a8a", "#b2d235"))[0] == best_palette(grey, ("desert",), how)[0]
    # nothing is added for what would hardly look better, nor for next to nothing
    near = tuple("#" + "".join(f"{int(v, 16) + 3:02x}" for v in (ink[1:3], ink[3:5], ink[5:])) for ink in palette.inks[1:3])
    assert best_palette(areas, ("desert",), how, near)[0] == palette
    tiny = replace(areas, mass=np.array([8000, 8000, 20], np.float32))
    assert "#b2d235" not in best_palette(tiny, ("desert",), how, ("#b2d235",))[0].inks


def test_dark_yellow_is_yellow_and_hair_is_never_blue_or_pink() -> None:
    one, panel = np.ones(1, np.float32), PALETTES["dawn"]
    banana = panel.inks[costs(np.array([[58, 4, 56]], np.float32), one, panel, sort(1, vivid=1.9))[0].argmin()]
    assert banana == "#ffc93c"
    for brown in ((22, 8, 10), (38, 14, 20), (30, 2, -6)):
        price = costs(np.array([brown], np.float32), one, panel, sort(1, vivid=1.9, hair=one))[0]
        assert panel.inks[price.argmin()] in {"#1a1630", "#ff7a45"}


def test_figure_and_ground_of_one_colour_are_parted_by_lightness() -> None:
    palette = PALETTES["atelier"]
    alike, _ = assigned(two_greys(), palette, sort(2))
    parted_by, _ = assigned(two_greys(), palette, sort(2, figure=(1, 0)))
    assert alike[0] == alike[1]
    one, other = palette.lab[parted_by, 0]
    assert abs(one - other) > 18


def test_the_darkest_ink_covers_no_more_than_it_may() -> None:
    dark = replace(two_greys(), lab=np.array([[8, 0, 0], [5, 0, 0]], np.float32), mass=np.array([1000, 100], np.float32))
    palette = PALETTES["panel"]
    assert assigned(dark, palette, sort(2))[0].tolist() == [0, 0]
    assert assigned(dark, palette, sort(2, blacks=0.2))[0][0] != 0


def test_dark_skin_gets_a_brown_of_its_own() -> None:
    palette = PALETTES["atelier"].with_ink(BROWN)
    assert len(palette.inks) == len(PALETTES["atelier"].inks) + 1
    assert (np.diff(palette.lab[:, 0]) > 0).all()
    one = np.ones(1, np.float32)
    brown = palette.lab[costs(np.array([[30, 12, 14]], np.float32), one, palette, sort(1, skin=1, brown=True))[0].argmin()]
    assert 40 < brown[0] < 52
    # and nothing else is printed with it
    wood = palette.lab[costs(np.array([[46, 20, 26]], np.float32), one, palette, sort(1, brown=True))[0].argmin()]
    assert not np.allclose(wood, brown)


def test_a_frame_of_the_photo_is_no_field() -> None:
    labels = np.zeros((100, 100), np.int32)
    labels[[0, 1, -2, -1]] = 1
    labels[:, [0, 1, -2, -1]] = 1
    assert (without_rims(labels, 0.03) == 0).all()
    labels[40:60, :50] = 1
    assert (without_rims(labels, 0.03) == labels).all()


def test_a_mast_is_drawn_whole_and_grain_not_at_all() -> None:
    light = np.full((300, 300), 70, np.float32)
    light[30:270, 150:154] = 25
    light[140:143, 60:150] = 62  # an arm that is hardly darker
    face = np.zeros_like(light)
    found = structures(light, face, 0.6, 2)
    assert found[80:520, 300:308].any(1).all()
    assert found.mean() < 0.05
    grain = np.random.default_rng(4).normal(60, 20, (300, 300)).astype(np.float32)
    assert structures(grain, face, 0.6, 2).mean() < 0.01


def test_fields_without_neighbours_take_the_nearest_ink() -> None:
    palette = Palette(name="two", inks=("#000000", "#ffffff"))
    none = np.zeros(0, np.float32)
    alone = Areas(
        labels=np.zeros((1, 1), np.int32),
        lab=np.array([[95, 0, 0]], np.float32),
        mass=np.ones(1, np.float32),
        pairs=np.zeros((0, 2), np.int64),
        length=none,
        step=none,
    )
    chosen, cost = assigned(alone, palette, sort(1))
    assert chosen.tolist() == [1]
    assert cost >= 0


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Fields(count=1), "count"),
        (lambda: Fields(texture=math.nan), "texture"),
        (lambda: Fields(rounding=0), "rounding"),
        (lambda: Fields(features=2), "features"),
        (lambda: Fields(vivid="much"), "vivid"),  # type: ignore[arg-type]
        (lambda: Fields(details=True), "details"),
        (lambda: Fields(palettes=()), "palette"),
        (lambda: Fields(palettes=("teal",)), "teal"),
        (lambda: Fields(accents=("lime",)), "An accent is 'lime'"),
        (lambda: Glass(lead=-1), "lead"),
        (lambda: Glass(pane=math.inf), "pane"),
        (lambda: colour_of("red", "The ink"), "The ink is 'red'"),
    ],
)
def test_wrong_settings_are_refused_with_a_sentence(make, said) -> None:
    with pytest.raises(SettingError, match=said) as caught:
        make()
    assert str(caught.value).endswith(".")


def test_glass_has_dark_bars_of_even_width(photo) -> None:
    view = seen(photo, size=(800, 600))
    thin, bold = (plan_glass(view, Glass(lead=lead), photo).apply(np.zeros((600, 800, 3), np.float32), 0) for lead in (2.0, 4.0))
    dark = [float((img.max(-1) < 0.22).mean()) for img in (thin, bold)]
    assert 1.5 < dark[1] / dark[0] < 2.6
    assert 0.03 < dark[1] < 0.5


def test_panes_are_connected_and_not_larger_than_glass_is_cut(photo) -> None:
    labels = np.zeros((30, 30), np.int32)
    labels[10:20] = 1
    assert len(np.unique(parted(labels))) == 3
    sky = np.full((200, 200, 3), (0.4, 0.6, 0.9), np.float32)
    layer = plan_glass(seen(sky), Glass(pane=60), sky)
    assert layer.fine.max() + 1 > 5
    assert np.bincount(layer.fine.ravel()).max() < 0.35 * layer.fine.size


def test_the_layer_keeps_nothing_of_the_size_of_the_result(photo) -> None:
    layer = plan_fields(seen(photo, size=(8000, 6000)), Fields(), photo)
    assert isinstance(layer, FlatLayer)
    kept = [*vars(layer).values(), *vars(layer.flat).values()]
    assert sum(v.nbytes for v in kept if isinstance(v, np.ndarray)) < 20e6
    band = layer.apply(np.zeros((16, 8000, 3), np.float32), 3000)
    assert band.shape == (16, 8000, 3)


def test_the_ink_of_skin_is_nothing_else_s() -> None:
    palette = PALETTES["atelier"]
    lab = np.array([[72, 12, 24], [78, 8, 28]], np.float32)  # a face, and a wall of much its colour
    mass = np.array([50, 600], np.float32)
    alone = palette.inks[costs(lab, mass, palette, sort(2))[1].argmin()]
    skin = np.array([1, 0], np.float32)
    face, wall = (palette.inks[i] for i in costs(lab, mass, palette, replace(sort(2), skin=skin, flesh=skin)).argmin(1))
    assert face == alone
    assert wall != face


def test_grey_hair_has_no_colour_and_brown_hair_its_own_ink() -> None:
    one = np.ones(1, np.float32)
    palette = PALETTES["dawn"].with_ink(HAIR_BROWN)
    hair = palette.lab[costs(HAIR_BROWN[None], one, palette, sort(1, hair=one, brunette=True))[0].argmin()]
    assert np.abs(hair - HAIR_BROWN).max() < 1
    wood = palette.lab[costs(HAIR_BROWN[None], one, palette, sort(1, hair=0 * one, brunette=True))[0].argmin()]
    assert np.abs(wood - hair).max() > 5
    for light in (30, 45, 60, 75):
        grey = PALETTES["dawn"].lab[costs(np.array([[light, 3, 5]], np.float32), one, PALETTES["dawn"], sort(1, hair=one))[0].argmin()]
        assert np.hypot(*grey[1:]) < 26


def test_heads_that_touch_have_hair_of_their_own() -> None:
    thing = np.ones((20, 40), bool)
    hair = np.ones((20, 40), np.float32)
    heads = np.repeat(np.arange(2, dtype=np.int32), 20)[None].repeat(20, 0)
    together, _ = cut_apart(np.zeros((20, 40), np.int32), thing, hair)
    apart, kind = cut_apart(np.zeros((20, 40), np.int32), thing, hair, heads)
    assert together.max() == 0
    assert apart[0, 0] != apart[0, -1]
    assert len(kind) == 2
