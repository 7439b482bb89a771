"""Style pictures measured: photos in the manner of single paintings, by stylekit and by the classical network, side by side.

    python -m eval.style_pictures --photos DIR --styles DIR --out DIR

The files in --styles are called by what the report is to call them. Writes report.md, numbers.json and sheet.jpg: a row a photo, and for
each painting the classical network (Ghiasi et al. 2017, https://arxiv.org/abs/1705.06830) beside stylekit. What a person saw in the
pictures stands in notes.md there, if there is one, and goes into the report.
"""

from __future__ import annotations

import argparse
import json
import sys
import textwrap
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from tqdm import tqdm

from eval.backbones import STYLE_LAYERS, Backbone, load_backbone
from eval.methods import ClassicalNetwork
from eval.metrics.ssim import ssim
from eval.metrics.style import colour_distance, grams, lab_stats, style_loss
from eval.references import MEASURE_SIDE
from eval.run import list_photos, machine
from eval.scores import PAINT_SIDE
from eval.table import NOTES_FILE
from stylekit.errors import StyleError
from stylekit.features import moments
from stylekit.images import open_picture, to_tensor, working_size
from stylekit.mix import StyleMix
from stylekit.pixels.contact_sheet import captioned, contact_sheet, within
from stylekit.recipe import Recipe
from stylekit.storage.files import write_whole
from stylekit.style_picture.picture import StylePicture
from stylekit.stylizer import Stylizer

METHODS = ("identity", "classical", "stylekit")
ORDINARY = "vangogh"  # a style of the library, for comparison of seconds
MEASURES = ("lpips", "ssim", "style_loss", "manner", "colour", "seconds")
TITLES = ("LPIPS to content", "SSIM", "style loss", "manner", "colour distance", "seconds")
CELL, HEAD = 200, 120  # pixels of the sheet
LINE = 32  # letters over a column of it
NOTES = """LPIPS, style loss and manner are of the {label}: compare rows of this report only.
*Style loss* is the squared difference of Gram matrices to the painting's, *manner* the root mean square difference of the logarithms of
channel means and deviations; *colour distance* as in docs/evaluation_metrics.md. Lower is nearer, but for SSIM. Seconds are the median of
warm runs at {side} pixels on {machine}; the style {ordinary} took {seconds:.2f} s in the same run, so a painting takes
{ratio:.2f} times that."""

Paint = Callable[[Image.Image], Image.Image]


@dataclass(frozen=True, kw_only=True)
class Pair:
    """One photo in the manner of one painting."""

    photo: str
    painting: str
    method: str
    lpips: float
    ssim: float
    style_loss: float
    manner: float
    colour: float
    seconds: float


def measure(
    photos: Mapping[str, Image.Image], paintings: Mapping[str, Image.Image], engine: Stylizer, backbone: Backbone
) -> Iterator[tuple[Pair, Image.Image]]:
    """Every photo in the manner of every painting by every method: the measures, and the picture."""
    classical = ClassicalNetwork()
    for painting, art in paintings.items():
        look, vector, kept = _look(art, backbone), classical.vector(art), StylePicture.of(art)
        recipe = Recipe(mix=StyleMix.of(kept.name), pictures=(kept,), base=engine.base.name)
        methods: dict[str, Paint] = {
            "identity": lambda photo: photo,
            "classical": lambda photo, vector=vector: classical.paint(photo, vector),  # type: ignore[misc]
            "stylekit": lambda photo, recipe=recipe: engine.stylize(photo, recipe).image,  # type: ignore[misc]
        }
        for paint in methods.values():
            paint(next(iter(photos.values())))
        for name, photo in photos.items():
            content = _look(photo, backbone)
            for method, paint in methods.items():
                started = time.perf_counter()
                picture = paint(photo)
                seconds = time.perf_counter() - started
                ours = _look(picture, backbone)
                yield (
                    Pair(
                        photo=name,
                        painting=painting,
                        method=method,
                        lpips=float(backbone.lpips(ours.pixels, content.pixels, ours.features, content.features)[0]),
                        ssim=ssim(to_tensor(picture)[0], to_tensor(photo)[0]),
                        style_loss=float(style_loss(grams(ours.features, STYLE_LAYERS), grams(look.features, STYLE_LAYERS))[0]),
                        manner=float((ours.moments - look.moments).pow(2).mean().sqrt()),
                        colour=colour_distance(lab_stats(ours.pixels[0]), lab_stats(look.pixels[0])),
                        seconds=seconds,
                    ),
                    picture,
                )


def report(pairs: Sequence[Pair], notes: str, seen: str = "") -> str:
    """Markdown: means over photos for each painting and method, and over all. seen: what the pictures show."""
    lines = ["# Style pictures: paintings that no training saw", "", notes, ""]
    head = "| painting | method | " + " | ".join(TITLES) + " |"
    lines += [head, "|" + "---|" * (len(TITLES) + 2)]
    for painting in [*dict.fromkeys(pair.painting for pair in pairs), "all"]:
        for method in METHODS:
            rows = [pair for pair in pairs if pair.method == method and painting in ("all", pair.painting)]
            values = [float((np.median if key == "seconds" else np.mean)([getattr(row, key) for row in rows])) for key in MEASURES]
            lines.append(f"| {painting} | {method} | " + " | ".join(_short(value) for value in values) + " |")
    lines += ["", "![Twelve photos in the manner of eight paintings, by the classical network and by stylekit](sheet.jpg)", ""]
    if seen:
        lines += ["## What the pictures show", "", seen]
    return "\n".join(lines)


def sheet(
    photos: Mapping[str, Image.Image], paintings: Mapping[str, Image.Image], pictures: Mapping[tuple[str, str, str], Image.Image]
) -> Image.Image:
    """Paintings across, photos down; pictures: (photo, painting, method) -> picture."""
    small = {name: within(photo, CELL) for name, photo in photos.items()}
    head = [Image.new("RGB", (CELL, 1), "white")]
    for title, art in paintings.items():
        blank = Image.new("RGB", (CELL, HEAD), "white")
        picture = blank.copy()
        picture.paste(within(art, HEAD))
        name = "\n".join([*textwrap.wrap(title, LINE), "", ""][:2])
        words = [f"{name}\n{METHODS[1]}", *(f"\n\n{method}" for method in METHODS[2:])]
        head += [captioned(place, text, lines=3) for place, text in zip([picture, blank], words, strict=True)]
    rows = [head]
    for name, photo in small.items():
        made = [pictures[name, painting, method] for painting in paintings for method in METHODS[1:]]
        rows.append([photo, *(picture.resize(photo.size, Image.Resampling.LANCZOS) for picture in made)])
    return contact_sheet(rows)


@dataclass(frozen=True, kw_only=True)
class _Look:
    pixels: torch.Tensor
    features: dict[str, torch.Tensor]
    moments: torch.Tensor


def _look(picture: Image.Image, backbone: Backbone) -> _Look:
    pixels = to_tensor(picture.resize(working_size(picture.size, MEASURE_SIDE), Image.Resampling.LANCZOS)).to(backbone.device)
    with torch.inference_mode():
        features = dict(backbone.vgg(pixels))
        return _Look(pixels=pixels.cpu(), features=features, moments=moments(features, STYLE_LAYERS)[0].cpu())


def _short(value: float) -> str:
    return f"{value:.1f}" if value >= 10 else f"{value:.3f}" if value < 1 else f"{value:.2f}"


def _ordinary_seconds(photos: Mapping[str, Image.Image], engine: Stylizer) -> float:
    recipe = Recipe(mix=StyleMix.of(ORDINARY), base=engine.base.name)
    engine.stylize(next(iter(photos.values())), recipe)
    seconds = []
    for photo in photos.values():
        started = time.perf_counter()
        engine.stylize(photo, recipe)
        seconds.append(time.perf_counter() - started)
    return float(np.median(seconds))


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m eval.style_pictures", description="Photos in the manner of single paintings.")
    parser.add_argument("--photos", type=Path, nargs="+", required=True, help="picture files or folders")
    parser.add_argument("--styles", type=Path, nargs="+", required=True, help="paintings, each called as the report is to call it")
    parser.add_argument("--backbone", default="embedded", help="networks to measure with, as in eval.run")
    parser.add_argument("--out", type=Path, required=True, help="folder for the report")
    args = parser.parse_args(argv)
    try:
        opened = {path.stem: open_picture(path) for path in list_photos(args.photos)}
        photos = {name: photo.resize(working_size(photo.size, PAINT_SIDE), Image.Resampling.LANCZOS) for name, photo in opened.items()}
        paintings = {path.stem.lstrip("0123456789 "): open_picture(path) for path in list_photos(args.styles)}
        engine, backbone = Stylizer.open(), load_backbone(args.backbone)
        pairs, pictures = [], {}
        total = len(photos) * len(paintings) * len(METHODS)
        for pair, picture in tqdm(measure(photos, paintings, engine, backbone), total=total, desc="pictures"):
            pairs.append(pair)
            pictures[pair.photo, pair.painting, pair.method] = picture
        ordinary = _ordinary_seconds(photos, engine)
        ours = float(np.median([pair.seconds for pair in pairs if pair.method == "stylekit"]))
        facts = {"label": backbone.label, "side": PAINT_SIDE, "machine": machine(), "ordinary": ORDINARY, "seconds": ordinary}
        seen = args.out / NOTES_FILE
        text = report(pairs, NOTES.format(**facts, ratio=ours / ordinary), seen.read_text(encoding="utf-8") if seen.is_file() else "")
        numbers = {**facts, "pairs": [asdict(pair) for pair in pairs]}
        write_whole(args.out / "report.md", lambda part: part.write_text(text, encoding="utf-8"))
        write_whole(args.out / "numbers.json", lambda part: part.write_text(json.dumps(numbers, indent=1)))
        made = sheet(photos, paintings, pictures)
        write_whole(args.out / "sheet.jpg", lambda part: made.save(part, "JPEG", quality=84))
        print(args.out / "report.md")
    except StyleError as error:
        print(f"style_pictures: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
