"""Training on the real pocket base: train -> save -> load -> one picture; resume equals the uninterrupted run."""

from __future__ import annotations

import math
import random
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional as F

from stylekit.adapters import read_lora
from stylekit.base import Base
from stylekit.errors import SettingError, StyleError, UnknownStyleError
from stylekit.features import VGGFeatures, gram_matrix, load_vgg
from stylekit.recipe import Recipe
from stylekit.styles import StyleLibrary
from stylekit.stylizer import Stylizer
from training import config, data, loop, losses, pocket_autoencoder, train_lora
from training.pairs import load_pairs
from training.pocket_unet import build_unet
from training.procedural import PROCEDURES
from training.train_lora import LoraTraining
from training.train_pocket import draw_timesteps, linear_error, make_scheduler

ROOT = Path(__file__).resolve().parent.parent
PHOTOS = ROOT / "assets" / "photos"


def settings(folder: Path, **changes: object) -> LoraTraining:
    values: dict[str, object] = {
        "style": "test",
        "photos": PHOTOS,
        "targets": "procedure:sketch",
        "out": folder / "out",
        "work": folder / "work",
        "steps": 6,
        "batch": 1,
        "crop": 16,
        "rank": 2,
        "fine_rank": 3,
        "limit": 2,
        "save_every": 3,
        "lr": 1e-3,
        "backbone": "random",
    }
    return LoraTraining(**(values | changes))  # type: ignore[arg-type]


def weights(path: Path) -> dict[str, torch.Tensor]:
    return {f"{m}.{i}": t for m, pair in read_lora(path).modules.items() for i, t in enumerate(pair)}


CARD = 'title = "T"\nblurb = "b"\nlicense = "MIT"\n[[adapters]]\nbase = "pocket"\nfile = "{file}"\nmade = "m"\ndata = "d"\n'


def test_train_save_load_and_one_picture(tmp_path: Path, photo: Image.Image) -> None:
    path = train_lora.train(settings(tmp_path, steps=12, lr=5e-3, perceptual=0.1, contrast=0.1, polish_from=9, polish_batch=1))
    style = tmp_path / "styles" / "test"
    style.mkdir(parents=True)
    path.rename(style / path.name)
    (style / "style.toml").write_text(CARD.format(file=path.name))
    stylizer = Stylizer(Base.open(device="cpu"), StyleLibrary.open(tmp_path / "styles"))
    plain = np.asarray(stylizer.stylize(photo, Recipe()).image, float)
    styled = np.asarray(stylizer.stylize(photo, Recipe(mix="test")).image, float)  # type: ignore[arg-type]
    assert styled.shape == plain.shape
    assert np.abs(styled - plain).mean() > 0.5


def test_training_lowers_the_loss(tmp_path: Path) -> None:
    chosen = settings(tmp_path, steps=40, lr=3e-3, batch=2)
    base = Base.open(device="cpu")
    pairs = load_pairs(base, data.list_pictures(PHOTOS)[:2], chosen.targets, 0, chosen.work, chosen.crop)
    values = [step.loss for step in train_lora.training_steps(base, chosen, pairs, None, {})]
    assert len(values) == 40
    assert np.mean(values[-10:]) < 0.8 * np.mean(values[:5])


def test_resume_equals_the_uninterrupted_run_bit_for_bit(tmp_path: Path) -> None:
    whole = weights(train_lora.train(settings(tmp_path / "whole")))
    chosen = settings(tmp_path / "cut")
    base = Base.open(device="cpu")
    pairs = load_pairs(base, data.list_pictures(PHOTOS)[:2], chosen.targets, 0, chosen.work, chosen.crop)
    for step in train_lora.training_steps(base, chosen, pairs, None, {}):
        if step.step == 5:  # killed after the checkpoint at 3 and before the next
            break
    resumed = weights(train_lora.train(chosen))
    assert resumed.keys() == whole.keys()
    assert all(torch.equal(resumed[k], whole[k]) for k in whole)


def test_a_work_folder_of_another_run_is_refused(tmp_path: Path) -> None:
    train_lora.train(settings(tmp_path, steps=3))
    before = (tmp_path / "work" / loop.STATE_FILE).read_bytes()
    with pytest.raises(StyleError, match="another base, data or settings"):
        train_lora.train(settings(tmp_path, steps=3, lr=1e-4))
    assert (tmp_path / "work" / loop.STATE_FILE).read_bytes() == before


def test_nan_stops_with_the_last_good_checkpoint(tmp_path: Path) -> None:
    parameter = torch.nn.Parameter(torch.ones(2))

    def compute(step: int, rng: random.Random, generator: torch.Generator) -> tuple[torch.Tensor, dict[str, float]]:
        return parameter.sum() * (float("nan") if step == 5 else 1.0), {}

    run = loop.run([parameter], compute, steps=9, lr=0.1, warmup=0, seed=0, folder=tmp_path, fingerprint="x", save_every=2)
    with pytest.raises(loop.LossIsNaN, match="step 5"):
        list(run)
    assert torch.load(tmp_path / loop.STATE_FILE, weights_only=True)["step"] == 4


def test_a_full_disk_keeps_the_old_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parameter = torch.nn.Parameter(torch.ones(2))
    optimizer = torch.optim.Adam([parameter])
    arguments = ([parameter], optimizer, random.Random(0), torch.Generator(), "x")
    path = tmp_path / loop.STATE_FILE
    loop.save(path, 1, *arguments)
    before = path.read_bytes()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(loop.torch, "save", full)
    with pytest.raises(StyleError, match="free some space"):
        loop.save(path, 2, *arguments)
    assert path.read_bytes() == before


def test_data_that_cannot_be_used_is_told(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(StyleError, match="holds no training photos"):
        train_lora.train(settings(tmp_path, photos=tmp_path / "empty"))
    with pytest.raises(UnknownStyleError, match="procedure:crayon"):
        train_lora.train(settings(tmp_path, targets="procedure:crayon"))
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "a.jpg").write_bytes(b"no")
    Image.new("RGB", (64, 64)).save(tmp_path / "bad" / "b.png")
    with pytest.raises(StyleError, match="No training pair is left"):
        train_lora.train(settings(tmp_path, photos=tmp_path / "bad", work=tmp_path / "w2", crop=32))


def test_configuration_is_strict(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text("style: fog\ntargets: procedure:sketch\nphotos: p\nout: o\nrank: 4\n")
    got = config.parse(LoraTraining, ["--config", str(path), "--lr", "0.01", "--limit", "none"], "x", "y")
    assert (got.style, got.rank, got.lr, got.limit, got.photos) == ("fog", 4, 0.01, None, Path("p"))
    for text, word in (
        ("rnak: 4", "rnak"),
        ("rank: four", "rank"),
        ("rank: 1.5", "rank"),
        ("- a", "not a list"),
        ("rank: 0", "at least 1"),
    ):
        path.write_text(f"style: fog\ntargets: t\nphotos: p\nout: o\n{text}\n" if not text.startswith("-") else text)
        with pytest.raises(SettingError, match=word):
            config.parse(LoraTraining, ["--config", str(path)], "x", "y")
    with pytest.raises(SettingError, match="missing"):
        config.parse(LoraTraining, ["--style", "fog"], "x", "y")


def test_every_configuration_in_the_repository_is_valid() -> None:
    paths = sorted((ROOT / "training" / "configs").glob("*.yaml"))
    assert paths
    for path in paths:
        got = config.parse(LoraTraining, ["--config", str(path), "--photos", "p", "--out", "o", "--style-pictures", "s"], "x", "y")
        assert got.style == path.stem


def test_the_command_tells_mistakes_in_one_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    assert train_lora.main(["--style", "a", "--photos", "none", "--out", "o", "--targets", "procedure:sketch", "--rank", "0"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("train_lora: rank is 0")
    assert "Traceback" not in error


def test_the_autoencoder_starts_as_the_pca_codec() -> None:
    torch.manual_seed(0)
    pixels = F.interpolate(torch.rand(2, 3, 12, 16) * 1.6 - 0.8, scale_factor=4, mode="bicubic")
    patches = pocket_autoencoder.patches_of(pixels)
    mean, components, std = pocket_autoencoder.principal_components(torch.cat(list(patches.flatten(2)), 1).T)
    std = std.clamp_min(1e-3)
    vae = pocket_autoencoder.build_autoencoder(mean, components, std).eval()
    with torch.no_grad():
        latents = pocket_autoencoder.encode(vae, pixels)
        assert torch.allclose(latents, pocket_autoencoder.project(vae, pixels), atol=1e-4)
        k = components[: pocket_autoencoder.LATENT_CHANNELS].float()
        centred = patches - mean.float()[:, None, None]
        linear = torch.einsum("kd,nkhw->ndhw", k, torch.einsum("kd,ndhw->nkhw", k, centred)) + mean.float()[:, None, None]
        for _ in range(3):
            linear = F.pixel_shuffle(linear, 2)
        assert torch.allclose(pocket_autoencoder.decode(vae, latents), linear, atol=0.05)


def test_the_denoiser_starts_as_the_identity() -> None:
    latents = torch.randn(1, 32, 16, 16)
    with torch.no_grad():
        out = build_unet()(latents, 20, encoder_hidden_states=torch.randn(1, 8, 64)).sample
    assert float((out - latents).pow(2).mean() / latents.pow(2).mean()) < 0.1


def test_linear_error_is_the_wiener_filter() -> None:
    torch.manual_seed(0)
    alphas = make_scheduler().alphas_cumprod
    signal, noise = torch.randn(2, 200_000) * torch.tensor([[1.5], [1.0]])
    alpha = alphas[300]
    noisy = alpha.sqrt() * signal + (1 - alpha).sqrt() * noise
    best = (signal @ noisy) / (noisy @ noisy)
    expected = float((best * noisy - signal).pow(2).mean())
    assert math.isclose(float(linear_error(torch.tensor([2.25]), alphas)[300]), expected, rel_tol=0.02)


def test_timesteps_lean_to_low_noise() -> None:
    drawn = draw_timesteps(20_000, torch.Generator().manual_seed(0))
    assert 0 <= int(drawn.min()) <= int(drawn.max()) < 1000
    assert 0.48 < float((drawn < 80).float().mean()) < 0.58


def test_gram_matrix_closed_form() -> None:
    feature = torch.tensor([[[[1.0, 2.0]], [[3.0, 4.0]]]])
    assert torch.equal(gram_matrix(feature)[0], torch.tensor([[2.5, 5.5], [5.5, 12.5]]))


def test_losses_are_zero_for_equal_and_grow_with_difference() -> None:
    torch.manual_seed(0)
    vgg = load_vgg("random", last="2_1")
    a = torch.rand(1, 3, 32, 32) * 2 - 1
    near, far = (a + 0.05 * torch.randn_like(a)).clamp(-1, 1), torch.rand(1, 3, 32, 32) * 2 - 1
    fa, fn, ff = vgg(a), vgg(near), vgg(far)
    assert float(losses.perceptual_loss(fa, fa)) == 0
    assert float(losses.perceptual_loss(fa, fn)) < float(losses.perceptual_loss(fa, ff))
    grams = losses.mean_grams(fa)
    assert float(losses.style_loss(fa, grams)) == 0
    shuffled = {k: v.flatten(2)[..., torch.randperm(v[0, 0].numel())].view_as(v) for k, v in fa.items()}
    assert float(losses.style_loss(shuffled, grams)) < 1e-6  # style does not know where
    assert float(losses.style_loss(vgg(a * 0.2), grams)) > 1e-3
    assert float(losses.contrast_loss(a, a)) == 0
    assert float(losses.contrast_loss(a * 0.5, a)) > 0


def test_calibration_gives_every_channel_an_equal_say() -> None:
    torch.manual_seed(0)
    vgg = load_vgg("random", last="1_2")
    pictures = [torch.rand(1, 3, 24, 24) * 2 - 1 for _ in range(3)]
    vgg.calibrate(pictures)
    for name in vgg.convs:
        power = torch.stack([vgg(p)[name].pow(2).mean((0, 2, 3)) for p in pictures]).mean(0)
        alive = power > 0.9
        assert torch.allclose(power[alive], torch.ones_like(power[alive]), atol=1e-3)


def test_vgg_is_torchvisions_network() -> None:
    """Same weights, same features, where torchvision is installed."""
    torchvision = pytest.importorskip("torchvision", reason="torchvision is optional")
    torch.manual_seed(0)
    body = torchvision.models.vgg16(weights=None).features.eval()
    ours = VGGFeatures("3_1")
    for conv, source in zip(ours.convs.values(), [m for m in body if isinstance(m, torch.nn.Conv2d)], strict=False):
        conv.load_state_dict(source.state_dict())
    x = torch.rand(1, 3, 32, 32) * 2 - 1
    assert torch.allclose(ours(x)["3_1"], body[:12](x), atol=1e-5)


@pytest.mark.parametrize("name", sorted(PROCEDURES))
def test_procedures_keep_the_place_and_take_any_size(name: str) -> None:
    photo = np.asarray(Image.open(PHOTOS / "coffee.jpg").convert("RGB").resize((152, 104)))  # whole 8x8 patches mirror
    result = PROCEDURES[name](photo)
    assert result.shape == photo.shape
    assert result.dtype == np.uint8
    assert np.abs(result.astype(float) - photo).mean() > 10
    mirrored = PROCEDURES[name](photo[:, ::-1])
    assert np.abs(mirrored[:, ::-1].astype(float) - result).mean() < 2  # a function of the photo alone, not of position


def test_held_out_photos_are_in_no_training_set(tmp_path: Path) -> None:
    rows = [("a__1.jpg", 1, "val2017"), ("b__1.jpg", 1, "val2017"), ("c__2.jpg", 2, "train2017"), ("d__3.jpg", 3, "val2017")]
    table = tmp_path / "split.tsv"
    table.write_text("file\tcoco_id\tsplit\n" + "".join(f"{f}\t{i}\t{s}\n" for f, i, s in rows))
    for name, _, _ in rows:
        Image.new("RGB", (20, 20)).save(tmp_path / name)
    train, held_out = data.split_photos(tmp_path, table)
    assert [p.name for p in train] == ["c__2.jpg"]
    assert sorted(p.name for p in held_out) == ["a__1.jpg", "d__3.jpg"]
