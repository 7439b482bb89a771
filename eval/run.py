"""Evaluate styles: every method on the same photos, with the same measures, as one report.

    python -m eval.run --photos DIR --styles all --methods identity,base,hand,lora,dreambooth,classical --limits --out DIR

Interrupt it when you like: the same command goes on where it stopped. ``accelerate launch --num_processes 2 -m eval.run ...`` splits the
photos over processes; their seconds are those of a machine that is shared. A photo that fails is named in the report and does not stop it.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from tqdm import tqdm

from eval import backbones
from eval.limits import LIMIT_PHOTOS, Limit, find_limits
from eval.methods import NAMES, ClassicalNetwork, Stylizes, base_alone, evaluated_styles, load_methods
from eval.references import find_references
from eval.report import make_report, write_report
from eval.scores import Fault, Plan, Score, score_photos
from eval.table import read_report
from stylekit.base_card import POCKET
from stylekit.batch.processes import Processes, processes
from stylekit.errors import StyleError
from stylekit.formats import list_pictures
from stylekit.storage.paths import STYLES_FOLDER
from stylekit.stylizer import Stylizer

CACHE = "cache"  # below the report's folder: what is finished, for going on
DEFAULT_METHODS = ("identity", "base", "hand", "lora", "dreambooth", "classical")


def make_plan(
    engine: Stylizes,
    *,
    base: str,
    styles: Sequence[str],
    methods: Sequence[str],
    backbone: str,
    cache: Path,
    art: Path | None = None,
    device: str = "cpu",
) -> Plan:
    """Load what an evaluation needs. styles: names, or "all". base: name of the engine's base. art: folder with a folder of pictures for
    each style, for references with pictures. Raises StyleError for what is not there."""
    chosen = evaluated_styles(engine.library) if list(styles) == ["all"] else list(dict.fromkeys(styles))
    for style in chosen:
        engine.library[style]  # says which there are
    networks = backbones.load_backbone(backbone, device)
    classical = ClassicalNetwork() if "classical" in methods else None
    references = find_references(chosen, networks, art, classical, base_alone(engine, base))
    vectors = {style: reference.seen for style, reference in references.items() if reference.seen is not None}
    return Plan(
        styles=chosen,
        methods=load_methods(methods, engine, base, vectors),
        backbone=networks,
        references=references,
        cache=cache,
    )


def list_photos(places: Sequence[Path], names: Path | None = None, limit: int | None = None) -> list[Path]:
    """Picture files in `places` (files or folders), sorted by name. names: a file of names or of the numbers in them, one a line: only
    these, one file for each. limit: at most so many, evenly from all."""
    photos: list[Path] = []
    for place in places:
        if not place.exists():
            raise StyleError(f"{place} does not exist: name a picture or a folder of pictures.")
        photos += list_pictures(place) if place.is_dir() else [place]
    photos.sort(key=lambda path: path.name)
    if names is not None:
        photos = _named(photos, names)
    if not photos:
        raise StyleError("There are no photos: name picture files, or folders that hold some.")
    return photos if limit is None else _evenly(photos, limit)


def _evenly(photos: list[Path], count: int) -> list[Path]:
    """At most `count` of the photos."""
    return [photos[i * len(photos) // count] for i in range(count)] if count < len(photos) else photos


def evaluate(photos: Sequence[Path], plan: Plan) -> Iterator[tuple[int, int, Score | Fault]]:
    """(pictures done, pictures in all, what is done last) after every picture; closing it stops the work."""
    each, total, done = len(plan.jobs), len(photos) * len(plan.jobs), 0
    for event in score_photos(photos, plan):
        done = min(total, done + (each if isinstance(event, Fault) and not event.method else 1))
        yield done, total, event


def small_evaluation(
    engine: Stylizes, base: str, photos: Sequence[Path], styles: Sequence[str], methods: Sequence[str], out: Path
) -> Iterator[tuple[int, int, str]]:
    """A report of a few photos in the folder `out`, for a page: (pictures done, pictures in all, what is done last) on the way there."""
    yield 0, len(photos) * len(styles), "Loading"
    plan = make_plan(engine, base=base, styles=styles, methods=methods, backbone="embedded", cache=out / CACHE)
    events: list[Score | Fault] = []
    for done, total, event in evaluate(photos, plan):
        events.append(event)
        yield done, total, f"{event.photo} {event.method} {event.style}".strip()
    _write(events, plan, out, title="Your photos", base=base, machine=machine(), sheets=True)
    shutil.rmtree(plan.cache)


def machine() -> str:
    """What the seconds were measured on, in words."""
    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    threads = torch.get_num_threads()
    return f"{cores} CPU cores, {threads} thread{'s' * (threads > 1)}"


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m eval.run", description="Compare methods on the same photos and styles.")
    parser.add_argument("--photos", type=Path, nargs="+", required=True, help="picture files or folders")
    parser.add_argument("--names", type=Path, help="file with the names, or the numbers in the names, of the photos to take, one a line")
    parser.add_argument("--limit", type=int, help="take at most so many photos, evenly from all")
    parser.add_argument("--styles", default="all", help="style names, separated by commas (default: all)")
    parser.add_argument("--methods", default=",".join(DEFAULT_METHODS), help=f"of {', '.join(NAMES)}, separated by commas")
    parser.add_argument("--art", type=Path, help="folder with a folder of pictures for each style (default: the committed numbers)")
    parser.add_argument(
        "--backbone", default="auto", choices=("auto", *backbones.NAMES), help="networks to measure with; auto: standard, offline embedded"
    )
    parser.add_argument("--base", default=POCKET, help="base model: pocket, a folder or a Hub id")
    parser.add_argument("--style-cards", type=Path, default=STYLES_FOLDER, help="folder of style cards")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--title", default="Evaluation", help="of the report")
    parser.add_argument(
        "--limits",
        type=int,
        nargs="?",
        const=LIMIT_PHOTOS,
        metavar="N",
        help=f"find for each style the strongest setting that meets the targets for SSIM and LPIPS, on N photos (default: {LIMIT_PHOTOS})",
    )
    parser.add_argument("--no-sheets", action="store_true", help="show no picture, for photos whose licences forbid it")
    parser.add_argument("--out", type=Path, required=True, help="folder for the report; what it did last time is used again")
    args = parser.parse_args(argv)
    try:
        with processes() as team:
            return _run(args, team)
    except StyleError as error:
        print(f"eval: {error}", file=sys.stderr)
        return 2


def _run(args: argparse.Namespace, team: Processes) -> int:
    for option in ("limit", "limits"):
        value = getattr(args, option)
        if value is not None and value < 1:
            raise StyleError(f"--{option} is {value}: it must be at least 1.")
    if args.out.exists() and not args.out.is_dir():
        raise StyleError(f"{args.out} is a file: choose a folder for --out.")
    photos = list_photos(args.photos, args.names, args.limit)
    engine = Stylizer.open(args.base, args.style_cards, device=args.device)
    plan = make_plan(
        engine,
        base=engine.base.name,
        styles=args.styles.split(","),
        methods=args.methods.split(","),
        backbone=args.backbone,
        cache=args.out / CACHE,
        art=args.art,
        device=args.device,
    )
    _keep_backbones_apart(args.out, plan)
    events: list[Score | Fault] = []
    with tqdm(total=len(photos[team.index :: team.count]) * len(plan.jobs), desc="pictures", disable=team.index > 0, smoothing=0.02) as bar:
        for done, _, event in evaluate(photos[team.index :: team.count], plan):
            events.append(event)
            bar.update(done - bar.n)
            if isinstance(event, Fault):
                bar.write(f"{event.photo} {event.method} {event.style}: {event.reason}", file=sys.stderr)
    team.wait()
    if team.index > 0:
        return 0
    if team.count > 1:
        events = [event for _, _, event in evaluate(photos, plan)]  # it is all in the cache by now, whoever made it
    found = _limits(_evenly(photos, args.limits), plan, engine) if args.limits else []
    where = machine() + (f", {team.count} processes at once" if team.count > 1 else "")
    _write(events, plan, args.out, title=args.title, base=engine.base.name, machine=where, sheets=not args.no_sheets, limits=found)
    print(args.out / "report.md")
    return 0


def _limits(photos: Sequence[Path], plan: Plan, engine: Stylizer) -> list[Limit]:
    """How far the dial of each style goes while the targets hold."""
    found = []
    with tqdm(total=len(plan.styles), desc="limits") as bar:
        for style, strength, limit in find_limits(photos, plan, engine, engine.base.name):
            bar.set_postfix_str(f"{style} {strength:.2f}")
            if limit is not None:
                found.append(limit)
                bar.update()
    return found


def _write(
    events: Sequence[Score | Fault],
    plan: Plan,
    out: Path,
    *,
    title: str,
    base: str,
    machine: str,
    sheets: bool,
    limits: Sequence[Limit] = (),
) -> None:
    scores = [event for event in events if isinstance(event, Score)]
    faults = [event for event in events if isinstance(event, Fault)]
    report = make_report(scores, faults, plan, title=title, base=base, machine=machine, limits=limits)
    write_report(report, scores, plan.cache, out, sheets=sheets)


def _keep_backbones_apart(out: Path, plan: Plan) -> None:
    try:
        before = read_report(out)
    except StyleError:
        return
    if before.backbone_label != plan.backbone.label:
        raise StyleError(f"{out} holds a report of other networks ({before.backbone_label}): choose another folder for --out.")


def _named(photos: Sequence[Path], names: Path) -> list[Path]:
    """One photo for each line of `names`: the file of that name, or the first with that number in its name."""
    try:
        wanted = names.read_text().split()
    except (OSError, UnicodeDecodeError) as error:
        raise StyleError(f"{names} cannot be read ({error}): name a text file.") from None
    by_name = {path.name: path for path in reversed(photos)}
    by_number = {path.stem.rpartition("_")[2].lstrip("0"): path for path in reversed(photos)}
    chosen = [by_name.get(name) or by_number.get(name.lstrip("0")) for name in wanted]
    return [path for path in chosen if path is not None]


if __name__ == "__main__":
    sys.exit(main())
