"""Style targets made by procedure: a photo in, the same photo as a pencil drawing or a woodblock print out.

A denoiser trained with a squared error learns a sharp, content-true style from targets that are a function of the photo's own
neighbourhood; from a teacher with unpredictable ink it learns the blurred average. So the pocket styles start from procedures.

Line work follows the extended difference of Gaussians (Winnemöller, Kyprianidis & Olsen 2012,
https://doi.org/10.1016/j.cag.2012.03.004); flattening is bilateral filtering with soft luminance steps (Winnemöller, Olsen & Gooch
2006). All functions take and return uint8 RGB arrays (H, W, 3). Lengths are multiples of `unit` pixels, by default the long side over
512; training passes one unit for every size, because a network that sees only a neighbourhood cannot know how large the picture is.
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

REFERENCE_SIDE = 512

# Colours of nineteenth-century prints in sRGB: washi paper, inks and the common pigments.
SUMI = (38, 36, 46)
PRUSSIAN = (30, 58, 104)
INDIGO = (66, 104, 146)
SKY = (148, 178, 190)
PAPER = (240, 228, 200)
OCHRE = (214, 172, 104)
VERMILION = (200, 74, 52)
ROSE = (218, 140, 116)
PINE = (58, 92, 76)
SAGE = (132, 152, 112)
BROWN = (122, 84, 62)
GREY = (150, 146, 138)
UKIYOE_PALETTE = (SUMI, PRUSSIAN, INDIGO, SKY, PAPER, OCHRE, VERMILION, ROSE, PINE, SAGE, BROWN, GREY)
POP_PALETTE = (
    (14, 12, 20),
    (250, 246, 236),
    (226, 36, 44),
    (252, 214, 36),
    (32, 92, 200),
    (84, 190, 232),
    (246, 132, 170),
    (250, 144, 40),
    (40, 158, 92),
    (120, 52, 140),
    (255, 196, 168),
)
QUIET_PALETTE = (
    (40, 42, 48),
    (242, 236, 224),
    (206, 196, 178),
    (146, 142, 136),
    (84, 88, 96),
    (186, 74, 56),
    (222, 168, 92),
    (62, 96, 128),
    (152, 182, 196),
    (112, 130, 98),
    (206, 148, 124),
    (116, 78, 58),
)
GRAPHITE = (46, 45, 48)
DRAWING_PAPER = (250, 248, 242)


def unit_length(picture: np.ndarray) -> float:
    """Pixels per reference pixel."""
    return max(picture.shape[:2]) / REFERENCE_SIDE


def blur(array: np.ndarray, sigma: float) -> np.ndarray:
    return cv2.GaussianBlur(array, (0, 0), sigma, borderType=cv2.BORDER_REFLECT)


def luminance(picture: np.ndarray) -> np.ndarray:
    """CIE L in 0..1."""
    return to_lab(picture)[..., 0] / 100


def to_lab(picture: np.ndarray) -> np.ndarray:
    """uint8 RGB -> float32 CIE Lab, L in 0..100."""
    return cv2.cvtColor(picture.astype(np.float32) / 255, cv2.COLOR_RGB2LAB)


def to_rgb(lab: np.ndarray) -> np.ndarray:
    """CIE Lab -> float32 RGB in 0..255, clipped to what a screen shows."""
    return np.clip(cv2.cvtColor(lab.astype(np.float32), cv2.COLOR_LAB2RGB), 0, 1) * 255


def flatten(picture: np.ndarray, rounds: int, reach: float, tolerance: float) -> np.ndarray:
    """Edge-preserving smoothing: `rounds` of bilateral filtering in Lab, `reach` in pixels, `tolerance` in Lab units."""
    lab = to_lab(picture)
    for _ in range(rounds):
        lab = cv2.bilateralFilter(lab, int(2 * reach) | 1, tolerance, reach, borderType=cv2.BORDER_REFLECT)
    return to_rgb(lab).round().astype(np.uint8)


def ink_lines(light: np.ndarray, sigma: float, sharpness: float, level: float, softness: float) -> np.ndarray:
    """Extended difference of Gaussians of `light` (H, W) in 0..1: ink coverage 0..1, dark where the tone drops."""
    fine, coarse = blur(light, sigma), blur(light, 1.6 * sigma)
    response = (1 + sharpness) * fine - sharpness * coarse
    tone = np.where(response >= level, 1.0, 1.0 + np.tanh((response - level) * softness))
    return (1.0 - np.clip(tone, 0, 1)).astype(np.float32)


def edge_lines(light: np.ndarray, sigma: float, gain: float, threshold: float) -> np.ndarray:
    """Thin ink 0..1 on the dark side of every edge of `light`, whatever its tone."""
    response = blur(light, 1.6 * sigma) - blur(light, sigma)
    return np.clip(response * gain - threshold, 0, 1).astype(np.float32)


def outlines(picture: np.ndarray, sigma: float, level: float, hardness: float) -> np.ndarray:
    """Ink 0..1 along the borders between colours: the colour gradient per `sigma` beyond `level`."""
    lab = to_lab(picture) / 100
    smooth = blur(lab, sigma)
    across, down = cv2.Sobel(smooth, -1, 1, 0, scale=0.125), cv2.Sobel(smooth, -1, 0, 1, scale=0.125)
    gradient = np.sqrt((across**2 + down**2).sum(-1)) * sigma
    return np.clip((gradient / level - 1) * hardness, 0, 1).astype(np.float32)


def local_contrast(light: np.ndarray, reach: float) -> np.ndarray:
    """Even the light out: local mean towards the middle, local spread towards a constant; keeps drawing possible in the shade."""
    mean = blur(light, reach)
    spread = np.sqrt(np.maximum(blur(light**2, reach) - mean**2, 1e-5))
    detail = (light - mean) / (spread + 0.08) * 0.16
    return np.clip(0.55 + 0.6 * (mean - 0.5) + detail, 0, 1).astype(np.float32)


def lay(ink: np.ndarray, ground: np.ndarray, colour: tuple[int, int, int]) -> np.ndarray:
    """Cover `ground` (H, W, 3) with `colour` where `ink` (H, W) in 0..1 says so."""
    amount = ink[..., None]
    return ground * (1 - amount) + np.array(colour, np.float32) * amount


def pencil_sketch(picture: np.ndarray, unit: float | None = None) -> np.ndarray:
    """Graphite on warm white paper: contour lines from a colour dodge and a difference of Gaussians, soft smudged shading."""
    unit = unit or unit_length(picture)
    light = luminance(flatten(picture, 1, 2.5 * unit, 10))
    even = local_contrast(light, 40 * unit)
    dodge = np.clip(even / (blur(even, 3.2 * unit) + 1e-3), 0, 1)
    strokes = np.clip((1 - dodge) * 3.0, 0, 1) ** 0.9
    contour = ink_lines(even, 0.8 * unit, 14.0, 0.30, 6.0) * 0.55
    lines = 1 - (1 - strokes) * (1 - contour)
    smooth = blur(light, 1.2 * unit)
    shade = np.clip((0.62 - smooth) / 0.62, 0, 1) ** 1.25 * 0.62
    cover = 1 - (1 - np.clip(lines, 0, 1) * 0.95) * (1 - shade)
    paper = np.broadcast_to(np.array(DRAWING_PAPER, np.float32), picture.shape)
    return lay(cover, paper, GRAPHITE).round().astype(np.uint8)


def ukiyoe_print(picture: np.ndarray, unit: float | None = None) -> np.ndarray:
    """A colour woodblock print: few flat areas in old pigments on cream paper, held by indigo-black key lines."""
    unit = unit or unit_length(picture)
    calm = median(picture, 2 * unit)  # takes grass and gravel away, leaves borders
    lab = to_lab(flatten(calm, 3, 4 * unit, 9))
    light = lab[..., 0] / 100
    open_light = np.clip(light + 0.3 * (light - blur(light, 50 * unit)), 0, 1) ** 0.72  # prints are bright: the paper is the light
    stepped = soft_steps(open_light, 5, 7.0)
    # Pigments are muted, and shade is printed in blue: compress the chroma, cool the darks.
    chroma = np.hypot(lab[..., 1], lab[..., 2]) + 1e-3
    muted = 52 * np.tanh(chroma / 42) / chroma
    warmth = np.maximum(lab[..., 1], 0) + np.maximum(lab[..., 2], 0)
    cool = 24 * np.clip(1 - stepped, 0, 1) ** 1.5 * np.exp(-warmth / 9)  # but wood and dark skin stay warm
    ask = np.stack([stepped * 100, lab[..., 1] * muted, lab[..., 2] * muted - cool], -1)
    handicap = np.zeros(len(UKIYOE_PALETTE))
    handicap[0] = 380.0  # black is for the lines; large darks are printed in blue
    mixed = choose_inks(ask, UKIYOE_PALETTE, softness=90.0, handicap=handicap)
    mixed[..., 0] = 0.6 * mixed[..., 0] + 0.4 * (stepped * 82 + 12)
    printed = to_rgb(mixed)
    key = flatten(median(picture, 1), 2, 2.5 * unit, 10)
    dark_side = edge_lines(local_contrast(luminance(key), 30 * unit), 1.15 * unit, 52.0, 0.55)
    lines = np.maximum(dark_side, outlines(key, 0.8 * unit, 0.06, 0.8) * 0.9)
    return np.clip(lay(lines * 0.9, printed, SUMI), 0, 255).round().astype(np.uint8)


def pop_art(picture: np.ndarray, unit: float | None = None) -> np.ndarray:
    """A comic panel: bold flat colour, thick black outlines, and halftone dots in the half-tones.

    There is one dot in every 8x8 cell, the patch that one latent pixel of the pocket base stands for.
    """
    unit = unit or unit_length(picture)
    calm = median(picture, 2 * unit)
    lab = to_lab(flatten(calm, 3, 4 * unit, 10))
    light = lab[..., 0] / 100
    open_light = np.clip(light + 0.35 * (light - blur(light, 50 * unit)), 0, 1) ** 0.75
    punch = np.clip(0.5 + (open_light - 0.5) * 1.25, 0, 1)
    chroma = np.hypot(lab[..., 1], lab[..., 2]) + 1e-3
    loud = 85 * np.tanh(chroma / 28) / chroma
    ask = np.stack([soft_steps(punch, 4, 9.0) * 100, lab[..., 1] * loud, lab[..., 2] * loud - 6], -1)
    handicap = np.zeros(len(POP_PALETTE))
    handicap[0] = 350.0
    flat = to_rgb(choose_inks(ask, POP_PALETTE, softness=130.0, handicap=handicap))
    tone = np.clip(1.15 - punch * 1.25, 0, 1)  # how much ink the dots carry
    half = np.clip(1 - np.abs(punch - 0.6) / 0.3, 0, 1)  # only half-tones are dotted
    radius = np.sqrt(tone / np.pi) * 8 * 1.05
    rows, columns = np.mgrid[: picture.shape[0], : picture.shape[1]]
    distance = np.hypot((rows % 8) - 3.5, (columns % 8) - 3.5)
    dots = np.clip(radius - distance + 0.5, 0, 1) * np.clip(half * 2.5, 0, 1)
    darker = flat * np.array([0.80, 0.42, 0.50], np.float32)
    dotted = flat * (1 - 0.75 * dots[..., None]) + darker * 0.75 * dots[..., None]
    key = flatten(median(picture, 1), 2, 2.5 * unit, 10)
    lines = np.maximum(edge_lines(local_contrast(luminance(key), 30 * unit), 1.5 * unit, 60.0, 0.6), outlines(key, 1.15 * unit, 0.07, 1.0))
    return np.clip(lay(np.clip(lines, 0, 1), dotted, (12, 10, 16)), 0, 255).round().astype(np.uint8)


def minimalism(picture: np.ndarray, unit: float | None = None) -> np.ndarray:
    """A few fields in quiet, light colours: paper white, sand, clay, slate. `picture` is to be flat fields already (`underpainting`)."""
    unit = unit or unit_length(picture)
    lab = to_lab(picture)
    light = np.clip(lab[..., 0] / 100, 0, 1)
    open_light = np.clip(light + 0.25 * (light - blur(light, 50 * unit)), 0, 1) ** 0.7
    stepped = soft_steps(open_light, 4, 8.0)
    chroma = np.hypot(lab[..., 1], lab[..., 2]) + 1e-3
    quiet = 46 * np.tanh(chroma / 30) / chroma
    ask = np.stack([stepped * 100, lab[..., 1] * quiet, lab[..., 2] * quiet], -1)
    mixed = choose_inks(ask, QUIET_PALETTE, softness=80.0)
    mixed[..., 0] = 0.45 * mixed[..., 0] + 0.55 * (22 + 76 * stepped)  # deep tones are lifted
    return to_rgb(mixed).round().astype(np.uint8)


def median(picture: np.ndarray, radius: float) -> np.ndarray:
    """Median filter over a square that reaches `radius` pixels from its middle."""
    return cv2.medianBlur(picture, 2 * round(radius) + 1)


def choose_inks(
    ask: np.ndarray, palette: tuple[tuple[int, int, int], ...], softness: float, handicap: np.ndarray | None = None
) -> np.ndarray:
    """Lab colours (H, W, 3): the inks nearest to `ask`, soft at the borders. Hue counts more than tone; `handicap` keeps an ink rare."""
    inks = cv2.cvtColor(np.array(palette, np.float32)[None] / 255, cv2.COLOR_RGB2LAB)[0]
    distance = ((ask[..., None, :] - inks) ** 2 * np.array([0.55, 1.0, 1.0])).sum(-1)
    if handicap is not None:
        distance = distance + handicap
    weight = np.exp(-(distance - distance.min(-1, keepdims=True)) / softness)
    weight /= weight.sum(-1, keepdims=True)
    return (weight[..., None] * inks).sum(-2)


def soft_steps(light: np.ndarray, steps: int, hardness: float) -> np.ndarray:
    """Quantise `light` in 0..1 to `steps` levels with smooth transitions."""
    scaled = light * steps
    level = np.floor(scaled) + 0.5
    within = scaled - level  # -0.5..0.5 inside a level
    rise = 0.5 * np.tanh(hardness * (within - 0.5)) + 0.5 * np.tanh(hardness * (within + 0.5))
    return ((level + rise) / steps).astype(np.float32)


PROCEDURES: dict[str, Callable[..., np.ndarray]] = {
    "sketch": pencil_sketch,
    "ukiyoe": ukiyoe_print,
    "popart": pop_art,
    "minimalism": minimalism,
}
