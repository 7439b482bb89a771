"""Figure and ground, skin, and the tools that go by them: outlines, patterns, whole areas of dots."""

import math

import cv2
import numpy as np
import pytest
from PIL import Image
from skimage import data

from stylekit.errors import SettingError
from stylekit.hand import analysis
from stylekit.hand.dots import Dots, plan_dots
from stylekit.hand.fields import Fields, plan_fields
from stylekit.hand.hatching import Hatching, tones
from stylekit.hand.linework.flat_borders import flat_borders
from stylekit.hand.linework.lines import Lines, strokes
from stylekit.hand.linework.outlines import Outlines, plan_outlines
from stylekit.hand.linework.pattern import Pattern, plan_pattern
from stylekit.hand.linework.pattern import strokes as pattern_strokes
from stylekit.hand.sight import Sight
from stylekit.hand.subject import figure as figure_of
from stylekit.hand.tone import Tone, toned
from stylekit.hand.view import View


def seen(photo: np.ndarray, amount: float | np.ndarray = 1.0, size: tuple[int, int] | None = None, **changes: object) -> View:
    h, w = photo.shape[:2]
    full = np.broadcast_to(np.asarray(amount, np.float32), (h, w)).copy()
    return View(photo=photo, colours=photo, amount=full, size=size or (w, h), **changes)  # type: ignore[arg-type]


def cup(h: int = 240, w: int = 320) -> np.ndarray:
    """A red disc with a dark rim on a pale ground."""
    y, x = np.mgrid[0:h, 0:w].astype(np.float32)
    photo = np.full((h, w, 3), (0.75, 0.8, 0.85), np.float32)
    far = np.hypot(y - 0.52 * h, x - 0.5 * w)
    photo[far < 0.3 * h] = (0.3, 0.1, 0.1)
    photo[far < 0.27 * h] = (0.8, 0.2, 0.15)
    return np.asarray(cv2.GaussianBlur(photo, (0, 0), 0.8), np.float32)


def halves() -> np.ndarray:
    """White, with a small piece of blue, beside blue."""
    photo = np.full((300, 400, 3), 0.95, np.float32)
    photo[:, 200:] = (0.4, 0.62, 0.85)
    photo[20:40, 20:40] = (0.4, 0.62, 0.85)
    return photo


@pytest.fixture(scope="module")
def person() -> np.ndarray:
    return np.asarray(data.astronaut(), np.float32) / 255


def test_the_figure_is_what_stands_out() -> None:
    photo = cup()
    figure = Sight(photo).figure()
    assert figure.shape == photo.shape[:2]
    assert figure[90:160, 130:190].min() > 0.8
    assert figure[:30].max() < 0.2
    assert figure[:, :40].max() < 0.2


def test_a_sky_full_of_stars_has_no_figure(root) -> None:
    with Image.open(root / "assets" / "photos" / "hubble.jpg") as picture:
        small = picture.convert("RGB")
    small.thumbnail((320, 320))
    assert Sight(np.asarray(small, np.float32) / 255).figure().max() == 0


@pytest.mark.parametrize(
    ("name", "inside", "outside"),
    [
        ("china", (0.48, 0.3), (0.9, 0.15)),  # the pagoda, and the sky beside it
        ("coffee", (0.5, 0.35), (0.92, 0.08)),  # the cup, and the table
        ("camera", (0.35, 0.45), (0.85, 0.75)),  # the man behind it, and the meadow
        ("raccoon", (0.6, 0.4), (0.25, 0.85)),  # its head, and a leaf
    ],
)
def test_people_animals_and_things_are_told_from_what_is_round_them(root, name, inside, outside) -> None:
    with Image.open(root / "assets" / "photos" / f"{name}.jpg") as picture:
        small = picture.convert("RGB")
    small.thumbnail((400, 400))
    figure = Sight(np.asarray(small, np.float32) / 255).figure()
    h, w = figure.shape
    assert figure[int(inside[1] * h), int(inside[0] * w)] > 0.9
    assert figure[int(outside[1] * h), int(outside[0] * w)] < 0.1
    assert figure.min() >= 0
    assert figure.max() <= 1


def test_small_pieces_are_no_part_of_the_figure() -> None:
    told = np.zeros((100, 100), np.float32)
    told[20:60, 20:60] = 0.9
    told[80:84, 80:84] = 0.9
    whole = figure_of._whole(told)
    assert whole[40, 40] == np.float32(0.9)
    assert whole[70:].max() == 0


def test_light_parts_a_figure_from_a_ground_of_its_tone() -> None:
    """Where both are of one tone, and elsewhere nothing."""
    photo = np.full((240, 320, 3), 0.6, np.float32)
    photo[:8], photo[-8:] = 0, 1
    inside = np.hypot(*(np.mgrid[0:240, 0:320] - np.array([125, 160])[:, None, None])) < 70
    view = seen(photo)
    view.sight.figure = lambda: inside.astype(np.float32)  # type: ignore[method-assign]
    plain, parted = (analysis.lightness(toned(view, Tone(median=0, counterchange=c), photo)) for c in (0.0, 1.0))
    near = np.hypot(*(np.mgrid[0:240, 0:320] - np.array([125, 160])[:, None, None]))
    within, beyond = (near > 60) & (near < 68), (near > 72) & (near < 80)
    assert abs(plain[within].mean() - plain[beyond].mean()) < 1e-3
    assert parted[within].mean() - parted[beyond].mean() > 0.05
    assert np.abs(parted - plain)[near > 140].max() < 0.02


def test_an_outline_is_drawn_round_a_figure_that_no_line_tells(person) -> None:
    view = seen(person)
    few, more = (strokes(view, Lines(density=0, shortest=30, faces=0, figure=c)) for c in (0.0, 0.8))
    assert len(more.starts) > len(few.starts)
    rim = cv2.morphologyEx((view.sight.figure() > 0.5).astype(np.uint8), cv2.MORPH_GRADIENT, np.ones((9, 9), np.uint8))
    added = more.points[len(few.points) :]
    assert rim[added[:, 1].astype(int).clip(0, 511), added[:, 0].astype(int).clip(0, 511)].mean() > 0.9


@pytest.mark.parametrize("shape", [(16, 16), (1, 400), (400, 20), (200, 200)])
def test_where_nothing_stands_out_there_is_no_figure_and_no_skin(shape: tuple[int, int]) -> None:
    sight = Sight(np.full((*shape, 3), 0.5, np.float32))
    assert sight.figure().shape == sight.skin().shape == shape
    assert not sight.figure().any()
    assert not sight.skin().any()


def test_the_figure_is_the_same_every_time(person) -> None:
    assert np.array_equal(Sight(person).figure(), Sight(person.copy()).figure())


def test_skin_is_a_face_and_not_the_flag_beside_it(person) -> None:
    sight = Sight(person)
    (x, y, width, height), *_ = sight.faces()
    skin = sight.skin()
    assert skin[int(y + 0.4 * height) : int(y + 0.7 * height), int(x + 0.3 * width) : int(x + 0.7 * width)].mean() > 0.9
    assert skin[:, :60].mean() < 0.02
    assert skin[:, 400:].mean() < 0.02


def test_a_face_is_one_ink_where_figure_and_ground_are_parted(person) -> None:
    result = plan_fields(seen(person), Fields(figure=1.0, features=0.0), person).apply(person, 0)
    (x, y, width, height), *_ = Sight(person).faces()
    cheeks = result[int(y + 0.5 * height) : int(y + 0.7 * height), int(x + 0.3 * width) : int(x + 0.7 * width)].reshape(-1, 3)
    assert np.ptp(cheeks, 0).max() < 0.01


def test_outlines_lie_on_the_borders_below_them() -> None:
    far = np.hypot(*(np.mgrid[0:240, 0:320] - np.array([125, 160])[:, None, None]))[..., None]
    photo = np.where(far < 72, np.array([0.8, 0.2, 0.15]), np.array([0.75, 0.8, 0.85])).astype(np.float32)
    photo = np.asarray(cv2.GaussianBlur(photo, (0, 0), 0.8), np.float32)
    flat = np.asarray(np.broadcast_to(np.where(far < 72, 0.2, 0.9), photo.shape), np.float32)
    points = flat_borders(seen(photo), np.ascontiguousarray(flat)).points
    assert len(points) > 300
    assert np.abs(np.hypot(points[:, 1] - 125, points[:, 0] - 160) - 72).max() < 4


def test_flat_ground_without_an_edge_has_no_outline() -> None:
    photo = np.full((160, 200, 3), 0.6, np.float32)
    flat = photo.copy()
    flat[80:] = 0.3  # a border that the photo knows nothing of
    assert len(flat_borders(seen(photo), flat)) == 0


def test_a_pattern_is_laid_on_texture_only() -> None:
    rng = np.random.default_rng(3)
    photo = np.full((300, 300, 3), 0.6, np.float32)
    fur = cv2.GaussianBlur(rng.normal(0, 1, (300, 150)).astype(np.float32), (0, 0), sigmaX=1, sigmaY=6)
    photo[:, 150:] += 0.3 * (fur / fur.std())[..., None] * 0.5
    photo = np.clip(photo, 0, 1)
    laid = pattern_strokes(seen(photo), Pattern(shade=0))
    middles = laid.points.reshape(-1, 9, 2)[:, 4]
    assert len(laid) > 20
    assert (middles[:, 0] > 130).all()
    # along the fur, which stands upright
    ends = laid.points.reshape(-1, 9, 2)[:, -1] - laid.points.reshape(-1, 9, 2)[:, 0]
    assert np.median(np.abs(ends[:, 1])) > 3 * np.median(np.abs(ends[:, 0]))
    # and well apart
    apart = np.hypot(*(middles[:, None] - middles[None]).transpose(2, 0, 1)) + 1e3 * np.eye(len(middles))
    assert apart.min() > 2


def test_calm_lines_leave_texture_alone() -> None:
    rng = np.random.default_rng(5)
    photo = cup(300, 400)
    noise = cv2.GaussianBlur(rng.normal(0, 1, (300, 100)).astype(np.float32), (0, 0), 1.6)
    photo[:, :100] = np.clip(0.5 + 0.4 * (noise / noise.std())[..., None], 0, 1)
    loud, calm = (strokes(seen(photo), Lines(density=0.7, shortest=6, calm=c)) for c in (0.0, 1.0))
    on_noise = [float((s.points[:, 0] < 95).sum()) for s in (loud, calm)]
    on_disc = [float((s.points[:, 0] > 110).sum()) for s in (loud, calm)]
    assert on_noise[1] < 0.5 * on_noise[0]
    assert on_disc[1] > 0.8 * on_disc[0]


def test_clean_dots_fill_large_areas_and_spare_small_ones() -> None:
    photo = halves()
    layer = plan_dots(seen(photo), Dots(clean=1.0), photo)
    assert layer.places[:, 0].min() > 0.48  # type: ignore[attr-defined]
    assert len(layer.places) > 100  # type: ignore[attr-defined]
    assert np.ptp(layer.radii) < 0.35 * layer.radii.max()  # type: ignore[attr-defined]


def test_open_shadows_keep_a_dark_face_out_of_black(person) -> None:
    view = seen(person * np.float32(0.6))
    (x, y, width, height), *_ = view.sight.faces()
    part = slice(y + height // 3, y + 3 * height // 4), slice(x + width // 4, x + 3 * width // 4)
    closed, opened = (tones(view, Hatching(open=much))[0][part] for much in (0.0, 1.0))
    deep = closed > 0.5
    assert deep.any()
    assert (opened[deep] < closed[deep] - 0.03).all()
    assert opened.max() < 0.8


@pytest.mark.parametrize(("plan", "settings"), [(plan_outlines, Outlines()), (plan_pattern, Pattern()), (plan_dots, Dots(clean=1.0))])
def test_bands_equal_the_whole_and_without_an_amount_nothing_is_drawn(plan, settings, person) -> None:
    photo = halves() if plan is plan_dots else person
    flat = halves() if plan is plan_dots else np.asarray(np.floor(person * 3) / 3, np.float32)
    canvas = np.random.default_rng(1).random((700, 700, 3), np.float32)
    layer = plan(seen(photo, np.linspace(0, 1, photo.shape[1])[None], size=(700, 700)), settings, flat)
    whole = layer.apply(canvas, 0)
    assert np.array_equal(whole, np.concatenate([layer.apply(canvas[a:b], a) for a, b in ((0, 9), (9, 300), (300, 700))]))
    assert not np.array_equal(whole, canvas)
    none = plan(seen(photo, 0.0, size=(700, 700)), settings, flat).apply(canvas, 0)
    assert np.array_equal(none, canvas)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Outlines(weight=0), "weight"),
        (lambda: Outlines(ink="black"), "ink"),
        (lambda: Pattern(spacing=math.nan), "spacing"),
        (lambda: Pattern(length=1), "length"),
        (lambda: Dots(clean=2), "clean"),
        (lambda: Lines(calm=-1), "calm"),
        (lambda: Hatching(pressures=3), "pressures"),
        (lambda: Fields(figure=2), "figure"),
    ],
)
def test_wrong_settings_are_refused_with_a_sentence(make, said) -> None:
    with pytest.raises(SettingError, match=said) as caught:
        make()
    assert str(caught.value).endswith(".")
