"""Metrics: closed forms, properties, and agreement with the reference implementations on shared random weights."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from PIL import Image

from eval.backbones import Backbone, load_backbone, standard_of
from eval.metrics import fid, perceptual, ssim, style
from stylekit.errors import StyleError
from stylekit.features import load_vgg
from stylekit.images import to_tensor

WITHIN = 1e-4


@pytest.fixture(scope="module")
def pictures() -> torch.Tensor:
    """(4, 3, 64, 64) in [-1, 1]: random blobs, none like another."""
    noise = torch.rand(4, 3, 12, 12, generator=torch.Generator().manual_seed(1))
    return torch.nn.functional.interpolate(noise, (64, 64), mode="bicubic").clamp(0, 1) * 2 - 1


@pytest.fixture(scope="module")
def backbone() -> Backbone:
    return load_backbone("embedded")


def gaussian(n: int, d: int, shift: float = 0.0, scale: float = 1.0, seed: int = 0) -> torch.Tensor:
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) * scale + shift


def test_fid_of_gaussians_in_closed_form() -> None:
    eye = torch.eye(5, dtype=torch.float64)
    a = fid.FeatureStats(mu=torch.zeros(5, dtype=torch.float64), sigma=eye, n=9)
    b = fid.FeatureStats(mu=torch.full((5,), 2.0, dtype=torch.float64), sigma=9 * eye, n=9)
    assert fid.frechet_distance(a, b) == pytest.approx(5 * 4 + 5 * (3 - 1) ** 2)
    assert fid.frechet_distance(a, a) == 0


def test_fid_is_symmetric_real_and_grows_with_the_shift() -> None:
    few = [fid.FeatureStats.of(gaussian(6, 40, shift=shift, seed=i)) for i, shift in enumerate((0, 1, 2))]  # covariances of rank 5
    assert fid.frechet_distance(few[0], few[1]) == pytest.approx(fid.frechet_distance(few[1], few[0]), rel=1e-6)
    assert 0 < fid.frechet_distance(few[0], few[1]) < fid.frechet_distance(few[0], few[2])
    assert fid.frechet_distance(few[0], few[0]) == pytest.approx(0, abs=1e-6)


def test_fid_agrees_with_pytorch_fid() -> None:
    reference = pytest.importorskip("pytorch_fid.fid_score").calculate_frechet_distance
    for n in (20, 400):
        x, y = gaussian(n, 16, seed=1), gaussian(n + 7, 16, shift=0.3, scale=1.7, seed=2)
        ours = fid.frechet_distance(fid.FeatureStats.of(x), fid.FeatureStats.of(y))
        theirs = reference(x.mean(0).numpy(), np.cov(x.numpy().T), y.mean(0).numpy(), np.cov(y.numpy().T))
        assert ours == pytest.approx(theirs, rel=WITHIN)


def test_fid_of_small_sets_is_biased_upwards_and_kid_is_not() -> None:
    fids, kids = [], []
    for seed in range(8):
        x, y = gaussian(20, 16, seed=2 * seed), gaussian(20, 16, seed=2 * seed + 1)
        fids.append(fid.frechet_distance(fid.FeatureStats.of(x), fid.FeatureStats.of(y)))
        kids.append(fid.kernel_distance(x, y, subsets=1, size=20)[0])
    assert min(fids) > 1
    assert abs(np.mean(kids)) < 2 * np.std(kids)


def test_kid_agrees_with_torchmetrics() -> None:
    image = pytest.importorskip("torchmetrics.image.kid")
    x, y = gaussian(30, 12, seed=1), gaussian(30, 12, shift=0.5, seed=2)
    ours, spread = fid.kernel_distance(x, y, subsets=3, size=30)
    assert ours == pytest.approx(float(image.poly_mmd(x, y)), rel=WITHIN)
    assert spread == pytest.approx(0, abs=1e-9)  # every subset is the whole set


def test_kid_orders_sets_and_refuses_what_it_cannot_do() -> None:
    x, near, far = gaussian(40, 8), gaussian(40, 8, shift=0.5, seed=1), gaussian(40, 8, shift=1, seed=2)
    assert fid.kernel_distance(x, near)[0] < fid.kernel_distance(x, far)[0]
    assert fid.kernel_distance(x, near) == fid.kernel_distance(x, near)  # seeded
    with pytest.raises(StyleError, match="subsets of 2 to 40"):
        fid.kernel_distance(x, near, size=41)
    with pytest.raises(StyleError, match="two or more"):
        fid.FeatureStats.of(x[:1])


@pytest.mark.parametrize("net", ["squeeze", "alex"])
def test_lpips_agrees_with_lpips(net: str, pictures: torch.Tensor) -> None:
    """Our formula on the features of lpips' own network (random) and its learned heads."""
    lpips = pytest.importorskip("lpips")
    torch.manual_seed(0)
    reference = lpips.LPIPS(net=net, pnet_rand=True, verbose=False).eval()
    heads = {str(i): lin.model[1].weight.detach().flatten() for i, lin in enumerate(reference.lins)}
    x, y = pictures[:2], pictures[2:]

    def features(pixels: torch.Tensor) -> dict[str, torch.Tensor]:
        return {str(i): f for i, f in enumerate(reference.net(reference.scaling_layer(pixels)))}

    with torch.no_grad():
        ours, theirs = perceptual.lpips_distance(features(x), features(y), heads), reference(x, y).flatten()
    assert theirs.min() > 0
    torch.testing.assert_close(ours, theirs, atol=0, rtol=WITHIN)


@pytest.mark.slow
def test_the_embedded_lpips_is_lpips_of_the_layers_it_has(pictures: torch.Tensor) -> None:
    """The same VGG16 in lpips and in ours: the sum over all layers but the last is equal, calibrated or not."""
    lpips = pytest.importorskip("lpips")
    torch.manual_seed(0)
    reference = lpips.LPIPS(net="vgg", pnet_rand=True, verbose=False).eval()
    vgg = load_vgg("random", "4_3")
    body = [layer for part in range(1, 6) for layer in getattr(reference.net, f"slice{part}") if isinstance(layer, torch.nn.Conv2d)]
    for ours, theirs in zip(vgg.convs.values(), body, strict=False):
        ours.load_state_dict(theirs.state_dict())
    vgg.input_scale.copy_(1 / reference.scaling_layer.scale.flatten())
    vgg.input_shift.copy_((-reference.scaling_layer.shift / reference.scaling_layer.scale).flatten())
    vgg.calibrate([pictures])
    layers = ("1_2", "2_2", "3_3", "4_3")
    heads = {layer: lin.model[1].weight.detach().flatten() for layer, lin in zip(layers, reference.lins, strict=False)}
    from eval.backbones import _of_one_network

    made = _of_one_network("random", "", vgg, heads)
    x, y = pictures[:2], pictures[2:]
    with torch.no_grad():
        total, parts = reference(x, y, retPerLayer=True)
        torch.testing.assert_close(made.lpips(x, y, vgg(x), vgg(y)), (total - parts[-1]).flatten(), atol=0, rtol=WITHIN)


@pytest.mark.parametrize("name", ["lpips", "content_loss", "cfsd", "style_loss"])
def test_distances_of_a_picture_to_itself_are_zero_and_grow_with_noise(name: str, backbone: Backbone, pictures: torch.Tensor) -> None:
    def distance(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        a, b = backbone.vgg(x), backbone.vgg(y)
        if name == "lpips":
            return backbone.lpips(x, y, a, b)
        if name == "content_loss":
            return perceptual.content_loss(a["4_2"], b["4_2"])
        if name == "cfsd":
            return perceptual.cfsd(a["3_1"], b["3_1"])
        return style.style_loss(style.grams(a, ("1_1", "3_1")), style.grams(b, ("1_1", "3_1")))

    noise = torch.randn(pictures.shape, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        same = distance(pictures, pictures)
        little, much = (distance((pictures + amount * noise).clamp(-1, 1), pictures) for amount in (0.1, 0.6))
    assert same.shape == (len(pictures),)
    assert same.abs().max() < 1e-7
    assert (little < much).all()
    assert (little > 0).all()


def test_content_loss_and_style_loss_in_closed_form() -> None:
    ones, threes = torch.ones(2, 4, 5, 6), torch.full((2, 4, 5, 6), 3.0)
    assert perceptual.content_loss(ones, threes).tolist() == [4, 4]
    grams = [style.grams({"a": x}, ("a",)) for x in (ones, threes)]
    assert torch.equal(grams[1]["a"], torch.full((2, 4, 4), 9.0))
    assert style.style_loss(*grams).tolist() == [64, 64]
    assert style.style_loss(grams[0], {"a": grams[1]["a"][0]}).tolist() == [64, 64]


def test_gram_matrices_forget_where_things_are_and_cfsd_does_not() -> None:
    feature = torch.rand(1, 8, 6, 6, generator=torch.Generator().manual_seed(3)) * 3
    moved = feature.flatten(2)[:, :, torch.randperm(36, generator=torch.Generator().manual_seed(4))].view_as(feature)
    assert style.style_loss(*(style.grams({"a": x}, ("a",)) for x in (feature, moved))).item() == pytest.approx(0, abs=1e-9)
    assert perceptual.cfsd(feature, moved).item() > 0.1


def test_cfsd_in_closed_form() -> None:
    """Two patches of one channel: softmax of (1, 0) and of (4, 0) in the first row, all even in the second."""
    x, y = torch.tensor([1.0, 0.0]).view(1, 1, 1, 2), torch.tensor([2.0, 0.0]).view(1, 1, 1, 2)
    p, q = (math.exp(v) / (1 + math.exp(v)) for v in (4, 1))  # of y, which is the content, and of x
    expected = (p * math.log(p / q) + (1 - p) * math.log((1 - p) / (1 - q))) / 2
    assert perceptual.cfsd(x, y).item() == pytest.approx(expected, rel=1e-5)


def test_ssim_agrees_with_torchmetrics_and_is_one_for_itself(pictures: torch.Tensor) -> None:
    functional = pytest.importorskip("torchmetrics.functional.image")
    x, y = pictures[0], (pictures[0] + 0.3 * pictures[1]).clamp(-1, 1)
    pair = (y[None] + 1) / 2, (x[None] + 1) / 2
    _, values = functional.structural_similarity_index_measure(*pair, sigma=1.5, data_range=1.0, return_full_image=True)
    # the mean of where the window lies inside, as Wang's: the border that torchmetrics counts too is padding
    assert ssim.ssim(x, y) == pytest.approx(float(values[..., 5:-5, 5:-5].mean()), abs=WITHIN)
    assert ssim.ssim(x, x) == 1
    assert ssim.ssim(x, pictures[2]) < ssim.ssim(x, y) < 1
    with pytest.raises(StyleError, match="one size"):
        ssim.ssim(x, y[:, 1:])


def test_ssim_does_not_take_its_range_from_the_pictures(pictures: torch.Tensor) -> None:
    x, y = pictures[0], pictures[0] * 0.9
    assert ssim.ssim(x / 10, y / 10) > ssim.ssim(x, y) + 0.001  # dull pictures differ less; a range of their own would hide it


def test_colour_distance_in_closed_form() -> None:
    def plain(colour: tuple[int, int, int]) -> fid.FeatureStats:
        return style.lab_stats(to_tensor(Image.new("RGB", (8, 8), colour))[0])

    assert style.colour_distance(plain((0, 0, 0)), plain((255, 255, 255))) == pytest.approx(100, abs=1e-3)
    assert style.colour_distance(plain((200, 30, 30)), plain((200, 30, 30))) == pytest.approx(0, abs=1e-6)


def test_the_line_to_a_style_runs_from_photos_to_art() -> None:
    photos, art = gaussian(200, 5), gaussian(150, 5, seed=1) + torch.tensor([2.0, 1, 0, 0, 0])
    line = style.style_axis(photos, art)
    assert float(line.reached(photos).mean()) == pytest.approx(0, abs=1e-9)
    assert float(line.reached(art).mean()) == pytest.approx(1, abs=1e-9)
    # with spread alike in all directions the best line is the straight one
    assert torch.nn.functional.cosine_similarity(line.direction, art.mean(0) - photos.mean(0), dim=0) > 0.99


def test_the_line_to_a_style_does_not_see_a_codec() -> None:
    photos, art = gaussian(200, 5), gaussian(150, 5, seed=1) + torch.tensor([2.0, 1, 0, 0, 0])
    shifts = gaussian(200, 5, scale=0.02, seed=2) + torch.tensor([0.0, 0.5, 0, 0, 0])  # half the way in one of the two directions
    blind, plain = style.style_axis(photos, art, shifts), style.style_axis(photos, art)
    assert float(plain.reached(photos + shifts).mean()) > 0.08
    assert float(blind.reached(photos + shifts).mean()) == pytest.approx(0, abs=0.01)
    assert float(blind.reached(art).mean()) == pytest.approx(1, abs=1e-9)


def test_art_fid() -> None:
    assert style.art_fid(0, 0) == 1
    assert style.art_fid(0.5, 19) == 30


def test_the_standard_backbone_runs_on_the_real_classes(pictures: torch.Tensor) -> None:
    """lpips' AlexNet and pytorch-fid's Inception with random weights."""
    lpips = pytest.importorskip("lpips")
    inception = pytest.importorskip("pytorch_fid.inception")
    torchvision = pytest.importorskip("torchvision")
    torch.manual_seed(0)
    distance = lpips.LPIPS(net="alex", pnet_rand=True, verbose=False).eval()
    network = torchvision.models.inception_v3(weights=None, aux_logits=False, init_weights=False, transform_input=False).eval()
    assert inception.InceptionV3.BLOCK_INDEX_BY_DIM[2048] == 3
    standard = standard_of(load_vgg("random", "4_3"), distance, Pool(network), [pictures[:1]])
    assert standard.standard
    with torch.no_grad():
        features = standard.vgg(pictures)
        assert standard.embed(pictures, features).shape == (4, 2048)
        torch.testing.assert_close(standard.lpips(pictures, pictures.flip(0), {}, {}), distance(pictures, pictures.flip(0)).flatten())


class Pool(torch.nn.Module):
    """torchvision's Inception in the shape of pytorch-fid's: a list with the pooled features."""

    def __init__(self, network: torch.nn.Module) -> None:
        super().__init__()
        self.network = network
        self.network.fc = torch.nn.Identity()  # type: ignore[assignment]

    def forward(self, pixels: torch.Tensor) -> list[torch.Tensor]:
        small = torch.nn.functional.interpolate(pixels, (299, 299), mode="bilinear", align_corners=False)
        return [self.network(2 * small - 1)[:, :, None, None]]
