"""Scores of single pictures: a generator over photos, methods and styles that keeps what it has done, so that it can be resumed.

Every finished picture leaves a small JSON file and a thumbnail in a cache. The file carries a key of all that it depends on (photo,
adapter, base, networks, references); with another key it is made again.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch
from PIL import Image

from eval.backbones import CONTENT_LAYER, PATCH_LAYER, STYLE_LAYERS, Backbone
from eval.methods import Method
from eval.metrics.perceptual import cfsd, content_loss
from eval.metrics.ssim import ssim
from eval.metrics.style import colour_distance, grams, lab_stats, style_loss
from eval.references import MEASURE_SIDE, PAINT_SIDE, Reference, square
from stylekit.errors import StyleError
from stylekit.features import moments
from stylekit.images import open_picture, to_tensor, working_size
from stylekit.storage import digests
from stylekit.storage.files import write_whole

FORMAT = 1
BATCH = 4  # pictures through the network at once
THUMB = 320  # pixels; long side of a thumbnail


@dataclass(frozen=True, kw_only=True)
class Score:
    """One picture. style: "" for a method that knows none. seconds: warm, end to end. memory_mb: most that making it took beyond what was
    loaded; None where the system does not say. to_style: style -> name of a distance -> its value. vector: for FID and KID."""

    photo: str
    method: str
    style: str
    seconds: float
    memory_mb: float | None
    ssim: float
    lpips: float
    content_loss: float
    cfsd: float
    to_style: Mapping[str, Mapping[str, float]]
    vector: Sequence[float] = field(repr=False)
    thumb: str = ""


@dataclass(frozen=True, kw_only=True)
class Fault:
    """A photo that could not be read (method "") or a picture that could not be made, and why."""

    photo: str
    method: str
    style: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What is to be scored. styles: those of every method; methods paint only those they have. cache: folder of finished scores."""

    styles: Sequence[str]
    methods: Sequence[Method]
    backbone: Backbone
    references: Mapping[str, Reference]
    cache: Path
    looks: dict[str, Mapping[str, torch.Tensor]] = field(default_factory=dict, repr=False)  # features of the references' squares

    def __post_init__(self) -> None:
        if not self.styles:
            raise StyleError("There is no style to evaluate: name one or more, or all.")
        for style, reference in self.references.items():
            if reference.backbone != self.backbone.name:
                what = f"The reference of {style} is of the backbone {reference.backbone}"
                raise StyleError(f"{what}, not {self.backbone.name}: make it again.")

    @property
    def jobs(self) -> list[tuple[Method, str]]:
        """Method and style of every picture of a photo; the style is "" for a plain method."""
        found: list[tuple[Method, str]] = []
        for method in self.methods:
            found += [(method, "")] if method.plain else [(method, style) for style in self.styles if not method.lacks(style)]
        return found

    @property
    def missing(self) -> list[tuple[str, str, str]]:
        """(method, style, why) of what the methods do not have."""
        pairs = [(method, style) for method in self.methods if not method.plain for style in self.styles]
        return [(method.name, style, why) for method, style in pairs if (why := method.lacks(style))]


def score_photos(photos: Sequence[Path], plan: Plan) -> Iterator[Score | Fault]:
    """Every picture of every photo, in order. A photo or picture that fails is a Fault, and the next one follows."""
    warm: set[tuple[str, str]] = set()
    for path in photos:
        try:
            digest = digests.of_file(path)
            photo = open_picture(path)
        except (StyleError, OSError) as error:
            yield Fault(photo=path.name, method="", style="", reason=str(error))
            continue
        small = photo.resize(working_size(photo.size, PAINT_SIDE), Image.Resampling.LANCZOS)
        yield from _score_photo(path.name, small, digest, plan, warm)


def _score_photo(name: str, photo: Image.Image, digest: str, plan: Plan, warm: set[tuple[str, str]]) -> Iterator[Score | Fault]:
    painted: list[tuple[Method, str, Image.Image, float, float | None]] = []
    content: tuple[torch.Tensor, dict[str, torch.Tensor]] | None = None
    jobs = plan.jobs
    for i, (method, style) in enumerate(jobs):
        stored = _stored(_place(plan, digest, method, style), _key(plan, digest, method, style))
        if stored is not None:
            yield stored
        else:
            try:
                if (method.name, style) not in warm:
                    method.paint(photo, style)
                    warm.add((method.name, style))
                painted.append((method, style, *_timed(method, photo, style)))
            except Exception as error:  # whatever a method does, the others go on
                yield Fault(photo=name, method=method.name, style=style, reason=str(error) or type(error).__name__)
        if painted and (len(painted) == BATCH or i == len(jobs) - 1):
            content = content or _look(photo, plan.backbone)
            for (method_, style_, picture, seconds, memory), values in zip(painted, _measure(photo, content, painted, plan), strict=True):
                place = _place(plan, digest, method_, style_)
                score = Score(
                    photo=name,
                    method=method_.name,
                    style=style_,
                    seconds=seconds,
                    memory_mb=memory,
                    thumb=str(place.with_suffix(".jpg").relative_to(plan.cache)),
                    **values,
                )
                _store(place, score, _key(plan, digest, method_, style_), picture)
                yield score
            painted = []


def _timed(method: Method, photo: Image.Image, style: str) -> tuple[Image.Image, float, float | None]:
    """The picture, seconds, and megabytes at the peak beyond those at the start."""
    before = _memory(reset=True)
    started = time.perf_counter()
    picture = method.paint(photo, style)
    seconds = time.perf_counter() - started
    peak = _memory(reset=False)
    if picture.size != photo.size:
        raise StyleError(f"The method {method.name} made a picture of {picture.size} from one of {photo.size}.")
    return picture, seconds, None if before is None or peak is None else max(0.0, peak - before)


def _memory(*, reset: bool) -> float | None:
    """Megabytes: of the GPU if there is one, else of this process; now if the peak is to be reset, else at the peak since then."""
    if torch.cuda.is_available():
        if reset:
            torch.cuda.reset_peak_memory_stats()
        return (torch.cuda.memory_allocated() if reset else torch.cuda.max_memory_allocated()) / 1e6
    try:
        if reset:
            Path("/proc/self/clear_refs").write_text("5")
        lines = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
        return int(lines["VmRSS" if reset else "VmHWM"].split()[0]) * 1024 / 1e6
    except (OSError, KeyError):  # no Linux
        return None


def _look(photo: Image.Image, backbone: Backbone) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """Pixels (1, 3, H, W) at the size of measuring, and their features."""
    pixels = _small(photo).to(backbone.device)
    with torch.inference_mode():
        return pixels, backbone.vgg(pixels)


def _small(picture: Image.Image) -> torch.Tensor:
    return to_tensor(picture.resize(working_size(picture.size, MEASURE_SIDE), Image.Resampling.LANCZOS))


def _measure(
    photo: Image.Image,
    content: tuple[torch.Tensor, dict[str, torch.Tensor]],
    painted: Sequence[tuple[Method, str, Image.Image, float, float | None]],
    plan: Plan,
) -> Iterator[dict]:
    """Of each painted picture the values of a Score that are measured on it."""
    backbone, n = plan.backbone, len(painted)
    pixels = torch.cat([_small(picture) for _, _, picture, _, _ in painted]).to(backbone.device)
    whole = to_tensor(photo)[0]
    with torch.inference_mode():
        features = backbone.vgg(pixels)
        theirs = {layer: values.expand(n, -1, -1, -1) for layer, values in content[1].items()}
        lpips = backbone.lpips(pixels, content[0].expand(n, -1, -1, -1), features, theirs)
        losses = content_loss(features[CONTENT_LAYER], theirs[CONTENT_LAYER])
        structure = cfsd(features[PATCH_LAYER], theirs[PATCH_LAYER])
        vectors = backbone.embed(pixels, features)
        styles, manners = grams(features, STYLE_LAYERS), moments(features, STYLE_LAYERS).cpu()
        for i, (method, style, picture, _, _) in enumerate(painted):
            ours = {layer: values[i : i + 1] for layer, values in styles.items()}
            targets = plan.styles if method.plain else [style]
            yield {
                "ssim": ssim(to_tensor(picture)[0], whole),
                "lpips": float(lpips[i]),
                "content_loss": float(losses[i]),
                "cfsd": float(structure[i]),
                "to_style": {
                    s: _to_style(pixels[i : i + 1], ours, manners[i], plan.references[s], plan) for s in targets if s in plan.references
                },
                "vector": [round(float(v), 6) for v in vectors[i]],
            }


def _to_style(
    pixels: torch.Tensor, ours: dict[str, torch.Tensor], manner: torch.Tensor, reference: Reference, plan: Plan
) -> dict[str, float]:
    found = {
        "style_loss": float(style_loss(ours, dict(reference.grams))),
        "colour_distance": colour_distance(lab_stats(pixels[0].cpu()), reference.colours),
    }
    if reference.axis is not None:
        found["reached"] = float(reference.axis.reached(manner))
    if reference.squares is not None:
        squares, mine, vgg = reference.squares.to(pixels.device), square(pixels), plan.backbone.vgg
        if reference.style not in plan.looks:
            plan.looks[reference.style] = vgg(squares)
        theirs, n = plan.looks[reference.style], len(squares)
        looked = {layer: values.expand(n, -1, -1, -1) for layer, values in vgg(mine).items()}
        found["lpips_style"] = float(plan.backbone.lpips(mine.expand(n, -1, -1, -1), squares, looked, theirs).mean())
    return found


def _place(plan: Plan, digest: str, method: Method, style: str) -> Path:
    return plan.cache / digest / f"{method.name}{'-' if style else ''}{style}.json"


def _key(plan: Plan, digest: str, method: Method, style: str) -> str:
    """Of everything that a score depends on."""
    targets = plan.styles if method.plain else [style]
    references = [(s, _digest(plan.references[s])) for s in targets if s in plan.references]
    parts = [FORMAT, digest, method.name, style, method.key(style), plan.backbone.label, PAINT_SIDE, MEASURE_SIDE, references]
    return digests.of_bytes(json.dumps(parts).encode())


def _digest(reference: Reference) -> str:
    return digests.of_values([reference.vectors, reference.axis and reference.axis.direction, reference.squares])


def _stored(place: Path, key: str) -> Score | None:
    try:
        values = json.loads(place.read_text())
        return Score(**values["score"]) if values["key"] == key else None
    except (OSError, ValueError, KeyError, TypeError):  # none yet, or cut off by a crash: it is made again
        return None


def _store(place: Path, score: Score, key: str, picture: Image.Image) -> None:
    thumb = picture.resize(working_size(picture.size, THUMB), Image.Resampling.LANCZOS)
    write_whole(place.with_suffix(".jpg"), lambda part: thumb.save(part, format="JPEG", quality=90))
    write_whole(place, lambda part: part.write_text(json.dumps({"key": key, "score": asdict(score)})))
