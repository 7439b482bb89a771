"""Create a Space on the Hugging Face Hub and push the app to it: a page that anyone can open.

    python -m training.push_space OWNER/NAME [--private] [--dry-run]

What is pushed is what the app needs, as listed in `SPACE_FILES`; nothing else of the folder is, whatever lies there. The head of README.md
tells the Space how to run. Run it again to bring the Space up to date: what is there already is not sent again, and code that is no longer
part of the app is taken away. Log in first with `hf auth login`, or set HF_TOKEN.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Sequence
from pathlib import Path

from stylekit.errors import StyleError
from stylekit.hub import readable_size
from stylekit.storage.paths import ROOT
from stylekit.storage.untrusted import Source, parse_yaml, read_text
from training.push import check_repo, publish, refuse_private

SPACE_FILES = tuple(
    re.compile(pattern)
    for pattern in (
        r"app\.py|requirements\.txt|README\.md|LICENSE",
        r"(stylekit|eval|training)/([a-z_0-9]+/)*[a-z_0-9]+\.(py|js|css)",
        r"styles/README\.md|styles/[a-z0-9][a-z0-9_-]*/(style\.toml|[a-z0-9_-]+\.(jpg|png|webp)|[a-z0-9_-]+/[a-z0-9_-]+\.safetensors)",
        r"assets/([a-z0-9_-]+/)*[A-Za-z0-9_.-]+\.(md|txt|json|jpg|png|safetensors|tflite|onnx)",
    )
)
CODE = (re.compile(r"(stylekit|eval|training)/.+\.(py|js|css)"),)
TEXTS = (".py", ".js", ".css", ".md", ".txt", ".toml", ".json")
HEAD_KEYS = ("title", "sdk", "sdk_version", "app_file")  # what a Gradio Space cannot do without


def space_files(root: Path) -> dict[str, bytes | Path]:
    """Path -> file, of the app in `root`. StyleError if the head of README.md is not a Gradio Space's, or a text is private."""
    files: dict[str, bytes | Path] = {}
    for path in sorted(root.rglob("*")):
        name = path.relative_to(root).as_posix()
        if not path.is_symlink() and path.is_file() and any(pattern.fullmatch(name) for pattern in SPACE_FILES):
            files[name] = path
            if path.suffix in TEXTS:
                refuse_private(path.read_text(encoding="utf-8"), name)
    missing = [name for name in ("app.py", "requirements.txt", "README.md") if name not in files]
    if missing:
        raise StyleError(f"{root} holds no {missing[0]}: run this in a clone of the repository.")
    head = read_head(root / "README.md")
    lacking = [key for key in HEAD_KEYS if not head.get(key)]
    if lacking or head["sdk"] != "gradio" or head["app_file"] not in files:
        raise StyleError(f"The head of {root / 'README.md'} is not that of a Gradio Space: it needs {', '.join(HEAD_KEYS)}.")
    return files


def read_head(path: Path) -> dict[str, object]:
    """The YAML between the first two lines of dashes; empty without."""
    source = Source(what=f"The head of {path}", remedy="mend it")
    match = re.match(r"---\n(.*?)\n---\n", read_text(path, source), re.DOTALL)
    values = parse_yaml(match[1], source) if match else {}
    return values if isinstance(values, dict) else {}


def push_space(repo: str, root: Path, *, private: bool = False) -> str:
    """Push the app in `root` to the Space `repo`; a sentence about what happened."""
    return publish(repo, space_files(root), message="stylekit", kind="space", sdk="gradio", private=private, stale=CODE)


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m training.push_space", description="Create a Space and push the app to it.")
    parser.add_argument("repo", metavar="OWNER/NAME", help="the Space; made if it is not there")
    parser.add_argument("--private", action="store_true", help="make the Space private")
    parser.add_argument("--dry-run", action="store_true", help="show what would be pushed, and push nothing")
    args = parser.parse_args(argv)
    try:
        check_repo(args.repo)
        if args.dry_run:
            files = space_files(ROOT)
            sizes = {name: content.stat().st_size for name, content in files.items() if isinstance(content, Path)}
            print("\n".join(f"{readable_size(size):>10}  {name}" for name, size in sizes.items()))
            print(f"{len(files)} files, {readable_size(sum(sizes.values()))}, would be pushed to {args.repo}; nothing was")
        else:
            print(push_space(args.repo, ROOT, private=args.private))
    except StyleError as error:
        print(f"push_space: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
