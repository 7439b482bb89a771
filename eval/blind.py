"""A blind comparison: shuffled pages of pictures whose makers are not named, and the score of what people answer.

    python -m eval.blind make --photos DIR --styles monet,sketch --methods hand,classical --art DIR --out pages/ --seed 1
    python -m eval.blind score --answers anna.csv ben.csv --key pages-key.json

A page shows one photo in one style by every candidate, side by side in random order, labelled A, B, C. The folder goes to the viewers as it
is, with a sheet for their answers; the key, which says who made what, is written beside it. See docs/blind.md.
"""

from __future__ import annotations

import argparse
import csv
import json
import random
import string
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont, ImageOps
from tqdm import tqdm

from eval import ratings
from eval.methods import NAMES, ClassicalNetwork, Method, Vector, load_methods
from eval.ratings import ANSWERS_FILE, CONTROL, FIELDS, Key, Page
from eval.references import FOLDER, load_reference
from eval.run import list_photos
from stylekit.base_card import POCKET
from stylekit.errors import StyleError
from stylekit.formats import SUFFIXES
from stylekit.images import open_picture, working_size
from stylekit.storage.files import whole_folder, write_whole
from stylekit.storage.paths import STYLES_FOLDER
from stylekit.styles import StyleLibrary
from stylekit.stylizer import Stylizer

PAINT_SIDE = 1024  # pixels; long side at which pictures are made, by default
PAGE = (1600, 1200)  # pixels that a page may be wide and high
GAP, LINE = 16, 34  # pixels between pictures, and of a line of text
LETTERS = string.ascii_uppercase
PHOTO = "photo"  # what stands over the photo of a page
INK = "#222222"
ART_SEEN = 32  # pictures of a style that the classical network is driven by, where no reference says what it sees
README = """Score every picture of every page from 1 (bad) to 10 (first class) as a picture in the style that the page names, in
answers.csv: one line for each page and letter. "words" are what you would say of it, if anything. Save the sheet under your name.
"""


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """One maker of pictures. make: photo, its file's name, style and place in the order of pages -> a picture of any size. lacks: style
    -> why it has none, "" if it has."""

    name: str
    make: Callable[[Image.Image, str, str, int], Image.Image]
    lacks: Callable[[str], str] = lambda style: ""


def of_method(method: Method) -> Candidate:
    """A method of `eval.methods`."""
    return Candidate(name=method.name, make=lambda photo, _name, style, _place: method.paint(photo, style), lacks=method.lacks)


def of_folder(name: str, folder: Path, styles: Sequence[str]) -> Candidate:
    """Pictures that something else made: ``folder/STYLE/PHOTO``, or ``folder/PHOTO`` where one style is compared; the ending is free."""

    def place(style: str) -> Path:
        return folder if len(styles) == 1 and not (folder / style).is_dir() else folder / style

    def make(_photo: Image.Image, photo: str, style: str, _place: int) -> Image.Image:
        found = sorted(path for path in place(style).glob(f"{_literal(Path(photo).stem)}.*") if path.suffix.lower() in SUFFIXES)
        if not found:
            raise StyleError(f"{name} has no picture of {photo} in {place(style)}: put one there, or leave the photo out.")
        return open_picture(found[0])

    if not folder.is_dir():
        raise StyleError(f"{folder} is not a folder: name one with the pictures of {name}.")
    return Candidate(name=name, make=make, lacks=lambda style: "" if place(style).is_dir() else f"no folder {style} in it")


def of_art(folder: Path, seed: int) -> Candidate:
    """Real works of the style, from ``folder/STYLE``: another one on every page while there are any."""

    def works(style: str) -> list[Path]:
        paths = sorted(path for path in (folder / style).rglob("*") if path.suffix.lower() in SUFFIXES and not path.name.startswith("."))
        random.Random(f"{seed} {style}").shuffle(paths)
        return paths

    def make(_photo: Image.Image, _name: str, style: str, place: int) -> Image.Image:
        found = works(style)
        return open_picture(found[place % len(found)])

    if not folder.is_dir():
        raise StyleError(f"{folder} is not a folder: name one with a folder of pictures for each style.")
    return Candidate(name=CONTROL, make=make, lacks=lambda style: "" if works(style) else "no real work of it")


def plan_pages(photos: Sequence[Path], styles: Sequence[str], candidates: Sequence[Candidate], seed: int) -> Key:
    """Every photo in every style, in random order, with the candidates of each page in random order."""
    names = [candidate.name for candidate in candidates]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice or not names:
        raise StyleError(f"There are {'two candidates ' + twice[0] if twice else 'no candidates'}: give each a name of its own.")
    if len(names) > len(LETTERS):
        raise StyleError(f"There are {len(names)} candidates: {len(LETTERS)} are the most.")
    doubled = sorted({path.name for path in photos if sum(other.stem == path.stem for other in photos) > 1})
    if doubled:
        raise StyleError(f"There are two photos called {Path(doubled[0]).stem}: rename one.")
    source = random.Random(seed)
    pairs = [(photo.name, style) for style in styles for photo in photos]
    source.shuffle(pairs)
    pages = []
    for number, (photo, style) in enumerate(pairs, 1):
        here = [candidate.name for candidate in candidates if not candidate.lacks(style)]
        if not here:
            raise StyleError(f"No candidate has the style {style}: leave it out.")
        source.shuffle(here)
        pages.append(
            Page(page=number, file=f"page_{number:03}.jpg", photo=photo, style=style, labels=dict(zip(LETTERS, here, strict=False)))
        )
    return Key(seed=seed, pages=tuple(pages))


def make_pages(
    key: Key,
    photos: Sequence[Path],
    candidates: Sequence[Candidate],
    titles: Mapping[str, str],
    out: Path,
    key_file: Path,
    size: int,
    shown: bool = False,
) -> Iterator[int]:
    """Write the pages of `key` and a sheet for answers into the folder `out`, and the key to `key_file`; the number of every page done.

    titles: style -> what a page calls it. size: long side at which pictures are made. shown: whether a page shows the photo too, first and
    without a letter. Nothing is there until all is.
    """
    _refuse_present(out, key_file)
    by_name, by_candidate = {path.name: path for path in photos}, {candidate.name: candidate for candidate in candidates}
    places = {page.page: i for style in titles for i, page in enumerate(page for page in key.pages if page.style == style)}
    with whole_folder(out) as aside:
        for page in key.pages:
            photo = open_picture(by_name[page.photo])
            photo = photo.resize(working_size(photo.size, size), Image.Resampling.LANCZOS)
            made = {label: by_candidate[name].make(photo, page.photo, page.style, places[page.page]) for label, name in page.labels.items()}
            pictures = {PHOTO: photo, **made} if shown else made
            drawn = draw_page(f"Page {page.page}: {titles[page.style]}", pictures, photo.size)
            drawn.save(aside / page.file, format="JPEG", quality=92, subsampling=0)
            yield page.page
        write_sheet(key, aside / ANSWERS_FILE)
        (aside / "README.txt").write_text(README, encoding="utf-8")
        write_whole(
            key_file, lambda part: part.write_text(json.dumps(key.to_json(), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        )


def draw_page(title: str, pictures: Mapping[str, Image.Image], shape: tuple[int, int]) -> Image.Image:
    """RGB: `pictures` by their labels, all cut and scaled to one size of the shape (width, height), as large as the page allows."""
    columns, (width, height) = layout(len(pictures), shape)
    rows = -(-len(pictures) // columns)
    size = (columns * width + (columns - 1) * GAP, LINE + rows * (LINE + height) + (rows - 1) * GAP)
    sheet = Image.new("RGB", size, "white")
    draw = ImageDraw.Draw(sheet)
    draw.text((2, 4), title, fill=INK, font=ImageFont.load_default(20))
    for i, (label, picture) in enumerate(pictures.items()):
        left, top = (i % columns) * (width + GAP), LINE + (i // columns) * (LINE + height + GAP)
        draw.text((left + 2, top + 3), label, fill=INK, font=ImageFont.load_default(26))
        sheet.paste(ImageOps.fit(picture.convert("RGB"), (width, height), Image.Resampling.LANCZOS), (left, top + LINE))
    return sheet


def layout(count: int, shape: tuple[int, int]) -> tuple[int, tuple[int, int]]:
    """Columns, and (width, height) of a picture, that make `count` pictures of a shape largest on a page."""

    def scale(columns: int) -> float:
        rows = -(-count // columns)
        return min(
            (PAGE[0] - (columns - 1) * GAP) / columns / shape[0], (PAGE[1] - LINE - rows * LINE - (rows - 1) * GAP) / rows / shape[1]
        )

    columns = max(range(1, count + 1), key=scale)
    return columns, (max(1, int(shape[0] * scale(columns))), max(1, int(shape[1] * scale(columns))))


def write_sheet(key: Key, path: Path) -> None:
    """A line for each picture, to be filled in."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(FIELDS)
        writer.writerows((page.page, label, "", "") for page in key.pages for label in page.labels)


def classical_vectors(styles: Sequence[str], art: Path | None) -> dict[str, Vector]:
    """Style -> what the classical network sees of it: in the committed references, else in the pictures of `art`."""
    found: dict[str, Vector] = {}
    for style in styles:
        stored = FOLDER / f"{style}.safetensors"
        seen = load_reference(stored).seen if stored.exists() else None
        if seen is None and art is not None and (art / style).is_dir():
            works = of_art(art, 0)
            if not works.lacks(style):
                network, blank = ClassicalNetwork(), Image.new("RGB", (1, 1))
                seen = np.mean([network.vector(works.make(blank, "", style, i)) for i in range(ART_SEEN)], axis=0)
        if seen is not None:
            found[style] = seen
    return found


def _literal(name: str) -> str:
    """`name` as a pattern of itself."""
    return "".join(f"[{letter}]" if letter in "*?[" else letter for letter in name)


def _refuse_present(out: Path, key_file: Path) -> None:
    for path in (out, key_file):
        if path.exists():
            raise StyleError(f"{path} is there already, perhaps with answers: choose another --out, or move it away.")
    if out.resolve() in key_file.resolve().parents:
        raise StyleError(f"The key would lie in {out}, which goes to the viewers: choose a --key elsewhere.")


def _title(style: str, library: StyleLibrary) -> str:
    """What a page calls a style that others' pictures are of: it need not be one of the library."""
    return next((known.title for known in library if known.name == style), style)


def _extras(texts: Sequence[str], styles: Sequence[str]) -> list[Candidate]:
    found = []
    for text in texts:
        name, equals, folder = text.partition("=")
        if not equals or not name or not folder:
            raise StyleError(f"--extra is {text!r}: write NAME=DIR.")
        if name in (*NAMES, CONTROL):
            raise StyleError(f"--extra calls its pictures {name}, as a method of stylekit's: choose another name.")
        found.append(of_folder(name, Path(folder), styles))
    return found


def make(args: argparse.Namespace) -> int:
    """The command ``make``."""
    key_file = args.key or args.out.with_name(f"{args.out.name}-key.json")
    _refuse_present(args.out, key_file)
    if args.size < 64:
        raise StyleError(f"--size is {args.size}: it must be at least 64.")
    photos = list_photos(args.photos, limit=args.limit)
    styles = list(dict.fromkeys(args.styles.split(",")))
    methods = [name for name in args.methods.split(",") if name]
    candidates = _extras(args.extra, styles)
    library = StyleLibrary.open(args.style_cards)
    titles = {style: library[style].title if methods else _title(style, library) for style in styles}
    if methods:
        engine = Stylizer.open(args.base, args.style_cards, device=args.device)
        vectors = classical_vectors(styles, args.art) if "classical" in methods else {}
        candidates = [*map(of_method, load_methods(methods, engine, engine.base.name, vectors)), *candidates]
    if args.art is not None:
        candidates.append(of_art(args.art, args.seed))
    key = plan_pages(photos, styles, candidates, args.seed)
    for candidate in candidates:
        for style in styles:
            if why := candidate.lacks(style):
                print(f"{candidate.name} is not on the pages of {style}: {why}", file=sys.stderr)
    for _ in tqdm(
        make_pages(key, photos, candidates, titles, args.out, key_file, args.size, args.show_photo), total=len(key.pages), desc="pages"
    ):
        pass
    print(f"{args.out}: {len(key.pages)} pages and {ANSWERS_FILE}, for the viewers. {key_file}: the key, not for them.")
    return 0


def score(args: argparse.Namespace) -> int:
    """The command ``score``."""
    key = ratings.read_key(args.key)
    answers = ratings.read_answers(args.answers, key)
    rows = ratings.rate(answers, key)
    text = ratings.markdown(rows, answers, key)
    for path in args.out:
        whole = text if path.suffix != ".json" else json.dumps(ratings.to_json(rows, answers, key), indent=1, ensure_ascii=False) + "\n"
        write_whole(path, lambda part, whole=whole: part.write_text(whole, encoding="utf-8"))  # type: ignore[misc]
    print(text)
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m eval.blind", description="A blind comparison of pictures, and its score.")
    commands = parser.add_subparsers(required=True)
    pages = commands.add_parser("make", help="write shuffled pages, a sheet for answers, and the key")
    pages.add_argument("--photos", type=Path, nargs="+", required=True, help="picture files or folders")
    pages.add_argument("--limit", type=int, help="take at most so many photos, evenly from all")
    pages.add_argument("--styles", required=True, help="style names, separated by commas")
    pages.add_argument("--methods", default="hand,classical", help=f"of {', '.join(NAMES)}, separated by commas (default: hand,classical)")
    pages.add_argument("--art", type=Path, help="folder with a folder of real works for each style: one on every page, as a control")
    pages.add_argument(
        "--extra", action="append", default=[], metavar="NAME=DIR", help="pictures made elsewhere, DIR/STYLE/PHOTO; may be given again"
    )
    pages.add_argument("--seed", type=int, default=0, help="of every order")
    pages.add_argument("--size", type=int, default=PAINT_SIDE, help=f"long side at which pictures are made (default: {PAINT_SIDE})")
    pages.add_argument("--show-photo", action="store_true", help="show the photo on every page, so that likeness can be judged")
    pages.add_argument("--base", default=POCKET, help="base model: pocket, a folder or a Hub id")
    pages.add_argument("--style-cards", type=Path, default=STYLES_FOLDER, help="folder of style cards")
    pages.add_argument("--device", help="of the base (default: a GPU if there is one)")
    pages.add_argument("--out", type=Path, required=True, help="folder for the pages")
    pages.add_argument("--key", type=Path, help="file for the key (default: beside the folder, OUT-key.json)")
    pages.set_defaults(run=make)
    scored = commands.add_parser("score", help="what the answers say of each method")
    scored.add_argument("--answers", type=Path, nargs="+", required=True, help="filled-in sheets, each called as its viewer")
    scored.add_argument("--key", type=Path, required=True, help="the key of the pages")
    scored.add_argument("--out", type=Path, nargs="*", default=[], help="files to write, .md or .json")
    scored.set_defaults(run=score)
    args = parser.parse_args(argv)
    try:
        return args.run(args)
    except StyleError as error:
        print(f"blind: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
