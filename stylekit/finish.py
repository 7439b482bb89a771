"""What is done to a picture after it is painted: the photo's structure, colours and tone, as far as the recipe asks.

It is done at the photo's size in bands of rows. What belongs to a neighbourhood (the soft part of the light, the tone at a border) is
worked out on a small copy and enlarged, so a band needs no more than its own rows and no seam shows.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from PIL import Image

from stylekit import images
from stylekit.hand.analysis import Floats, enlarged
from stylekit.pixels import colour, structure
from stylekit.recipe import Recipe

TONE_SIDE = 768  # pixels; long side of the small copy
BAND = 1_000_000  # pixels at once
RIM = 0.01  # of the long side; the least width over which the tone at a border is read
FELT = 0.1  # of the long side; the width over which a matched tone gives way to the style's own

Alpha = Callable[[tuple[int, int], float], Image.Image]  # size, feather -> how the painted is laid on the photo, mode L


def asks_for_more(recipe: Recipe) -> bool:
    """Whether `finish` changes anything for `recipe`."""
    return bool(recipe.structure or recipe.keep_colours or (recipe.match_border and recipe.has_maps))


def finish(painted: Image.Image, photo: Image.Image, recipe: Recipe, alpha: Alpha) -> Image.Image:
    """`painted` with what `recipe` asks of `photo`, both RGB of one size."""
    if not asks_for_more(recipe):
        return painted
    size = images.working_size(photo.size, TONE_SIDE)
    small_photo, small = (_reduced(picture, size) for picture in (photo, painted))
    soft = _plane(structure.soft_difference(small, small_photo)) if recipe.structure else None
    offset = _border_offset(_kept(small, small_photo, soft, recipe), small_photo, recipe, size, alpha)
    result = np.empty((photo.height, photo.width, 3), np.uint8)
    rows = max(16, BAND // photo.width)
    for top in range(0, photo.height, rows):
        bottom = min(photo.height, top + rows)
        box = (0, top, photo.width, bottom)
        ours, theirs = images.to_tensor(painted.crop(box)), images.to_tensor(photo.crop(box))
        here = None if soft is None else enlarged(soft, photo.size, top, bottom - top)
        pixels = _kept(ours, theirs, here, recipe)
        if offset is not None:
            pixels = pixels + _tensor(enlarged(offset, photo.size, top, bottom - top))
        result[top:bottom] = np.asarray(images.to_picture(pixels))
    return Image.fromarray(result)


def _kept(painted: torch.Tensor, photo: torch.Tensor, soft: Floats | None, recipe: Recipe) -> torch.Tensor:
    """Structure and colours; soft: (h, w, 1), see `structure.soft_difference`."""
    if soft is not None:
        painted = structure.keep_structure(painted, photo, recipe.structure, _tensor(soft))
    if recipe.keep_colours:
        painted = colour.keep_colours(painted, photo, float(recipe.keep_colours))
    return painted


def _border_offset(painted: torch.Tensor, photo: torch.Tensor, recipe: Recipe, size: tuple[int, int], alpha: Alpha) -> Floats | None:
    if not (recipe.match_border and recipe.has_maps):
        return None
    rim, near = (images.mask_to_tensor(alpha(size, f)) for f in (max(recipe.feather, RIM), FELT))
    return _plane(colour.match_border(painted, photo, rim * (1 - rim), 1 - near) - painted)


def _reduced(picture: Image.Image, size: tuple[int, int]) -> torch.Tensor:
    return images.to_tensor(picture if picture.size == size else picture.resize(size, Image.Resampling.BOX))


def _plane(pixels: torch.Tensor) -> Floats:
    """(1, C, H, W) -> (H, W, C)."""
    return pixels[0].permute(1, 2, 0).contiguous().numpy()


def _tensor(plane: Floats) -> torch.Tensor:
    """Undo `_plane`."""
    return torch.from_numpy(np.ascontiguousarray(plane)).permute(2, 0, 1)[None]
