"""What training is made of: networks at their start, losses, features, procedures, data sets that keep their photos apart."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional as F

from stylekit.features import VGGFeatures, gram_matrix, load_vgg
from stylekit.sampling import add_noise, predicted_sample
from stylekit.storage.paths import ROOT
from training.objective import losses
from training.pictures import data
from training.pocket import autoencoder
from training.pocket.unet import build_unet
from training.targets.procedural import PROCEDURES
from training.train_pocket import draw_timesteps, linear_error, make_scheduler

PHOTOS = ROOT / "assets" / "photos"


def test_the_autoencoder_starts_as_the_pca_codec() -> None:
    torch.manual_seed(0)
    pixels = F.interpolate(torch.rand(2, 3, 12, 16) * 1.6 - 0.8, scale_factor=4, mode="bicubic")
    patches = autoencoder.patches_of(pixels)
    mean, components, std = autoencoder.principal_components(torch.cat(list(patches.flatten(2)), 1).T)
    std = std.clamp_min(1e-3)
    vae = autoencoder.build_autoencoder(mean, components, std).eval()
    with torch.no_grad():
        latents = autoencoder.encode(vae, pixels)
        assert torch.allclose(latents, autoencoder.project(vae, pixels), atol=1e-4)
        k = components[: autoencoder.LATENT_CHANNELS].float()
        centred = patches - mean.float()[:, None, None]
        linear = torch.einsum("kd,nkhw->ndhw", k, torch.einsum("kd,ndhw->nkhw", k, centred)) + mean.float()[:, None, None]
        for _ in range(3):
            linear = F.pixel_shuffle(linear, 2)
        assert torch.allclose(autoencoder.decode(vae, latents), linear, atol=0.05)


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


def test_the_style_loss_of_a_batch_is_the_mean_of_its_pictures() -> None:
    torch.manual_seed(0)
    vgg = load_vgg("random", last="1_2")
    grams = losses.mean_grams(vgg(torch.rand(1, 3, 16, 16)))
    both = torch.rand(2, 3, 16, 16)
    each = [losses.style_loss(vgg(one[None]), grams) for one in both]
    assert torch.allclose(losses.style_loss(vgg(both), grams), torch.stack(each).mean())
    assert torch.allclose(losses.style_loss(vgg(both), grams, torch.tensor([1.0, 0.0])), each[0] / 2)


@pytest.mark.parametrize("gamma", [5.0, 1.0])
def test_min_snr_weighs_every_prediction_type_alike(gamma: float) -> None:
    """The same guess at the clean latents costs the same whatever the model predicts, min(SNR, gamma) times its squared error."""
    torch.manual_seed(0)
    alphas = torch.tensor([0.999, 0.9, 0.5, 0.05])
    columns = alphas.view(-1, 1)
    clean, noise, guess = torch.randn(3, 4, 1000, dtype=torch.float64)
    noisy = add_noise(clean, noise, columns)
    wanted = (alphas / (1 - alphas)).clamp_max(gamma) * (guess - clean).pow(2).mean(1)
    for kind in ("sample", "epsilon", "v_prediction"):
        # the prediction that stands for `guess`: the one a perfect model would make if `guess` were the clean latents
        its_noise = (noisy - columns.sqrt() * guess) / (1 - columns).sqrt()
        prediction = losses.prediction_target(guess, its_noise, columns, kind)
        assert torch.allclose(predicted_sample(prediction, noisy, columns, kind), guess, atol=1e-4)
        error = (prediction - losses.prediction_target(clean, noise, columns, kind)).pow(2).mean(1)
        assert torch.allclose(losses.min_snr_weights(alphas, kind, gamma) * error, wanted, rtol=1e-4), kind
        assert torch.equal(losses.min_snr_weights(alphas, kind, 0), torch.ones(4))


def test_calibration_gives_every_channel_an_equal_say() -> None:
    torch.manual_seed(0)
    vgg = load_vgg("random", last="1_2")
    pictures = [torch.rand(1, 3, 24, 24) * 2 - 1 for _ in range(3)]

    def powers() -> dict[str, torch.Tensor]:
        return {name: torch.stack([vgg(p)[name].pow(2).mean((0, 2, 3)) for p in pictures]).mean(0) for name in vgg.convs}

    before = powers()
    vgg.calibrate(pictures)
    after = powers()
    assert list(after) == ["1_1", "1_2"]
    for name, power in after.items():
        alive = before[name] > 1e-3 * before[name].max()  # some channels of random weights answer to nothing
        assert alive.sum() > 32
        assert (before[name][alive] - 1).abs().max() > 0.1  # there was something to do
        torch.testing.assert_close(power[alive], torch.ones_like(power[alive]), atol=1e-3, rtol=0)


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
