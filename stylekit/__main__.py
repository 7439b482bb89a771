"""Command line: stylise one photo or a folder of photos.

python -m stylekit PHOTO --style sketch --out OUT.png
python -m stylekit FOLDER --style monet:0.6,ukiyoe:0.4 --out FOLDER
python -m stylekit PHOTO --style sketch --mask WHITE_IS_STYLE.png --out OUT.png
python -m stylekit PHOTO --style sketch --region ukiyoe=SKY.png --out OUT.png
python -m stylekit PHOTO --recipe OUT.png --out AGAIN.png
python -m stylekit PHOTO --add OWNER/NAME --out OUT.png
python -m stylekit PHOTO --style-image PAINTING.jpg --out OUT.png
python -m stylekit PHOTO --style monet:0.5 --style-image PAINTING.jpg:0.5 --out OUT.png
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from PIL import Image
from tqdm import tqdm

from stylekit.errors import PictureError, SettingError, StyleError
from stylekit.images import SUFFIXES, open_mask, open_picture, save_png
from stylekit.maps import Size, WeightMap
from stylekit.mix import StyleMix
from stylekit.picture import StylePicture
from stylekit.recipe import Recipe
from stylekit.styles import Style

IP_ADAPTER = "h94/IP-Adapter"
ASPECT_TOLERANCE = 0.02  # by how much a mask's width over height may differ from the photo's


def build_parser() -> argparse.ArgumentParser:
    default = Recipe()
    parser = argparse.ArgumentParser(prog="python -m stylekit", description="Turn a photo, or a folder of photos, into art.")
    parser.add_argument("photo", type=Path, metavar="PHOTO", help="a picture file, or a folder of them")
    parser.add_argument("--style", metavar="NAME[:WEIGHT],...", help="a style or a mix, for example sketch or sketch:0.6,ukiyoe:0.4")
    parser.add_argument(
        "--add",
        action="append",
        default=[],
        metavar="SOURCE",
        help="a style from the Hub (OWNER/NAME, called OWNER--NAME), a folder or an adapter file; repeatable; without --style, the style",
    )
    parser.add_argument(
        "--style-image",
        action="append",
        default=[],
        metavar="PICTURE[:WEIGHT]",
        help="a picture whose manner is a style; repeatable, and beside --style; in --region its path stands for it",
    )
    parser.add_argument(
        "--ip-adapter",
        nargs="?",
        const=IP_ADAPTER,
        metavar="ID_OR_FOLDER",
        help=f"take style pictures through an IP-Adapter on a Stable Diffusion base; without a value, {IP_ADAPTER}",
    )
    parser.add_argument("--strength", type=float, help=f"0 (the photo) to 1 (the full style), default {default.strength:g}")
    parser.add_argument("--mask", type=Path, metavar="MASK", help="a picture: white takes the style, black stays the photo, grey between")
    parser.add_argument(
        "--region",
        action="append",
        default=[],
        metavar="STYLE=MASK",
        help="a style, or a style picture by its path, in the white of a mask; repeatable; --style has the rest",
    )
    parser.add_argument("--structure", type=float, metavar="X", help=f"0 to 1: the photo's own detail, default {default.structure:g}")
    parser.add_argument(
        "--keep-colours", type=float, nargs="?", const=1.0, metavar="X", help="0 to 1: the photo's own colours; without a number, 1"
    )
    parser.add_argument("--match-border", action="store_true", default=None, help="let the painted meet the tone of what is left alone")
    parser.add_argument(
        "--feather", type=float, metavar="X", help=f"width of soft borders as a part of the long side, default {default.feather:g}"
    )
    parser.add_argument("--steps", type=int, metavar="N", help="denoising steps; default: the base's own")
    parser.add_argument("--seed", type=int, metavar="N", help=f"seed of the noise, default {default.seed}")
    parser.add_argument("--size", type=int, metavar="PX", help=f"long side at which the model works, default {default.size}")
    parser.add_argument("--base", metavar="ID_OR_FOLDER", help=f"base model, default {default.base}")
    parser.add_argument("--prompt", help="optional words for a base with a text encoder")
    parser.add_argument("--recipe", type=Path, metavar="PNG", help="take all settings from a picture that stylekit wrote")
    parser.add_argument("--out", type=Path, required=True, metavar="PNG_OR_FOLDER", help="where to write; a folder if PHOTO is one")
    return parser


def read_masks(args: argparse.Namespace) -> dict[Path, Image.Image]:
    """The masks that the flags name, greyscale. Raises PictureError for one that cannot be used, or is black."""
    masks = {path: open_mask(path) for path in [*([args.mask] if args.mask else []), *read_regions(args.region).values()]}
    for path, mask in masks.items():
        if not mask.getbbox():
            raise PictureError(f"{path.name} is black everywhere: paint white where the style should be.")
    return masks


def read_recipe(args: argparse.Namespace, masks: Mapping[Path, Image.Image], added: Sequence[str]) -> Recipe:
    """The recipe file, if any, with the flags that were given on top. added: names of styles from elsewhere."""
    recipe = Recipe.from_png(args.recipe) if args.recipe else Recipe()
    style, images = args.style, read_style_images(args.style_image)
    if not args.recipe and style is None and not args.region and not images:
        if not added:
            raise SettingError(
                "No style was given: add --style NAME, --style-image PICTURE.jpg, --region STYLE=MASK.png or --recipe PICTURE.png."
            )
        style = ",".join(added)
    mix = StyleMix.of(style) if style is not None else StyleMix() if images else recipe.mix
    mix = StyleMix(weights=(*mix.weights, *((picture.name, weight) for picture, weight in images)))
    regions, painted = read_picture_regions(args.region)
    strength = recipe.strength if args.strength is None else args.strength
    if args.mask:
        recipe.with_(strength=strength)  # out of its range, it must not reach the map
        strength = WeightMap.of(masks[args.mask]).times(1.0 if isinstance(strength, WeightMap) else strength)
    flags = {
        "mix": mix.with_regions({name: WeightMap.of(masks[path]) for name, path in regions.items()}),
        "pictures": (*recipe.pictures, *(picture for picture, _ in images), *painted),
        "strength": strength,
        "structure": args.structure,
        "keep_colours": args.keep_colours,
        "match_border": args.match_border,
        "feather": args.feather,
        "num_inference_steps": args.steps,
        "seed": args.seed,
        "size": args.size,
        "base": args.base,
        "prompt": args.prompt,
    }
    return recipe.with_(**{name: value for name, value in flags.items() if value is not None})


def read_styles(sources: Sequence[str]) -> Iterator[Style]:
    """Styles from the Hub, folders and files."""
    if sources:
        from stylekit import hub  # with torch and diffusers

        for source in sources:
            style = hub.open_style(source)
            print(f"{source} is the style {style.name}")
            yield style


def read_regions(regions: Sequence[str]) -> dict[str, Path]:
    """Style -> mask, from ``STYLE=MASK.png``."""
    paths: dict[str, Path] = {}
    for region in regions:
        name, equals, path = region.partition("=")
        if not (name and equals and path):
            raise SettingError(f"The region {region!r} is not STYLE=MASK: write for example sketch=mask.png.")
        if name in paths:
            raise SettingError(f"The style {name} has two regions: put both into one mask.")
        paths[name] = Path(path)
    return paths


def read_style_images(values: Sequence[str]) -> list[tuple[StylePicture, float]]:
    """Style pictures and their weights, from ``PICTURE[:WEIGHT]``."""
    found: list[tuple[StylePicture, float]] = []
    for value in values:
        path, colon, number = value.rpartition(":")
        if not colon or Path(value).exists():  # a path may hold a colon of its own
            path, number = value, "1"
        try:
            weight = float(number)
        except ValueError:
            raise SettingError(f"The weight in {value!r} is not a number: write for example {path}:0.6.") from None
        picture = StylePicture.of(path)
        if any(picture == other for other, _ in found):
            raise SettingError(f"{path} is the same picture as another --style-image: give each once, with the weight it is to have.")
        found.append((picture, weight))
    return found


def read_picture_regions(values: Sequence[str]) -> tuple[dict[str, Path], list[StylePicture]]:
    """`read_regions`, with the names of style pictures for their paths; and those pictures."""
    regions: dict[str, Path] = {}
    pictures = []
    for name, mask in read_regions(values).items():
        if Path(name).is_file():
            pictures.append(StylePicture.of(name))
            name = pictures[-1].name
        regions[name] = mask
    return regions, pictures


def fit_masks(masks: Mapping[Path, Image.Image], photo: Path, size: Size) -> None:
    """Say which masks are stretched over a photo of `size`; PictureError for one of another shape."""
    for path, mask in masks.items():
        width, height = mask.size
        if abs(width * size[1] / (height * size[0]) - 1) > ASPECT_TOLERANCE:
            raise PictureError(f"{path.name} is {width} x {height} but {photo.name} is {size[0]} x {size[1]}: give it the photo's shape.")
        if mask.size != size:
            tqdm.write(f"stylekit: {path.name} is {width} x {height} and is fitted to {size[0]} x {size[1]}", file=sys.stderr)


def list_jobs(photo: Path, out: Path) -> list[tuple[Path, Path]]:
    """(photo, result) pairs; results of a folder are named after their photos."""
    if not photo.is_dir():
        if not photo.exists():
            raise PictureError(f"{photo} does not exist: check the path.")
        if out.is_dir():
            out = out / f"{photo.stem}.png"
        if out.suffix.lower() != ".png":
            raise PictureError(f"{out.name} does not end in .png: only PNG can carry the recipe.")
        return [(photo, out)]
    if out.exists() and not out.is_dir():
        raise PictureError(f"{out} is a file, but {photo} is a folder: name a folder for the results.")
    photos = sorted(p for p in photo.iterdir() if p.suffix.lower() in SUFFIXES and not p.name.startswith("."))
    if not photos:
        raise PictureError(f"{photo} holds no pictures: expected files ending in {', '.join(SUFFIXES)}.")
    jobs: dict[Path, Path] = {}
    for path in photos:  # a.jpg and a.png must not overwrite each other
        target = out / f"{path.stem}.png"
        jobs[out / f"{path.name}.png" if target in jobs else target] = path
    return [(path, target) for target, path in jobs.items()]


def run(args: argparse.Namespace) -> int:
    """Do the work; the number of photos that failed."""
    masks = read_masks(args)
    added = list(read_styles(args.add))
    recipe = read_recipe(args, masks, [style.name for style in added])
    jobs = list_jobs(args.photo, args.out)
    if not args.photo.is_dir():  # a bad photo is told before the model is loaded
        fit_masks(masks, args.photo, open_picture(args.photo).size)
    from diffusers.utils.logging import disable_progress_bar, set_verbosity_error

    from stylekit.stylizer import Stylizer  # loads torch and diffusers: seconds that a wrong flag need not wait

    disable_progress_bar()
    set_verbosity_error()
    stylizer = Stylizer.open(recipe.base, ip=args.ip_adapter)
    for style in added:
        stylizer.add(style)
    for name in recipe.mix.names:
        if recipe.picture(name) is None:
            stylizer.library[name]
    failed = 0
    bar = tqdm(jobs, unit="photo", disable=not args.photo.is_dir())
    for path, target in bar:
        try:
            if path.resolve() == target.resolve():
                raise PictureError(f"{target} is the photo itself: write the result elsewhere.")
            photo = open_picture(path)
            if args.photo.is_dir():
                fit_masks(masks, path, photo.size)
            result = stylizer.stylize(photo, recipe)
            save_png(result.image, target, result.recipe)
            if not args.photo.is_dir():
                print(f"{target}  ({result.seconds:.1f} s)")
        except StyleError as error:
            failed += 1
            tqdm.write(f"stylekit: {error}", file=sys.stderr)
    if args.photo.is_dir():
        print(f"{len(jobs) - failed} of {len(jobs)} photos in {args.out}")
    return failed


def main(argv: Sequence[str] | None = None) -> int:
    args = build_parser().parse_args(argv)
    try:
        return 1 if run(args) else 0
    except StyleError as error:
        print(f"stylekit: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("stylekit: stopped", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
