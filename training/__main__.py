"""All commands of training under one name: ``stylekit-train`` or ``python -m training``, then a command and its own flags.

Each is a module of its own too: ``stylekit-train lora ...`` and ``python -m training.train_lora ...`` are the same. With many processes the
second is the one to use: ``accelerate launch -m training.train_lora ...``.
"""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Sequence

# command: module, what it does
COMMANDS = {
    "prepare": ("training.prepare", "pictures from anywhere to a training set: resized, captioned, split, with their sources"),
    "lora": ("training.train_lora", "train a style as a LoRA, on any base in Stable Diffusion 1.x layout"),
    "teach": ("training.teach", "a style from 1 to 20 pictures in minutes, on the pocket base"),
    "dreambooth": ("training.train_dreambooth", "train a style by DreamBooth: the base's own weights, under a prompt of its own"),
    "extract": ("training.extract", "a LoRA out of what DreamBooth changed"),
    "previews": ("training.previews", "the pictures of style cards: before, after and the dial"),
    "push": ("training.push", "push a style to the Hugging Face Hub, with its cards"),
    "push-space": ("training.push_space", "push the app to a Space of the Hub"),
    "general": ("training.train_general", "train the general adapter of a base, for style pictures"),
    "pocket": ("training.train_pocket", "train the pocket base: autoencoder, unet, export"),
    "contours": ("training.train_contours", "train the network that sees where things end"),
    "things": ("training.convert_things", "turn the network that sees what is in a photo into ONNX, which OpenCV runs"),
    "features": ("training.distill_features", "compress a perceptual network into the embedded one"),
}


def build_parser() -> argparse.ArgumentParser:
    width = max(map(len, COMMANDS))
    listed = "\n".join(f"  {name:<{width}}  {what}" for name, (_, what) in COMMANDS.items())
    parser = argparse.ArgumentParser(
        prog="stylekit-train",
        description="Make styles and bases for stylekit.",
        epilog=f"commands:\n{listed}\n\nEach explains its own flags: stylekit-train lora --help. The guide is docs/training_guide.md.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("command", choices=COMMANDS, metavar="COMMAND", help="one of those below")
    parser.add_argument("flags", nargs=argparse.REMAINDER, metavar="...", help="its own flags")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    given = list(sys.argv[1:] if argv is None else argv)
    parser = build_parser()
    if not given:
        parser.print_help()
        return 2
    module = COMMANDS[parser.parse_args(given[:1]).command][0]  # the command alone: its flags are its own affair
    return int(importlib.import_module(module).main(given[1:]))


if __name__ == "__main__":
    sys.exit(main())
