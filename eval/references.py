"""What a style is measured against: pictures of it, or numbers that were taken from them.

A fresh clone holds no museum's pictures. ``assets/references/<style>.safetensors`` holds numbers only: the line from photos to the style,
the mean Gram matrices, one vector a picture for FID and KID, colours, and what the classical network sees. ``python -m eval.references
--art DIR`` makes such files from a folder with one folder of pictures per style, and one of photos. ``--art DIR`` of `eval.run` measures
against the pictures themselves, which adds LPIPS to the style pictures.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors import SafetensorError, safe_open
from tqdm import tqdm

from eval.backbones import NAMES, STYLE_LAYERS, Backbone, load_backbone
from eval.methods import ClassicalNetwork, Paint, Vector, base_alone
from eval.metrics.fid import FeatureStats
from eval.metrics.style import StyleAxis, grams, lab_pixels, style_axis
from stylekit.base_card import POCKET
from stylekit.errors import PictureError, StyleError
from stylekit.features import moments
from stylekit.formats import list_pictures
from stylekit.images import open_picture, to_tensor, working_size
from stylekit.storage.files import write_whole
from stylekit.storage.paths import ASSETS
from stylekit.storage.tensorfile import write_tensors
from stylekit.stylizer import Stylizer

FOLDER = ASSETS / "references"
PAINT_SIDE = 512  # pixels; long side at which methods paint
MEASURE_SIDE = 256  # pixels; long side at which pictures are measured, that of most art in data sets: a stroke is to be as wide in both
MOST_PICTURES = 128  # pictures of a style
FEWEST_PICTURES = 20  # pictures for a line from photos to the style
PHOTOS = "photos"  # folder of --art, and name of the committed numbers, of what is no style
COLOURS = 2000  # pixels of a picture that count for its style's colours
LPIPS_PICTURES, LPIPS_SIDE = 8, 128  # pictures, and pixels of the square they are compared in


@dataclass(frozen=True, kw_only=True)
class Photos:
    """What photos look like, which is no style. moments: (n, d). shifts: by how much a base's autoencoder moved them, (n, d), None if no
    base was at hand."""

    moments: torch.Tensor
    shifts: torch.Tensor | None = None

    def __post_init__(self) -> None:
        if self.shifts is not None and self.shifts.shape != self.moments.shape:
            raise ValueError(f"{tuple(self.shifts.shape)} shifts of {tuple(self.moments.shape)} moments")

    def every_second(self, start: int) -> Photos:
        """Half of them."""
        return Photos(moments=self.moments[start::2], shifts=None if self.shifts is None else self.shifts[start::2])


@dataclass(frozen=True, kw_only=True)
class Reference:
    """A style as numbers, on one backbone.

    grams: layer -> (C, C), mean over `count` pictures. vectors: (count, d), for FID and KID. axis: the line from photos to it, None where
    there are too few pictures. checked: where photos and pictures of the style lie on lines that were drawn without them. colours: of
    L*a*b*. seen: what the classical network sees, None where it was not at hand. squares: some of the pictures (n, 3, side, side), None
    where there are only numbers. source: where the pictures came from.
    """

    style: str
    backbone: str
    count: int
    grams: Mapping[str, torch.Tensor]
    vectors: torch.Tensor
    axis: StyleAxis | None
    checked: tuple[float, float] | None
    colours: FeatureStats
    seen: Vector | None
    squares: torch.Tensor | None
    source: str


def measure_art(
    style: str, folder: Path, backbone: Backbone, network: ClassicalNetwork | None, photos: Photos | None = None, source: str = ""
) -> Reference:
    """The reference of `style` from at most `MOST_PICTURES` of the pictures in `folder`, evenly from all; unreadable ones are passed over.
    photos: for the line from them to the style."""
    total: dict[str, torch.Tensor] = {}
    vectors, manners, colours, seen = [], [], [], []
    squares: list[torch.Tensor] = []
    for picture in tqdm(list(_pictures(folder)), desc=style):
        pixels = _pixels(picture, backbone)
        with torch.inference_mode():
            features = backbone.vgg(pixels)
            vectors.append(backbone.embed(pixels, features)[0].cpu())
            manners.append(moments(features, STYLE_LAYERS)[0].cpu())
            for layer, gram in grams(features, STYLE_LAYERS).items():
                total[layer] = total.get(layer, torch.zeros_like(gram[0])) + gram[0]
        lab = lab_pixels(pixels[0].cpu())
        colours.append(lab[:: max(1, len(lab) // COLOURS)][:COLOURS])
        if network is not None:
            seen.append(network.vector(picture))
        if len(squares) < LPIPS_PICTURES:
            squares.append(square(pixels).cpu())
    if len(vectors) < 2:
        raise StyleError(f"{folder} holds fewer than two pictures that can be read: name a folder of pictures of {style}.")
    manner = torch.stack(manners)
    line = photos if photos is not None and min(len(photos.moments), len(manner)) >= FEWEST_PICTURES else None
    return Reference(
        style=style,
        backbone=backbone.name,
        count=len(vectors),
        grams={layer: gram.cpu() / len(vectors) for layer, gram in total.items()},
        vectors=torch.stack(vectors),
        axis=style_axis(line.moments, manner, line.shifts) if line is not None else None,
        checked=check_axis(line, manner) if line is not None else None,
        colours=FeatureStats.of(torch.from_numpy(np.concatenate(colours))),
        seen=np.mean(seen, axis=0) if seen else None,
        squares=torch.cat(squares),
        source=source,
    )


def measure_photos(folder: Path, backbone: Backbone, through: Paint | None = None) -> Photos:
    """At most `MOST_PICTURES` photos in `folder`. through: what sends a photo through the base's autoencoder and changes nothing else."""
    found: list[torch.Tensor] = []
    moved: list[torch.Tensor] = []
    for picture in tqdm(list(_pictures(folder)), desc=folder.name):
        found.append(_moments(picture, backbone))
        if through is not None:
            seen = through(picture.resize(working_size(picture.size, PAINT_SIDE), Image.Resampling.LANCZOS))
            moved.append(_moments(seen, backbone) - found[-1])
    if len(found) < FEWEST_PICTURES:
        raise StyleError(f"{folder} holds {len(found)} photos that can be read: at least {FEWEST_PICTURES} are needed.")
    return Photos(moments=torch.stack(found), shifts=torch.stack(moved) if moved else None)


def check_axis(photos: Photos, art: torch.Tensor) -> tuple[float, float]:
    """Where photos and art lie on the line on average, each half measured on a line that the other half drew."""
    halves = [(photos.every_second(i), art[i::2]) for i in (0, 1)]
    axes = [style_axis(half.moments, its, half.shifts) for half, its in halves]
    reached = [[float(axes[1 - i].reached(kind.double()).mean()) for kind in (half.moments, its)] for i, (half, its) in enumerate(halves)]
    return (reached[0][0] + reached[1][0]) / 2, (reached[0][1] + reached[1][1]) / 2


def square(pixels: torch.Tensor) -> torch.Tensor:
    """(N, 3, H, W) -> the middle square, `LPIPS_SIDE` pixels a side: pictures of any shape can be compared."""
    side = min(pixels.shape[-2:])
    top, left = (pixels.shape[-2] - side) // 2, (pixels.shape[-1] - side) // 2
    middle = pixels[..., top : top + side, left : left + side]
    return torch.nn.functional.interpolate(middle, (LPIPS_SIDE, LPIPS_SIDE), mode="bilinear", align_corners=False, antialias=True)


def save_reference(reference: Reference, path: Path) -> None:
    """Write the numbers, Gram matrices as their upper halves in float16."""
    tensors = {f"gram_{layer}": _upper(gram).half() for layer, gram in reference.grams.items()}
    tensors |= {"vectors": reference.vectors.half(), "colours_mu": reference.colours.mu, "colours_sigma": reference.colours.sigma}
    if reference.axis is not None:
        tensors |= {"axis_origin": reference.axis.origin.float(), "axis_direction": reference.axis.direction.float()}
    if reference.seen is not None:
        tensors["seen"] = torch.from_numpy(reference.seen)
    card = {
        "style": reference.style,
        "backbone": reference.backbone,
        "count": str(reference.count),
        "colours_n": str(reference.colours.n),
        "checked": json.dumps(reference.checked),
        "source": reference.source,
    }
    _save({name: tensor.contiguous() for name, tensor in tensors.items()}, path, card)


def load_reference(path: Path) -> Reference:
    """A file of `save_reference`."""
    try:
        with safe_open(path, "np") as file:
            card = file.metadata()
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (it is no dict)
        numbers = {name: torch.from_numpy(np.array(values)) for name, values in tensors.items()}
        checked = json.loads(card["checked"])
        ends = [numbers[name].double() for name in ("axis_origin", "axis_direction") if name in numbers]
        return Reference(
            style=card["style"],
            backbone=card["backbone"],
            count=int(card["count"]),
            grams={name.removeprefix("gram_"): _whole(values.float()) for name, values in numbers.items() if name.startswith("gram_")},
            vectors=numbers["vectors"].float(),
            axis=StyleAxis(origin=ends[0], direction=ends[1]) if ends else None,
            checked=(checked[0], checked[1]) if checked else None,
            colours=FeatureStats(mu=numbers["colours_mu"], sigma=numbers["colours_sigma"], n=int(card["colours_n"])),
            seen=tensors.get("seen"),
            squares=None,
            source=card["source"],
        )
    except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
        raise StyleError(f"The reference {path} cannot be read ({error}): make it again with python -m eval.references.") from None


def find_references(
    styles: Sequence[str],
    backbone: Backbone,
    art: Path | None = None,
    network: ClassicalNetwork | None = None,
    through: Paint | None = None,
) -> dict[str, Reference]:
    """Style -> its reference: from the folder of its name in `art`, else from the committed numbers, if they are of this backbone.

    through: what sends a photo through the base's autoencoder, for lines that do not see it."""
    if art is not None and not art.is_dir():
        raise StyleError(f"{art} is not a folder: name one with a folder of pictures for each style.")
    found = {}
    photos = _photos(art, backbone, through) if art is not None else None
    for style in styles:
        stored = FOLDER / f"{style}.safetensors"
        if art is not None and (art / style).is_dir():
            found[style] = measure_art(style, art / style, backbone, network, photos)
        elif stored.exists():
            reference = load_reference(stored)
            if reference.backbone == backbone.name:
                found[style] = reference
    return found


def _save(tensors: Mapping[str, torch.Tensor], path: Path, card: Mapping[str, str]) -> None:
    write_whole(path, lambda part: write_tensors(tensors, part, card))


def _photos(art: Path, backbone: Backbone, through: Paint | None) -> Photos | None:
    """The photos of the folder ``photos`` in `art`, else the committed numbers, if they are of this backbone."""
    if (art / PHOTOS).is_dir():
        return measure_photos(art / PHOTOS, backbone, through)
    with safe_open(FOLDER / f"{PHOTOS}.safetensors", "pt") as file:
        if file.metadata()["backbone"] != backbone.name:
            return None
        return Photos(moments=file.get_tensor("moments").double(), shifts=file.get_tensor("shifts").double())


def _moments(picture: Image.Image, backbone: Backbone) -> torch.Tensor:
    with torch.inference_mode():
        return moments(backbone.vgg(_pixels(picture, backbone)), STYLE_LAYERS)[0].cpu()


def _pictures(folder: Path) -> Iterator[Image.Image]:
    """Evenly at most `MOST_PICTURES`."""
    paths = list_pictures(folder)
    for path in paths[:: max(1, -(-len(paths) // MOST_PICTURES))]:
        try:
            yield open_picture(path)
        except PictureError:
            continue


def _pixels(picture: Image.Image, backbone: Backbone) -> torch.Tensor:
    return to_tensor(picture.resize(working_size(picture.size, MEASURE_SIDE), Image.Resampling.LANCZOS)).to(backbone.device)


def _upper(gram: torch.Tensor) -> torch.Tensor:
    rows, columns = torch.triu_indices(*gram.shape)
    return gram[rows, columns]


def _whole(upper: torch.Tensor) -> torch.Tensor:
    side = round(((8 * len(upper) + 1) ** 0.5 - 1) / 2)
    rows, columns = torch.triu_indices(side, side)
    gram = upper.new_zeros(side, side)
    gram[rows, columns] = gram[columns, rows] = upper
    return gram


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m eval.references", description="Numbers of each style, from pictures of it.")
    parser.add_argument("--art", type=Path, required=True, help="folder with a folder of pictures for each style, and one called photos")
    parser.add_argument("--sources", type=Path, help='JSON file: {"style": "where its pictures came from", ...}')
    parser.add_argument("--backbone", default="embedded", choices=NAMES)
    parser.add_argument("--base", default=POCKET, help="the base whose autoencoder the lines are not to see")
    parser.add_argument("--out", type=Path, default=FOLDER, help="folder to write to")
    args = parser.parse_args(argv)
    try:
        if not args.art.is_dir():
            raise StyleError(f"{args.art} is not a folder: name one with a folder of pictures for each style.")
        sources = json.loads(args.sources.read_text()) if args.sources else {}
        backbone, network = load_backbone(args.backbone), ClassicalNetwork()
        photos = measure_photos(args.art / PHOTOS, backbone, base_alone(Stylizer.open(args.base), args.base))
        assert photos.shifts is not None  # there is a base
        card = {"backbone": backbone.name, "base": args.base, "count": str(len(photos.moments)), "source": sources.get(PHOTOS, "")}
        _save({"moments": photos.moments.half(), "shifts": photos.shifts.half()}, args.out / f"{PHOTOS}.safetensors", card)
        for folder in sorted(path for path in args.art.iterdir() if path.is_dir() and path.name != PHOTOS):
            reference = measure_art(folder.name, folder, backbone, network, photos, sources.get(folder.name, ""))
            save_reference(reference, args.out / f"{folder.name}.safetensors")
            where = "photos {:.2f}, its own {:.2f}".format(*reference.checked) if reference.checked else "too few for a line from photos"
            print(f"{folder.name}: {reference.count} pictures; unseen ones on the line: {where}")
    except (StyleError, OSError, ValueError) as error:
        print(f"references: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
