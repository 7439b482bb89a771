"""Settings of the LoRA trainer: strict, with defaults that suit the base and what is given."""

from __future__ import annotations

import urllib.request
import warnings
from pathlib import Path

import pytest
import torch

from stylekit.base_card import POCKET
from stylekit.errors import SettingError
from stylekit.storage.paths import ROOT
from tests.training.test_train_lora import PHOTOS
from training import train_lora
from training.loop import config
from training.objective import perceptual
from training.style import lora_settings
from training.style.lora_settings import LoraTraining, defaults


def test_lpips_is_used_where_it_can_be_had(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lpips = pytest.importorskip("lpips", reason="lpips is optional")
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")  # nobody listens: no download can succeed
    monkeypatch.setattr(urllib.request, "_opener", None)  # urllib keeps the first opener, with its proxies: not for later tests
    said: list[str] = []
    assert perceptual.load_lpips("auto", said.append) is None
    assert "LPIPS cannot be had" in said[0]
    with pytest.raises(SettingError, match="distance is lpips, which cannot be had"):
        perceptual.load_lpips("lpips", said.append)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it calls torchvision in an old way
        distance = lpips.LPIPS(net="squeeze", pnet_rand=True, verbose=False).eval().requires_grad_(False)
    a, b = torch.rand(2, 1, 3, 64, 64) * 2 - 1
    judge = perceptual.PerceptualLosses(lpips=distance)
    assert float(judge.terms(a, a, ["perceptual"])["perceptual"]) == 0
    assert float(judge.terms(a, b, ["perceptual"])["perceptual"]) > 0


def test_configuration_is_strict(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text("style: fog\ntargets: procedure:sketch\nphotos: p\nout: o\nrank: 4\n")
    got = config.parse(LoraTraining, ["--config", str(path), "--lr", "0.01", "--limit", "none", "--no-mirror"], "x", "y")
    assert (got.style, got.rank, got.lr, got.limit, got.photos, got.mirror) == ("fog", 4, 0.01, None, Path("p"), False)
    for text, word in (
        ("rnak: 4", "rnak"),
        ("rank: four", "rank"),
        ("rank: 1.5", "rank"),
        ("- a", "not a list"),
        ("rank: 0", "at least 1"),
        ("again: 1.5", "from 0 to 1"),
        ("t_max: 1000", "t_min <= t_max < 1000"),
        ("style_weight: 1", "style_pictures is not"),
        ("layers: some", "choose all or attention"),
        ("style: My Fog", "lower-case letters"),
    ):
        path.write_text(f"style: fog\ntargets: t\nphotos: p\nout: o\n{text}\n" if not text.startswith("-") else text)
        with pytest.raises(SettingError, match=word):
            config.parse(LoraTraining, ["--config", str(path)], "x", "y")
    with pytest.raises(SettingError, match="missing"):
        config.parse(LoraTraining, ["--style", "fog"], "x", "y")


def test_the_mode_follows_from_what_is_given() -> None:
    def mode(**given: object) -> str:
        return LoraTraining(style="a", out=Path("o"), **given).mode  # type: ignore[arg-type]

    assert mode(style_pictures=Path("s")) == mode(dataset="a/b") == "style"
    assert mode(photos=Path("p"), targets="t") == mode(dataset="a/b", target_column="c") == "pairs"
    assert mode(photos=Path("p"), style_pictures=Path("s"), style_weight=1.0) == "transfer"
    for given, word in (
        ({}, "nothing to train on"),
        ({"photos": Path("p")}, "photos is set alone"),
        ({"targets": "t"}, "photos is not"),
        ({"photos": Path("p"), "style_pictures": Path("s")}, "set style_weight"),
        ({"style_pictures": Path("s"), "perceptual": 0.1}, "set them to 0"),
        ({"style_pictures": Path("s"), "dataset": "a/b"}, "leave one out"),
    ):
        with pytest.raises(SettingError, match=word):
            mode(**given)


def test_defaults_suit_the_base(tmp_path: Path) -> None:
    def parse(*flags: str) -> LoraTraining:
        return config.parse(LoraTraining, ["--style", "a", "--out", "o", *flags], "x", "y", defaults)

    sd = parse("--base", "stable-diffusion-v1-5/stable-diffusion-v1-5", "--style-pictures", "s")
    assert (sd.rank, sd.lr, sd.batch, sd.steps, sd.optimizer, sd.schedule, sd.layers, sd.resolution, sd.min_snr_gamma) == (
        *(4, 1e-4, 4, 6000, "adamw", "cosine", "attention", 512),
        5.0,
    )
    pairs = parse("--photos", "p", "--targets", "t", "--lr", "1e-3")
    assert (pairs.base, pairs.layers, pairs.resolution, pairs.lr, pairs.t_min, pairs.t_max, pairs.self_rollout) == (
        POCKET,
        "all",
        256,
        1e-3,
        4,
        12,
        0.3,
    )
    taught = parse("--style-pictures", "s")
    assert (taught.mode, taught.targets, taught.photos) == ("pairs", "palette:measured", PHOTOS)
    assert 25 <= taught.save_every <= 50  # steps, which is what a machine that goes down may cost
    assert taught.init == lora_settings.BEGUN_FILE  # and a run of its own file's name starts from what recolours already
    assert taught.begun_from == "the shipped adapter of monet"
    alone = parse("--style-pictures", "s", "--init", "none")
    assert (alone.init, alone.begun_from) == (None, "")
    assert alone.steps > taught.steps
    assert parse("--style-pictures", "s", "--rank", "4").init is None  # it would not fit
    assert parse("--style-pictures", "s", "--init", "mine.safetensors").begun_from == "the adapter mine.safetensors"
    transfer = parse("--style-pictures", "s", "--targets", "none")
    assert (transfer.mode, transfer.photos) == ("transfer", PHOTOS)
    assert transfer.style_weight > 0
    assert parse("--style-pictures", "s", "--photos", "none").mode == "style"


def test_every_configuration_in_the_repository_is_valid() -> None:
    folder = ROOT / "training" / "configs"
    for kind, flags in (("pocket", ["--photos", "p"]), ("sd15", ["--style-pictures", "s"])):
        paths = sorted((folder / kind).glob("*.yaml"))
        palettes = {"monet-palette", "ukiyoe-palette", "vangogh-palette", "watercolour-palette"} if kind == "pocket" else set()
        assert {path.stem for path in paths} == {"minimalism", "monet", "popart", "sketch", "ukiyoe", "vangogh"} | palettes
        for path in paths:
            art = ["--style-pictures", "s"] if path.stem in palettes else []
            got = config.parse(LoraTraining, ["--config", str(path), "--out", "o", *flags, *art], "x", "y", defaults)
            assert got.style == path.stem.removesuffix("-palette")
            assert (got.base == POCKET) == (kind == "pocket")
            assert got.mode == ("pairs" if kind == "pocket" else "style")


def test_the_command_tells_mistakes_in_one_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    assert train_lora.main(["--style", "a", "--photos", "none", "--out", "o", "--targets", "procedure:sketch", "--rank", "0"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("train_lora: rank is 0")
    assert "Traceback" not in error
    assert train_lora.main(["--style", "a", "--style-pictures", "nowhere", "--out", "o", "--device", "cpu", "--track", "none"]) == 2
    assert "nowhere is not a folder" in capsys.readouterr().err


def test_older_names_of_settings_are_still_read(tmp_path: Path) -> None:
    """Configurations and runs of before the renaming go on; both names at once are refused."""
    config_file = tmp_path / "old.yaml"
    config_file.write_text("style: mine\nout: styles/mine/pocket\nphotos: photos\ntargets: procedure:sketch\nown: 0.4\nown_from: 20\n")

    def parsed(*flags: str) -> LoraTraining:
        return config.parse(LoraTraining, ["--config", str(config_file), *flags], "train_lora", "", defaults)

    old = parsed()
    assert (old.self_rollout, old.self_rollout_from) == (0.4, 20)
    assert parsed("--own-steps", "3").self_rollout_steps == 3
    assert parsed("--own", "0.5").self_rollout == 0.5 == parsed("--self-rollout", "0.5").self_rollout
    assert config.identity(old)["own"] == "0.4"
    config_file.write_text(config_file.read_text() + "self_rollout: 0.4\n")
    with pytest.raises(SettingError, match="own is the older name of self_rollout"):
        parsed()
