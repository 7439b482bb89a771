"""Command line: stylise one photo or a folder of photos.

python -m stylekit PHOTO --style sketch --out OUT.png
python -m stylekit FOLDER --style monet:0.6,ukiyoe:0.4 --out FOLDER
python -m stylekit PHOTO --recipe OUT.png --out AGAIN.png
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from tqdm import tqdm

from stylekit.errors import PictureError, SettingError, StyleError
from stylekit.images import SUFFIXES, open_picture, save_png
from stylekit.mix import StyleMix
from stylekit.recipe import Recipe


def build_parser() -> argparse.ArgumentParser:
    default = Recipe()
    parser = argparse.ArgumentParser(prog="python -m stylekit", description="Turn a photo, or a folder of photos, into art.")
    parser.add_argument("photo", type=Path, metavar="PHOTO", help="a picture file, or a folder of them")
    parser.add_argument("--style", metavar="NAME[:WEIGHT],...", help="a style or a mix, for example sketch or sketch:0.6,ukiyoe:0.4")
    parser.add_argument("--strength", type=float, help=f"0 (the photo) to 1 (the full style), default {default.strength:g}")
    parser.add_argument("--steps", type=int, metavar="N", help="denoising steps; default: the base's own")
    parser.add_argument("--seed", type=int, metavar="N", help=f"seed of the noise, default {default.seed}")
    parser.add_argument("--size", type=int, metavar="PX", help=f"long side at which the model works, default {default.size}")
    parser.add_argument("--base", metavar="ID_OR_FOLDER", help=f"base model, default {default.base}")
    parser.add_argument("--prompt", help="optional words for a base with a text encoder")
    parser.add_argument("--recipe", type=Path, metavar="PNG", help="take all settings from a picture that stylekit wrote")
    parser.add_argument("--out", type=Path, required=True, metavar="PNG_OR_FOLDER", help="where to write; a folder if PHOTO is one")
    return parser


def read_recipe(args: argparse.Namespace) -> Recipe:
    """The recipe file, if any, with the flags that were given on top."""
    recipe = Recipe.from_png(args.recipe) if args.recipe else Recipe()
    if not args.recipe and args.style is None:
        raise SettingError("No style was given: add --style NAME or --recipe PICTURE.png.")
    flags = {
        "mix": StyleMix.of(args.style) if args.style is not None else None,
        "strength": args.strength,
        "num_inference_steps": args.steps,
        "seed": args.seed,
        "size": args.size,
        "base": args.base,
        "prompt": args.prompt,
    }
    return recipe.with_(**{name: value for name, value in flags.items() if value is not None})


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
    recipe = read_recipe(args)
    jobs = list_jobs(args.photo, args.out)
    if len(jobs) == 1:  # a bad photo is told before the model is loaded
        open_picture(jobs[0][0])
    from diffusers.utils.logging import disable_progress_bar, set_verbosity_error

    from stylekit.stylizer import Stylizer  # loads torch and diffusers: seconds that a wrong flag need not wait

    disable_progress_bar()
    set_verbosity_error()
    stylizer = Stylizer.open(recipe.base)
    for name in recipe.mix.names:
        stylizer.library[name]
    failed = 0
    bar = tqdm(jobs, unit="photo", disable=not args.photo.is_dir())
    for path, target in bar:
        try:
            if path.resolve() == target.resolve():
                raise PictureError(f"{target} is the photo itself: write the result elsewhere.")
            result = stylizer.stylize(open_picture(path), recipe)
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
