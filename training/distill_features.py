"""Compress a perceptual network into a few megabytes: the embedded network of `stylekit.features`.

    python -m training.distill_features --teacher vgg16 --pictures PHOTOS/ ART/ --held-out OTHERS/ --out features.safetensors

The first three blocks of the teacher (VGG16) are kept. Each layer of the fourth becomes two, 3 x 3 to a few channels and 1 x 1 back, by
reduced-rank regression (Izenman 1975): of all maps of that rank from what the student's layer sees, the one nearest in squares to the
teacher's responses there, each channel in units of its root mean square. So a layer makes up for the errors of those before it (cf. Zhang
et al. 2016, https://arxiv.org/abs/1505.06798). All weights are then rounded to 8 bits. What is left of the teacher is measured on pictures
the fit has not seen, and written into the file.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

import torch
from torch.nn import functional as F
from tqdm import tqdm

from stylekit.errors import StyleError
from stylekit.features import VGGFeatures, gram_matrix, load_compressed, load_vgg, save_compressed
from training.pictures import data
from training.pictures.pictures import usable

LAST = "4_3"
BEFORE, COMPRESSED = "3_3", ("4_1", "4_2", "4_3")
RANK = 160  # what fits in 4 MB
PICTURE_SIDE = 320  # pixels; long side of the pictures
PICTURES = 100  # of each folder
POSITIONS = 320  # drawn from each picture
RIDGE = 1e-4  # of the inputs' mean power


@torch.no_grad()
def distil(teacher: VGGFeatures, pictures: Sequence[torch.Tensor], rank: int, seed: int = 0) -> VGGFeatures:
    """The student of `teacher`, which must be uncalibrated, fitted on `pictures`, each (1, 3, H, W) in [-1, 1]."""
    student = VGGFeatures(list(teacher.convs)[-1], dict.fromkeys(COMPRESSED, rank))
    student.load_state_dict({name: value for name, value in teacher.state_dict().items() if name in student.state_dict()}, strict=False)
    seen, answers = [], []  # by picture: what enters the first compressed layer; the teacher's response at every one
    for pixels in tqdm(pictures, desc="teacher"):
        entering = F.max_pool2d(teacher(pixels)[BEFORE], 2)
        seen.append(entering.half())
        responses = []
        for name in COMPRESSED:
            response = teacher.convs[name](entering)
            entering = F.relu(response)
            responses.append(response.half())
        answers.append(responses)
    for i, name in enumerate(COMPRESSED):
        inputs, outputs = _moments(tqdm(seen, desc=name), [responses[i] for responses in answers], seed)
        squeeze, widen, bias = _reduced_rank(inputs, outputs, rank)
        layer = student.convs[name]
        layer.load_state_dict({"0.weight": squeeze.view(rank, -1, 3, 3), "1.weight": widen[:, :, None, None], "1.bias": bias})
        seen = [F.relu(layer(x.float())).half() for x in seen]
    return student.eval().requires_grad_(False)


@torch.no_grad()
def agreement(teacher: VGGFeatures, student: VGGFeatures, pictures: Sequence[torch.Tensor]) -> dict[str, dict[str, float]]:
    """Layer -> share of the variance of the teacher's features (mean over channels that vary), and of its Gram matrix, that is left."""
    rows: dict[str, list[torch.Tensor]] = {name: [] for name in teacher.convs}
    for name in rows:  # in the same units
        getattr(teacher, f"rms_{name}").copy_(getattr(student, f"rms_{name}"))
    for pixels in pictures:
        theirs, ours = teacher(pixels), student(pixels)
        for name in rows:
            a, b = theirs[name][0].flatten(1), ours[name][0].flatten(1)
            grams = gram_matrix(theirs[name])[0], gram_matrix(ours[name])[0]
            errors = [(a - b).pow(2).mean(1), a.pow(2).mean(1), a.mean(1)]
            rows[name].append(torch.cat([torch.cat(errors), (grams[0] - grams[1]).pow(2).sum()[None], grams[0].pow(2).sum()[None]]))
    found = {}
    for name, values in rows.items():
        mean = torch.stack(values).mean(0)
        error, power, level = mean[:-2].chunk(3)
        variance = power - level**2
        alive = variance > 1e-6 * variance.max()
        found[name] = {
            "features": round(float((1 - error / variance)[alive].mean()), 4),
            "gram": round(float(1 - mean[-2] / mean[-1]), 4),
        }
    return found


def lpips_heads() -> dict[str, torch.Tensor]:
    """``lpips_<layer>`` -> (C,): the learned weights of LPIPS for VGG16's channels, from the package lpips; none where that is missing."""
    spec = importlib.util.find_spec("lpips")
    if spec is None or spec.origin is None:
        return {}
    learned = torch.load(Path(spec.origin).parent / "weights" / "v0.1" / "vgg.pth", weights_only=True, map_location="cpu")
    return {f"lpips_{layer}": learned[f"lin{i}.model.1.weight"].flatten() for i, layer in enumerate(("1_2", "2_2", "3_3", "4_3"))}


def _moments(seen: Iterable[torch.Tensor], answers: Sequence[torch.Tensor], seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """(n, n) and (n, m) second moments: of the patches a layer sees, with a constant, and of these with the answers there."""
    source = torch.Generator().manual_seed(seed)
    sums: tuple[torch.Tensor, torch.Tensor] | None = None
    for x, y in zip(seen, answers, strict=True):
        patches, wanted = F.unfold(x.float(), 3, padding=1)[0].T, y[0].float().flatten(1).T
        chosen = torch.randperm(len(patches), generator=source)[:POSITIONS]
        drawn = torch.cat([patches[chosen], patches.new_ones(len(chosen), 1)], 1)
        new = drawn.T @ drawn, drawn.T @ wanted[chosen]
        sums = new if sums is None else (sums[0].add_(new[0]), sums[1].add_(new[1]))
    if sums is None:
        raise StyleError("There is no picture to learn from: name folders of pictures.")
    return sums


def _reduced_rank(inputs: torch.Tensor, outputs: torch.Tensor, rank: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """(rank, n), (m, rank), (m,): the two maps and the constant nearest to the full regression, every output in units of its spread."""
    inputs, outputs = inputs.double(), outputs.double()
    ridge = RIDGE * inputs.diagonal().mean() * torch.eye(len(inputs), dtype=torch.float64)
    full = torch.linalg.solve(inputs + ridge, outputs)  # (n + 1, m)
    slopes, bias = full[:-1], full[-1]
    count = inputs[-1, -1]
    mean = inputs[-1, :-1]
    centred = inputs[:-1, :-1] - mean[:, None] * mean[None] / count
    explained = slopes.T @ centred @ slopes  # (m, m)
    spread = explained.diagonal().clamp_min(1e-12 * explained.diagonal().max()).sqrt()
    axes = torch.linalg.eigh(explained / spread[:, None] / spread[None]).eigenvectors[:, -rank:]  # (m, rank)
    squeeze = (slopes / spread) @ axes  # (n, rank)
    widen = spread[:, None] * axes
    # what is cut off keeps its mean
    shift = (mean / count) @ (slopes - squeeze @ widen.T)
    return squeeze.T.float().contiguous(), widen.float(), (bias + shift).float()


def _pixels(folders: Sequence[Path], most: int) -> list[torch.Tensor]:
    """Of every folder at most `most` pictures as (1, 3, H, W)."""
    pictures = []
    for folder in folders:
        if not folder.is_dir():
            raise StyleError(f"{folder} is not a folder: name a folder of pictures.")
        pictures += [data.to_tensor(data.scale_to(picture, PICTURE_SIDE))[None] for picture in usable(data.list_pictures(folder), most)]
    if not pictures:
        raise StyleError(f"No picture can be read in {', '.join(map(str, folders))}: name folders of pictures.")
    return pictures


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m training.distill_features", description="Compress a perceptual network.")
    parser.add_argument("--teacher", default="vgg16", choices=("vgg16", "hed", "random"))
    parser.add_argument("--pictures", type=Path, nargs="+", required=True, help="folders of photos and art to fit on")
    parser.add_argument("--held-out", type=Path, nargs="+", required=True, help="folders of others, on which the agreement is measured")
    parser.add_argument("--count", type=int, default=PICTURES, help="pictures of each folder to fit on; a third as many are held out")
    parser.add_argument("--rank", type=int, default=RANK, help="channels in the middle of each compressed layer")
    parser.add_argument("--made", default="", help="a sentence about the pictures, for the file's card")
    parser.add_argument("--out", type=Path, required=True, help="safetensors file to write")
    args = parser.parse_args(argv)
    try:
        heads = lpips_heads()
        torch.manual_seed(0)  # the random teacher's
        teacher = load_vgg(args.teacher, last=LAST)
        pictures, held_out = _pixels(args.pictures, args.count), _pixels(args.held_out, args.count // 3)
        student = distil(teacher, pictures, args.rank)
        student.calibrate(pictures[::4])
        save_compressed(student, args.out, {}, heads)
        kept = agreement(teacher, load_compressed(args.out), held_out)  # 8-bit weights and all
        card = {"teacher": args.teacher, "made": args.made, "fitted_on": str(len(pictures)), "held_out": str(len(held_out))}
        save_compressed(student, args.out, {**card, "agreement": json.dumps(kept)}, heads)
    except StyleError as error:
        print(f"distill_features: {error}", file=sys.stderr)
        return 2
    for name, values in kept.items():
        print(f"{name}: {values['features']:.3f} of the features' variance, {values['gram']:.4f} of the Gram matrix")
    print(f"{args.out}: {args.out.stat().st_size / 1e6:.2f} MB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
