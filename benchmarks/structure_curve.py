"""The structure dial, measured: how like the photo, and how unlike the style, along the dial. The strength dial stands beside it.

    python benchmarks/structure_curve.py --photos FOLDER [--count 12] [--plot docs/structure_curve.png]

Likeness to the photo is SSIM of luma (Wang et al. 2004, https://doi.org/10.1109/TIP.2003.819861). Loss of style is the distance of the
Gram matrices (Gatys et al. 2016) to those of the full style's picture, each divided by the full style's, averaged over the layers of
`stylekit.features`, in units of the photo's own distance: 0 is the full style, 1 is no more of it than the photo has.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import torch  # noqa: E402
from matplotlib.figure import Figure  # noqa: E402
from PIL import Image  # noqa: E402

from stylekit.features import VGGFeatures, gram_matrix, load_vgg  # noqa: E402
from stylekit.formats import list_pictures  # noqa: E402
from stylekit.images import open_picture, to_tensor  # noqa: E402
from stylekit.mix import StyleMix  # noqa: E402
from stylekit.pixels.filters import blur, luminance  # noqa: E402
from stylekit.pixels.structure import keep_structure  # noqa: E402
from stylekit.recipe import Recipe  # noqa: E402
from stylekit.stylizer import Stylizer  # noqa: E402

DIAL = (0.0, 0.25, 0.5, 0.75, 1.0)
STRENGTHS = (0.75, 0.5, 0.25)

Point = tuple[float, float]  # (SSIM to the photo, loss of style)


def ssim(a: torch.Tensor, b: torch.Tensor) -> float:
    """Structural similarity of two pictures (1, 3, H, W) in [-1, 1]; Gaussian windows of 1.5 pixels."""
    x, y = (luminance(p) / 2 + 0.5 for p in (a, b))
    mx, my, mxx, myy, mxy = (blur(v, 1.5) for v in (x, y, x * x, y * y, x * y))
    c1, c2 = 0.01**2, 0.03**2
    alike = (2 * mx * my + c1) * (2 * (mxy - mx * my) + c2)
    return float((alike / ((mx * mx + my * my + c1) * (mxx - mx * mx + myy - my * my + c2))).mean())


def grams(vgg: VGGFeatures, picture: torch.Tensor) -> list[torch.Tensor]:
    return [gram_matrix(feature) for feature in vgg(picture).values()]


def gram_distance(a: list[torch.Tensor], b: list[torch.Tensor]) -> float:
    return statistics.fmean(float((x - y).pow(2).sum() / y.pow(2).sum()) for x, y in zip(a, b, strict=True))


def measure(stylizer: Stylizer, vgg: VGGFeatures, photos: list[Image.Image], style: str) -> dict[str, dict[float, Point]]:
    """Dial name -> dial -> mean over `photos`."""
    points: dict[tuple[str, float], list[Point]] = defaultdict(list)
    for photo in photos:
        content = to_tensor(photo)

        def styled(strength: float, photo: Image.Image = photo) -> torch.Tensor:
            return to_tensor(stylizer.stylize(photo, Recipe(mix=StyleMix.of(style), strength=strength)).image)

        full = styled(1.0)
        art = grams(vgg, full)
        unit = gram_distance(grams(vgg, content), art)
        pictures = {("structure", dial): keep_structure(full, content, dial).clamp(-1, 1) for dial in DIAL}
        pictures |= {("strength", dial): styled(dial) for dial in STRENGTHS}
        for key, picture in pictures.items():
            points[key].append((ssim(picture, content), gram_distance(grams(vgg, picture), art) / unit))
        points["strength", 1.0].append(points["structure", 0.0][-1])
    means: dict[str, dict[float, Point]] = defaultdict(dict)
    for (name, dial), values in points.items():
        means[name][dial] = (statistics.fmean(v[0] for v in values), statistics.fmean(v[1] for v in values))
    return means


def draw(curves: dict[str, dict[str, dict[float, Point]]], path: Path, note: str) -> None:
    figure = Figure(figsize=(4.2 * len(curves), 4), layout="constrained")
    for axes, (style, dials) in zip(figure.subplots(1, len(curves), squeeze=False)[0], curves.items(), strict=True):
        for name, marker in (("structure", "o"), ("strength", "s")):
            dial = sorted(dials[name].items(), reverse=name == "strength")
            axes.plot([p[0] for _, p in dial], [p[1] for _, p in dial], marker=marker, label=f"{name} dial")
            for value, point in dial:
                axes.annotate(f"{value:g}", point, textcoords="offset points", xytext=(5, -10), fontsize=8)
        axes.set(title=style, xlabel="SSIM to the photo", ylabel="loss of style (1 = the photo)", ylim=(-0.02, None))
        axes.grid(alpha=0.3)
        axes.legend()
    figure.suptitle(note, fontsize=9)
    figure.savefig(path, dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure and draw the structure dial.")
    parser.add_argument("--photos", type=Path, required=True, help="folder of photos; those of the held-out list are used if it has any")
    parser.add_argument("--count", type=int, default=12, help="how many of them")
    parser.add_argument("--side", type=int, default=384, help="long side in pixels")
    parser.add_argument("--styles", nargs="+", default=["sketch", "ukiyoe"])
    parser.add_argument("--backbone", default="hed", help="of stylekit.features")
    parser.add_argument("--plot", type=Path, help="where to draw the curves")
    args = parser.parse_args()
    held_out = {int(line) for line in (ROOT / "assets" / "pocket" / "held_out.txt").read_text().split()}
    files = list_pictures(args.photos, deep=False)
    coco = {int(p.stem[-12:]): p for p in files if p.stem[-12:].isdigit()}  # COCO names end in twelve digits
    chosen = [coco[i] for i in sorted(held_out & set(coco))] or files
    chosen = chosen[:: max(1, len(chosen) // args.count)][: args.count]
    photos = []
    for path in chosen:
        photo = open_picture(path)
        photo.thumbnail((args.side, args.side), Image.Resampling.LANCZOS)
        photos.append(photo)
    vgg = load_vgg(args.backbone).calibrate([to_tensor(photo) for photo in photos])
    stylizer = Stylizer.open()
    curves = {}
    with torch.inference_mode():
        for style in args.styles:
            curves[style] = measure(stylizer, vgg, photos, style)
            print(style, json.dumps(curves[style]), flush=True)
    if args.plot:
        draw(curves, args.plot, f"{len(photos)} held-out photos at {args.side} px, backbone {args.backbone}")


if __name__ == "__main__":
    main()
