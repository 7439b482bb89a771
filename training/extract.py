"""Turn a DreamBooth difference into a LoRA of a chosen rank, by singular value decomposition of every layer's difference.

    python -m training.extract styles/sketch-dreambooth/pocket/dreambooth.safetensors --rank 32 --out styles/sketch-extracted/pocket

The best approximation of rank N of a matrix is its N largest singular values with their vectors (Eckart & Young 1936,
https://doi.org/10.1007/BF02288367); a convolution's kernel is a matrix of its outputs by all else. What a LoRA cannot hold, norms and
biases, is left out. `extraction.json` says how much of every layer's squared change is kept, and `extraction.png` shows both side by side.

A LoRA has no prompt of its own. Where the instance prompt was learned, because the base has no text encoder, its effect is moved into the
layers that read the prompt: for each of them there is a change, of a rank no higher than the prompt has tokens, after which the neutral
prompt gives exactly the keys and values that the instance prompt gave.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from PIL import Image, ImageOps
from torch import nn

from stylekit.adapters import apply, deltas, lora_file, lora_weights
from stylekit.adapters.deltas import Delta
from stylekit.adapters.lora_weights import LoraWeights
from stylekit.adapters.weight_maps import PROMPT_LAYER
from stylekit.base import Base
from stylekit.errors import SettingError, StyleError
from stylekit.images import save_png
from stylekit.mix import StyleMix
from stylekit.pixels.contact_sheet import contact_sheet
from stylekit.recipe import Recipe
from stylekit.storage.files import whole
from stylekit.storage.paths import PHOTOS_FOLDER
from stylekit.styles import CARD_FILE, Adapter, Style, StyleLibrary, read_style
from stylekit.stylizer import Stylizer
from training.pictures import data, pictures
from training.style import records

REPORT_FILE, SHEET_FILE = "extraction.json", "extraction.png"
SHEET_PHOTOS = 4
SHEET_SIDE = 384  # pixels
GAP = 4
WORST = 5  # layers in the printed report


@dataclass(frozen=True, kw_only=True)
class Extraction:
    """lora; layer -> (squared change kept, squared change in all); parameter -> squared change, of what a LoRA cannot hold."""

    lora: LoraWeights
    layers: Mapping[str, tuple[float, float]]
    left_out: Mapping[str, float]

    @property
    def kept(self) -> float:
        """Share of the squared change of all layers."""
        return sum(kept for kept, _ in self.layers.values()) / sum(total for _, total in self.layers.values())


def extract(delta: Delta, unet: nn.Module, neutral: torch.Tensor, rank: int, name: str) -> Extraction:
    """The LoRA of `rank` nearest to `delta`. neutral: (tokens, width), the prompt it will be used with if that of `delta` was learned."""
    if not 1 <= rank <= lora_weights.MAX_RANK:
        raise SettingError(f"rank is {rank}: choose one from 1 to {lora_weights.MAX_RANK}.")
    deltas.check_fits(delta, unet)
    own = deltas.parameters(unet)
    changes = {parameter: tensor.float() for parameter, tensor in delta.tensors.items()}
    if delta.instance is not None and deltas.WORDS_KEY not in delta.metadata:
        changes |= fold_prompt(changes, own, delta.instance, neutral.cpu().float())
    modules: dict[str, tuple[torch.Tensor, torch.Tensor]] = {}
    layers: dict[str, tuple[float, float]] = {}
    left_out: dict[str, float] = {}
    for parameter, change in sorted(changes.items()):
        total = float(change.square().sum())
        if change.ndim not in (2, 4) or not parameter.endswith(".weight"):
            left_out[parameter] = total
        elif total:
            module = parameter.removesuffix(".weight")
            modules[module], kept = factors(change, rank)
            layers[module] = (kept, total)
    lora = LoraWeights(name=name, modules=modules, alphas={m: float(len(down)) for m, (down, _) in modules.items()}, metadata={})
    return Extraction(lora=lora, layers=layers, left_out=left_out)


def fold_prompt(
    changes: Mapping[str, torch.Tensor], own: Mapping[str, torch.Tensor], instance: torch.Tensor, neutral: torch.Tensor
) -> dict[str, torch.Tensor]:
    """Changes of the layers that read the prompt, with which `neutral` gives what `instance` gave with `changes`; the smallest such."""
    inverse = torch.linalg.pinv(neutral.T)  # (tokens, width)
    folded = {}
    for parameter, weight in own.items():
        if PROMPT_LAYER.search(parameter.removesuffix(".weight")):
            before = weight.detach().cpu().float()
            after = (before + changes.get(parameter, 0)) @ instance.T
            folded[parameter] = (after - before @ neutral.T) @ inverse
    return folded


def factors(change: torch.Tensor, rank: int) -> tuple[tuple[torch.Tensor, torch.Tensor], float]:
    """((A, B), squared change they keep): ``B @ A`` is the nearest to `change`, a Linear's or a convolution's, of `rank` or less."""
    matrix = change.flatten(1)
    u, s, v = torch.linalg.svd(matrix, full_matrices=False)
    rank = min(rank, len(s))
    root = s[:rank].sqrt()
    down, up = root[:, None] * v[:rank], u[:, :rank] * root
    kernel = (1, 1) if change.ndim == 4 else ()
    return (down.reshape(rank, *change.shape[1:]).contiguous(), up.reshape(len(matrix), rank, *kernel).contiguous()), float(
        s[:rank].square().sum()
    )


def report(found: Extraction, rank: int) -> dict[str, object]:
    """The figures, for `extraction.json`."""
    squared = sum(total for _, total in found.layers.values())
    return {
        "rank": rank,
        "kept": round(found.kept, 4),
        "layers": {module: round(kept / total, 4) for module, (kept, total) in found.layers.items()},
        "left_out": sorted(found.left_out),
        "left_out_share": round(sum(found.left_out.values()) / (squared + sum(found.left_out.values())), 4),
    }


def sheet(base: Base, adapters_: Sequence[Adapter], photos: Sequence[Image.Image], side: int = SHEET_SIDE) -> Image.Image:
    """A row for each photo: the photo, then what each adapter makes of it."""
    styles = tuple(
        Style(name=f"column-{i}", title="", blurb="", period="", license="", adapters=(adapter,)) for i, adapter in enumerate(adapters_)
    )
    stylizer = Stylizer(base, StyleLibrary(styles=styles))
    squares = [ImageOps.fit(photo, (side, side), Image.Resampling.LANCZOS) for photo in photos]
    recipes = [Recipe(mix=StyleMix.of(style.name), base=base.name) for style in styles]
    rows = [[square, *(stylizer.stylize(square, recipe).image for recipe in recipes)] for square in squares]
    for style in styles:
        apply.eject(base.unet, style.name)
    return contact_sheet(rows, gap=GAP)


def source_style(path: Path) -> Style | None:
    """The style whose card lies over the folder of `path`, if there is one."""
    card = path.resolve().parent.parent / CARD_FILE
    return read_style(card) if card.is_file() else None


def card_entry(path: Path, base: str, source: Style | None) -> Adapter:
    """What the card of `source` says of the adapter at `path`; without it, nothing."""
    known = source.adapters if source else ()
    plain = Adapter(base=base, kind="dreambooth", path=path, made="", data="not stated", license="not stated")
    return next((adapter for adapter in known if adapter.path == path.resolve()), plain)


def run(args: argparse.Namespace) -> Path:
    """Reads, extracts, writes the LoRA, the report, the sheet, and where it belongs a card."""
    delta = deltas.read_delta(args.adapter)
    target, card = args.out / lora_file.WEIGHTS_FILE, records.card_path(args.out, None)
    if target.exists() and not args.overwrite:
        raise SettingError(f"{target} exists: choose another --out folder, or give --overwrite.")
    base = Base.open(args.base or delta.base, device="cpu", dtype=torch.float32)
    found = extract(delta, base.unet, base.prompt_embeds()[0], args.rank, "extracted")
    apply.inject(base.unet, found.lora)
    steps = {key: delta.metadata[key] for key in ("stylekit_base", "stylekit_steps") if key in delta.metadata}
    lora_file.write_lora(base.unet, found.lora.name, target, steps)
    apply.eject(base.unet, found.lora.name)
    figures = report(found, args.rank)
    with whole(args.out / REPORT_FILE) as part:
        part.write_text(json.dumps(figures, indent=1) + "\n")
    source = source_style(args.adapter)
    entry = card_entry(args.adapter, base.name, source)
    own = Adapter(**(vars(entry) | {"kind": "lora", "path": target}))
    photos = list(pictures.usable(data.list_pictures(args.photos), SHEET_PHOTOS))
    save_png(sheet(base, [entry, own], photos), args.out / SHEET_FILE)
    worst = sorted(((kept / total, module) for module, (kept, total) in found.layers.items()))[:WORST]
    print(f"rank {args.rank}: {100 * found.kept:.1f} % of the squared change of {len(found.layers)} layers is kept; least:")
    print("\n".join(f"  {100 * share:5.1f} %  {module}" for share, module in worst))
    print(f"{len(found.left_out)} norms and biases are left out, {100 * float(figures['left_out_share']):.2f} % of the squared change")  # type: ignore[arg-type]
    if card:
        use = records.AdapterUse(timestep=entry.timestep, phases=entry.phases, underpainting=entry.underpainting)
        made = f"LoRA of rank {args.rank}, taken out of a DreamBooth run by training.extract. {entry.made}".strip()
        title = re.sub("[-_]", " ", card.parent.name).capitalize()
        print(
            records.write_card(
                card,
                title=title,
                blurb=f"{title}, taken out of DreamBooth.",
                license=entry.license,
                base=base.name,
                adapter=target,
                made=made,
                data=entry.data,
                use=use,
                hand=source.hand if source else None,
                drawn=source.drawn if source else "",
            )
        )
    return target


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m training.extract", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("adapter", type=Path, metavar="ADAPTER", help="file that training.train_dreambooth wrote")
    parser.add_argument("--rank", type=int, default=32, metavar="N")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder for the LoRA, the report and the sheet")
    parser.add_argument("--base", metavar="BASE", help="pocket, a folder or a Hub id; by default what the file names")
    parser.add_argument("--photos", type=Path, default=PHOTOS_FOLDER, metavar="DIR", help="photos for the sheet")
    parser.add_argument("--overwrite", action="store_true", help="replace a LoRA that is in the output folder")
    try:
        print(f"LoRA written to {run(parser.parse_args(argv))}")
    except StyleError as error:
        print(f"extract: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
