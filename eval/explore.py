"""Data analysis: what is in folders of pictures, and what is likely to be wrong with them.

    python -m eval.explore photos/ styles/* --out report/ --no-samples

writes report.md with plots (PNG) and explore.json with every number and the files behind each likely problem. Only folder names are shown,
never paths; ``NAME=DIR`` gives a folder another name. All measures but the sizes are taken in CIE L*a*b* (D65) on the picture reduced to
at most 512 pixels, about the size at which a style is learned.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps

from eval.explore_plots import plot_colours, plot_map, plot_palettes, plot_problems, plot_sizes, plot_tone
from eval.measures import (
    BORDER,
    COLOURLESS,
    DULL,
    FEATURES,
    FEW_PICTURES,
    LONG_SIDE,
    MEASURES,
    NEAR,
    Folder,
    alike,
    find_problems,
    measure_folder,
    palette,
    percent,
    principal_map,
)
from eval.output import save_figure
from stylekit.errors import SettingError, StyleError
from stylekit.images import open_picture
from stylekit.pixels.contact_sheet import contact_sheet
from stylekit.storage.files import write_whole

THUMB = 128  # pixels, on the sample sheet
PER_FOLDER = 8  # pictures on the sample sheet


def summarise(folders: Sequence[Folder], size: int) -> dict[str, Any]:
    """Everything the report says, as plain values."""
    entries = []
    for folder in folders:
        sizes = Counter((m.width, m.height) for m in folder.measures)
        common, count = sizes.most_common(1)[0] if sizes else ((0, 0), 0)
        entries.append(
            {
                "name": folder.name,
                "pictures": len(folder.measures),
                "most_common_size": {"width": common[0], "height": common[1], "pictures": count},
                "measures": {name: _quantiles(folder.values(name)) for name in MEASURES} if folder.measures else {},
                "palette": [{"colour": colour, "share": round(share, 4)} for colour, share in palette(folder)] if folder.measures else [],
                "problems": find_problems(folder, size),
                "unreadable": folder.unreadable,
            }
        )
    owner = [(folder.name, m.file) for folder in folders for m in folder.measures]
    every = [m for folder in folders for m in folder.measures]
    across = [(owner[i], owner[j]) for i, j in alike(every) if owner[i][0] != owner[j][0]]
    positions = principal_map(folders)
    return {
        "size": size,
        "folders": entries,
        "alike_across_folders": [["/".join(first), "/".join(second)] for first, second in across],
        "map": {
            "features": list(FEATURES),
            "loadings": positions["loadings"].round(3).tolist(),
            "shares": positions["shares"].round(4).tolist(),
        },
    }


def findings(entry: dict[str, Any], size: int) -> list[str]:
    """Sentences about one folder of the summary."""
    count, problems = entry["pictures"], entry["problems"]
    if not count:
        return ["no picture can be read"]
    lines = []
    if count < FEW_PICTURES:
        lines.append(f"only {_pictures(count)}: too few to learn a style from without repeating them")
    common = entry["most_common_size"]
    if common["pictures"] > count / 2:
        lines.append(f"{_of(common['pictures'], count)} of exactly {common['width']} x {common['height']} px")
    if problems["small"]:
        median = entry["measures"]["short_side"]["median"]
        lines.append(f"{_of(len(problems['small']), count)} with a short side under {size} px; the median of all is {median:.0f} px")
    texts = {
        "long": "with one side over twice the other, of which a square crop keeps less than half",
        "duplicate": "that repeat another file",
        "near_duplicate": "that look like an earlier picture, another scan or copy: they must not lie on both sides of a split",
        "dull": "of little contrast: mist and night, or faded scans",
        "border": "with a plain border, paper margin or background at opposite edges",
        "transparent": "with transparent parts, which are laid on white",
        "caption": "with what looks like a line of print at the bottom",
        "colourless": "practically without colour, in a set that has colour",
        "unreadable": "that cannot be read",
    }
    lines += [f"{_of(len(problems[name]), count)} {text}" for name, text in texts.items() if problems[name]]
    if entry["measures"]["chroma"]["max"] < COLOURLESS:
        lines.append("all without colour")
    return lines or ["nothing found"]


def _of(part: int, whole: int) -> str:
    return f"{part} ({percent(part / whole)})"


def _pictures(count: int) -> str:
    return f"{count} picture{'' if count == 1 else 's'}"


def _quantiles(values: np.ndarray) -> dict[str, float]:
    names = {"min": 0, "p5": 5, "p25": 25, "median": 50, "p75": 75, "p95": 95, "max": 100}
    return {name: round(float(np.percentile(values, at)), 3) for name, at in names.items()} | {"mean": round(float(values.mean()), 3)}


def markdown(summary: dict[str, Any], plots: dict[str, str], samples: bool) -> str:
    """report.md; plots: file -> what it shows."""
    size, entries = summary["size"], summary["folders"]
    lines = [
        "# Data report",
        "",
        f"{sum(e['pictures'] for e in entries)} pictures in {len(entries)} folders, measured by `eval/explore.py`.",
        "",
    ]
    lines += ["| folder | pictures | short side, px | lightness L* | contrast | chroma C* | sharpness |", "|---|---|---|---|---|---|---|"]
    for entry in (e for e in entries if e["pictures"]):
        cells = [entry["measures"][name] for name in ("short_side", "lightness", "contrast", "chroma", "sharpness")]
        texts = " | ".join(f"**{c['median']:.0f}** ({c['p5']:.0f} to {c['p95']:.0f})" for c in cells)
        lines.append(f"| {entry['name']} | {entry['pictures']} | {texts} |")
    lines += ["", "Median, and in brackets the range of the middle 90 %.", "", "## Likely problems", ""]
    for entry in entries:
        lines += [f"**{entry['name']}**", "", *(f"- {line}" for line in findings(entry, size)), ""]
    if across := summary["alike_across_folders"]:
        pairs = Counter(tuple(sorted(name.split("/")[0] for name in pair)) for pair in across)
        lines += ["Pictures that look alike in two folders: " + ", ".join(f"{a} and {b} {n}" for (a, b), n in pairs.items()) + ".", ""]
    lines += ["The files behind every count are in `explore.json`.", ""]
    for file, text in plots.items():
        lines += [f"## {text.partition('. ')[0].rstrip('.')}", "", f"![{text.partition('. ')[0].rstrip('.')}]({file})", ""]
        lines += [text.partition(". ")[2], ""] if ". " in text else []
    if not samples:
        lines += ["No picture is shown here, because not all of them may be.", ""]
    lines += [
        "## How it was measured",
        "",
        f"Pictures as shown (upright, sRGB, transparency on white), reduced to at most {LONG_SIDE} px, in CIE L\\*a\\*b\\* (D65).",
        "Contrast is the standard deviation of L\\*; chroma C\\* is the distance from grey; sharpness is the standard deviation of the",
        f"4-neighbour Laplacian of L\\*. Near duplicates differ in at most {NEAR} of the 64 bits of a DCT perceptual hash",
        f"(`imagehash.phash`). A border is a plain band of at least {100 * BORDER:.0f} % of the side at two opposite edges.",
        f"Low contrast is under {DULL:.0f}; without colour is a joint deviation of a\\* and b\\* under {COLOURLESS:.0f}.",
        "These are hints for looking, not verdicts: a mist is not a faded scan.",
        "",
    ]
    return "\n".join(lines)


def sample_sheet(folders: Sequence[Folder]) -> Image.Image:
    """A row of small squares per folder, chosen by checksum."""
    rows = []
    for folder in folders:
        chosen = sorted(folder.measures, key=lambda m: m.sha256)[:PER_FOLDER]
        rows.append([ImageOps.fit(open_picture(folder.path / m.file), (THUMB, THUMB), Image.Resampling.LANCZOS) for m in chosen])
    return contact_sheet(rows, names=[folder.name for folder in folders], gap=6, margin=110)


def write_report(folders: Sequence[Folder], out: Path, size: int, samples: bool) -> dict[str, Any]:
    """Write report.md, explore.json, plots and, if `samples`, samples.jpg below `out`; returns the summary."""
    summary = summarise(folders, size)
    plots: dict[str, tuple[str, Callable[[], Any]]] = {
        "problems.png": ("Likely problems by folder. Pictures, and their share of the folder.", partial(plot_problems, summary)),
        "sizes.png": (
            "Sizes. A dot is a picture, the bar the middle half, the ring and the number the median; logarithmic scales.",
            partial(plot_sizes, folders, size),
        ),
        "tone.png": ("Light, contrast, colour and sharpness. As above, in units of L\\*a\\*b\\*.", partial(plot_tone, folders)),
        "colours.png": (
            "Colours. Pixels of the folder in the plane of a\\* and b\\*; grey is the centre, the rings are chroma 30 and 60.",
            partial(plot_colours, folders),
        ),
        "palettes.png": (
            "Palettes. Ten main colours of each folder, by lightness; width is the share of pixels.",
            partial(plot_palettes, folders),
        ),
        "map.png": (
            "Map. Principal components of nine measures of colour and texture; a dot is a picture, the large ones medians of folders. "
            "Folders that overlap are alike in these measures, not necessarily in style.",
            partial(plot_map, folders),
        ),
    }
    for file, (_, draw) in plots.items():
        write_whole(out / file, partial(save_figure, draw()))
    texts = {file: text for file, (text, _) in plots.items()}
    if samples:
        write_whole(out / "samples.jpg", lambda part: sample_sheet(folders).save(part, format="JPEG", quality=85))
        texts["samples.jpg"] = "Samples"
    else:  # of an earlier run that showed some
        (out / "samples.jpg").unlink(missing_ok=True)
    write_whole(out / "explore.json", lambda part: part.write_text(json.dumps(summary, indent=1, ensure_ascii=False) + "\n"))
    write_whole(out / "report.md", lambda part: part.write_text(markdown(summary, texts, samples)))
    return summary


def named_folders(arguments: Sequence[str]) -> dict[str, Path]:
    """Name -> folder from ``DIR`` or ``NAME=DIR``; equal names are numbered."""
    named: dict[str, Path] = {}
    for argument in arguments:
        name, equals, path = argument.partition("=")
        folder = Path(path) if equals and not Path(argument).exists() else Path(argument)
        if not folder.is_dir():
            raise StyleError(f"{folder} is not a folder: name a folder of pictures.")
        name = name if equals and folder == Path(path) else folder.resolve().name or "root"
        named[next(label for label in (name, *(f"{name}-{i}" for i in range(2, len(named) + 3))) if label not in named)] = folder
    return named


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m eval.explore", description="What is in folders of pictures, as a report with plots.")
    parser.add_argument("folders", nargs="+", metavar="DIR", help="folder of pictures, or NAME=DIR")
    parser.add_argument("--out", type=Path, required=True, help="folder for the report")
    parser.add_argument("--size", type=int, default=512, help="short side in pixels below which a picture is small (default: 512)")
    parser.add_argument("--limit", type=int, help="measure only so many pictures of each folder")
    parser.add_argument("--no-samples", action="store_true", help="show no picture, for sets whose licences forbid it")
    args = parser.parse_args(argv)
    try:
        for name in ("size", "limit"):
            if getattr(args, name) is not None and getattr(args, name) < 1:
                raise SettingError(f"{name} is {getattr(args, name)}: it must be at least 1.")
        if args.out.exists() and not args.out.is_dir():
            raise StyleError(f"{args.out} is a file: choose a folder for --out.")
        if (args.out / "report.md").exists() and not (args.out / "explore.json").exists():
            raise StyleError(f"{args.out} holds another report.md: choose another folder for --out.")
        named = named_folders(args.folders)
        folders = [measure_folder(name, path, args.limit) for name, path in named.items()]
        if not any(folder.measures for folder in folders):
            raise StyleError("No picture can be read: look at the files, or name other folders.")
        summary = write_report(folders, args.out, args.size, samples=not args.no_samples)
    except StyleError as error:
        print(f"explore: {error}", file=sys.stderr)
        return 2
    for entry in summary["folders"]:
        print(f"{entry['name']}: {_pictures(entry['pictures'])}; " + "; ".join(findings(entry, args.size)))
    print(args.out / "report.md")
    return 0


if __name__ == "__main__":
    sys.exit(main())
