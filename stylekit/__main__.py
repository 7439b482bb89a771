"""Command line: stylise one photo or a folder of photos.

python -m stylekit PHOTO --style sketch --out OUT.png
python -m stylekit FOLDER --style monet:0.6,ukiyoe:0.4 --out FOLDER
python -m stylekit PHOTO --style sketch --mask WHITE_IS_STYLE.png --out OUT.png
python -m stylekit PHOTO --style sketch --region ukiyoe=SKY.png --out OUT.png
python -m stylekit PHOTO --recipe OUT.png --out AGAIN.png
python -m stylekit PHOTO --style sketch --print a3 --out POSTER.jpg
accelerate launch --num_processes 4 -m stylekit FOLDER --style monet --resume --out FOLDER
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

from stylekit.base_card import LCM_LORA, SAMPLERS, TAESD
from stylekit.batch.jobs import Job, disagreement, list_jobs, refuse_existing, unfinished
from stylekit.batch.processes import Processes, processes
from stylekit.errors import SettingError, StyleError
from stylekit.images import check_mask, open_mask, open_picture
from stylekit.maps import Size, WeightMap
from stylekit.mix import StyleMix
from stylekit.recipe import Recipe
from stylekit.results import carriers
from stylekit.results.carriers import Named
from stylekit.results.prints import DPI, PAPERS, for_print
from stylekit.results.saving import ENDINGS, save
from stylekit.storage import digests
from stylekit.storage.untrusted import name_problem, shown
from stylekit.style_picture.picture import StylePicture
from stylekit.styles import Style, StyleLibrary

IP_ADAPTER = "h94/IP-Adapter"
TOUR = """styles:
{styles}

examples:
  {prog} photo.jpg --style sketch --out drawing.png
  {prog} photo.jpg --style monet:0.6,ukiyoe:0.4 --strength 0.8 --out painted.png
  {prog} photos/ --style engraving --detail 0.7 --out results/
  {prog} photo.jpg --style sketch --region vangogh=sky.png --out mixed.png
  {prog} photo.jpg --style-image painting.jpg --out picture.png
  {prog} photo.jpg --recipe drawing.png --out again.png
  {prog} photo.jpg --style watercolour --print a3 --out poster.jpg
  {prog} photo.jpg --add OWNER/NAME --out out.png

the rest of stylekit, in a clone of its repository:
  python app.py                                     the page in the browser, and the endpoint /stylize for programs
  python -m training                                train, teach and publish styles
  python -m eval.run --help                         measure styles: every method on the same photos, as one report
  python -m stylekit.adapters.convert SRC DST                an adapter into kohya's format and back
  from stylekit import Recipe, StyleMix, Stylizer   the same in Python
  docs/README.md                                    all there is to read
"""


def file_path(text: str) -> Path:
    """A path given on the command line. One that no file can have is refused by argparse, before anything opens it."""
    try:
        return checked_path(text)
    except SettingError as error:
        raise argparse.ArgumentTypeError(str(error).rstrip(".")) from None


def checked_path(text: str) -> Path:
    """`text` as a path; SettingError if no file can have it."""
    problem = name_problem(text)
    if problem:
        raise SettingError(f"{shown(text)} {problem}: check the path.")
    return Path(text)


class Parser(argparse.ArgumentParser):
    """One whose help ends with the tour of stylekit: the styles that are there, examples, and where all else is."""

    def format_help(self) -> str:
        return f"{super().format_help()}\n{tour(self.prog)}"


def tour(prog: str) -> str:
    try:
        styles = [f"  {style.name:<20} {style.blurb}" for style in StyleLibrary.open()]
    except StyleError as error:  # help must not fail where the styles cannot be found
        styles = [f"  {error}"]
    return TOUR.format(styles="\n".join(styles), prog=prog)


def build_parser() -> argparse.ArgumentParser:
    default = Recipe()
    parser = Parser(prog=program_name(), description="Turn a photo, or a folder of photos, into art.")
    parser.add_argument("photo", type=file_path, metavar="PHOTO", help="a picture file, or a folder of them")
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
    parser.add_argument("--mask", type=file_path, metavar="MASK", help="a picture: white is the style, black the photo, grey between")
    parser.add_argument(
        "--region",
        action="append",
        default=[],
        metavar="STYLE=MASK",
        help="a style, or a style picture by its path, in the white of a mask; repeatable; --style has the rest",
    )
    parser.add_argument(
        "--detail", type=float, metavar="X", help=f"length of drawn marks, 0.25 (fine) to 4 (bold), default {default.detail:g}"
    )
    parser.add_argument(
        "--hand", action=argparse.BooleanOptionalAction, default=None, help="draw styles by hand, or leave them as the model does"
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
    parser.add_argument("--prompt", help="words of your own in the place of the styles', for a base with a text encoder")
    parser.add_argument(
        "--guidance",
        type=float,
        metavar="X",
        help="1 (none) to 30: how far words lead, where the base reads them; default: the styles' own",
    )
    parser.add_argument("--sampler", choices=SAMPLERS, help="how to go from step to step; default: the base's or the accelerator's own")
    parser.add_argument(
        "--accelerator",
        nargs="?",
        const=LCM_LORA,
        metavar="ID_OR_FOLDER",
        help=f"a LoRA with which a Stable Diffusion base takes 4 steps; without a value, {LCM_LORA}",
    )
    parser.add_argument(
        "--tiny-decoder",
        nargs="?",
        const=TAESD,
        metavar="ID_OR_FOLDER",
        help=f"decode the picture by a small autoencoder, quick and less fine; without a value, {TAESD}",
    )
    parser.add_argument(
        "--compile", action="store_true", help="have torch compile the UNet: many pictures of one size are made faster, the first slower"
    )
    parser.add_argument(
        "--recipe", type=file_path, metavar="FILE", help="take all settings from a picture, or a file of settings, that stylekit wrote"
    )
    parser.add_argument(
        "--out",
        type=file_path,
        required=True,
        metavar="FILE_OR_FOLDER",
        help="where to write: a .png, .jpg or .webp, or a folder if PHOTO is one. There cat.jpg becomes cat.png, or cat.jpg.png where "
        "cat.png is a photo too",
    )
    parser.add_argument("--format", choices=ENDINGS, help="of results in a folder, default png; all carry the recipe")
    parser.add_argument(
        "--print", dest="paper", choices=PAPERS, help=f"draw at the size of this paper at {DPI} dots per inch, instead of the photo's own"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace results that are there already, but never a file that is read")
    parser.add_argument("--resume", action="store_true", help="go on: leave alone what is there of the same photo with the same recipe")
    return parser


def read_masks(args: argparse.Namespace) -> dict[Path, Image.Image]:
    """The masks that the flags name, greyscale. Raises PictureError for one that cannot be used."""
    return {path: open_mask(path, say=tell) for path in [*([args.mask] if args.mask else []), *read_regions(args.region).values()]}


def read_recipe(args: argparse.Namespace, masks: Mapping[Path, Image.Image], added: Sequence[str]) -> Recipe:
    """The recipe file, if any, with the flags that were given on top. added: names of styles from elsewhere."""
    recipe = carriers.read_recipe(args.recipe) if args.recipe else Recipe()
    if recipe.older:
        print(recipe.older, file=sys.stderr)
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
        "detail": args.detail,
        "hand": args.hand,
        "structure": args.structure,
        "keep_colours": args.keep_colours,
        "match_border": args.match_border,
        "feather": args.feather,
        "num_inference_steps": args.steps,
        "seed": args.seed,
        "size": args.size,
        "base": args.base,
        "prompt": args.prompt,
        "guidance_scale": args.guidance,
        "sampler": args.sampler,
        "accelerator": args.accelerator,
        "tiny_decoder": True if args.tiny_decoder else None,
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
        name, path = split_region(region)
        if name in paths:
            raise SettingError(f"The style {name} has two regions: put both into one mask.")
        checked_path(name)  # which may be that of a style picture
        paths[name] = checked_path(path)
    return paths


def split_region(region: str) -> tuple[str, str]:
    """(style, mask) of ``STYLE=MASK``, where paths on either side may hold an = too: the files that are there tell which one parts them."""
    marks = [i for i, c in enumerate(region) if c == "=" and 0 < i < len(region) - 1]
    if not marks:
        raise SettingError(f"The region {region!r} is not STYLE=MASK: write for example sketch=mask.png.")
    splits = [(region[:i], region[i + 1 :]) for i in marks]
    found = [split for split in splits if is_file(split[1])]
    likely = [split for split in found if is_file(split[0])] or [split for split in found if "=" not in split[0]] or found
    if len(likely) > 1:
        choices = " or ".join(f"{mask} for {name}" for name, mask in likely)
        raise SettingError(f"The region {region!r} can mean {choices}: rename one of the files.")
    return (likely or splits)[0]


def is_file(text: str) -> bool:
    return name_problem(text) is None and Path(text).is_file()


def read_style_images(values: Sequence[str]) -> list[tuple[StylePicture, float]]:
    """Style pictures and their weights, from ``PICTURE[:WEIGHT]``."""
    found: list[tuple[StylePicture, float]] = []
    for value in values:
        path, number = read_weight(value)
        try:
            weight = float(number)
        except ValueError:
            raise SettingError(f"The weight in {value!r} is not a number: write for example {path}:0.6.") from None
        picture = StylePicture.of(path, say=tell)
        if any(picture == other for other, _ in found):
            raise SettingError(f"{path} is the same picture as another --style-image: give each once, with the weight it is to have.")
        found.append((picture, weight))
    return found


def read_weight(value: str) -> tuple[str, str]:
    """(path, weight) from ``PICTURE[:WEIGHT]``."""
    path, colon, number = value.rpartition(":")
    return (value, "1") if checked_path(value).exists() or not colon else (path, number)  # a path may hold a colon of its own


def read_picture_regions(values: Sequence[str]) -> tuple[dict[str, Path], list[StylePicture]]:
    """`read_regions`, with the names of style pictures for their paths; and those pictures."""
    regions: dict[str, Path] = {}
    pictures = []
    for path, mask in read_regions(values).items():
        name = path
        if Path(path).is_file():
            pictures.append(StylePicture.of(path, say=tell))
            name = pictures[-1].name
        if name in regions:
            raise SettingError(f"Two regions have the same picture, {Path(path).name}: put both into one mask.")
        regions[name] = mask
    return regions, pictures


def fit_masks(masks: Mapping[Path, Image.Image], photo: Path, size: Size) -> None:
    """Say which masks are stretched over a photo of `size`; PictureError for one of another shape."""
    for path, mask in masks.items():
        check_mask(mask, size, name=path.name, photo=photo.name)
        if mask.size != size:
            tell(f"{path.name} is {mask.width} x {mask.height} and is fitted to {size[0]} x {size[1]}")


def silent(text: str) -> None:
    """For processes that leave it to the first one to tell."""


def tell(text: str) -> None:
    """A line to standard error, above the progress bar."""
    tqdm.write(f"stylekit: {text}", file=sys.stderr)


def run(args: argparse.Namespace, team: Processes) -> int:
    """Do this process's part of the work; the number of photos that failed, in all of it for the first process, else 0."""
    first = team.index == 0
    regions = read_regions(args.region)
    paper = PAPERS[args.paper] if args.paper else None
    problem = digest = ""
    try:  # what is wrong for one process is told to all of them, lest they wait for it
        jobs = list_jobs(args.photo, args.out, files_read(args, regions), kind=args.format, say=tell if first else silent)
        if not args.overwrite and not args.resume:
            refuse_existing([job.result for job in jobs])
        masks = read_masks(args)
        added = list(read_styles(args.add))
        recipe = read_recipe(args, masks, [style.name for style in added])
        todo = unfinished(jobs, recipe, paper, overwrite=args.overwrite) if args.resume else jobs
        digest = digests.of_facts([[job.photo.name for job in part] for part in (jobs, todo)])
    except StyleError as error:
        problem = str(error)
    problem = disagreement(team.gather((problem, digest)))  # and nobody writes before all have looked
    if problem and first:
        raise StyleError(problem)
    if problem:
        return 0
    if len(todo) < len(jobs) and first:
        tell(f"{len(jobs) - len(todo)} of {len(jobs)} are there already, with the same recipe")
    mine = todo[team.index :: team.count]
    failed = sum(team.gather(work(args, mine, recipe, masks, added, first) if mine else 0))
    if not first:
        return 0
    if args.photo.is_dir():
        print(f"{len(jobs) - failed} of {len(jobs)} photos in {args.out}")
    return failed


def files_read(args: argparse.Namespace, regions: Mapping[str, Path]) -> list[Path]:
    """What is read beside the photos."""
    beside = [*map(str, regions.values()), *regions, *(read_weight(value)[0] for value in args.style_image), *args.add]
    beside += [str(path) for path in (args.mask, args.recipe) if path]
    return [Path(text) for text in beside if is_file(text)]


def work(
    args: argparse.Namespace, jobs: Sequence[Job], recipe: Recipe, masks: Mapping[Path, Image.Image], added: Sequence[Style], first: bool
) -> int:
    """Make the pictures; the number of photos that failed. first: whether this process tells how far it is."""
    many = args.photo.is_dir()
    paper = PAPERS[args.paper] if args.paper else None
    opened = None if many else open_picture(args.photo, say=tell)  # a bad photo is told before the model is loaded
    if opened:
        fit_masks(masks, args.photo, opened.size)
    from diffusers.utils.logging import disable_progress_bar, set_verbosity_error

    from stylekit.stylizer import Stylizer  # loads torch and diffusers: seconds that a wrong flag need not wait

    disable_progress_bar()
    set_verbosity_error()
    tiny = args.tiny_decoder or (TAESD if recipe.tiny_decoder else None)
    stylizer = Stylizer.open(recipe.base, ip=args.ip_adapter, accelerator=recipe.accelerator, tiny=tiny, compiled=args.compile)
    if recipe.accelerator and not stylizer.accelerator:
        tell(f"the base {recipe.base} takes few steps as it is: the accelerator is left out")
        recipe = recipe.with_(accelerator=None)
    if first:
        for name, problem in stylizer.library.left_out.items():
            print(f"stylekit: the style {name} is left out. {problem}", file=sys.stderr)
    for style in added:
        stylizer.add(style)
    for name in recipe.mix.names:
        if recipe.picture(name) is None:
            stylizer.library[name]
    failed = 0
    for job in tqdm(jobs, unit="photo", disable=not (many and first)):
        try:
            photo = opened or open_picture(job.photo, say=tell)
            if many:
                fit_masks(masks, job.photo, photo.size)
            result = stylizer.stylize(for_print(photo, paper), recipe)
            replace = args.overwrite  # what has come meanwhile from elsewhere is not replaced either
            save(result.image, job.result, Named(recipe=result.recipe), dpi=DPI if paper else None, replace=replace)
            if not many:
                print(f"{job.result}  ({result.seconds:.1f} s)")
        except StyleError as error:
            failed += 1
            tell(str(error))
    return failed


def program_name() -> str:
    """As it was called: the installed script, or the module."""
    return "stylekit" if Path(sys.argv[0]).stem == "stylekit" else "python -m stylekit"


def main(argv: Sequence[str] | None = None) -> int:
    args = build_parser().parse_args(argv)
    try:
        with processes() as team:
            return 1 if run(args, team) else 0
    except StyleError as error:
        print(f"stylekit: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("stylekit: stopped", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
