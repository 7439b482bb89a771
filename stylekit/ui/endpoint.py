"""The endpoint `/stylize`: what the page does, for programs, with plain files and numbers."""

from __future__ import annotations

import logging
import re
import tempfile
from collections.abc import Callable, Container, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr
from gradio_client.utils import is_file_obj_with_meta
from PIL import Image

from stylekit.errors import PictureError, SettingError, StyleError
from stylekit.images import open_mask, open_picture, save_png
from stylekit.maps import Size, WeightMap
from stylekit.mix import WEIGHT_LIMIT, StyleMix
from stylekit.picture import StylePicture
from stylekit.recipe import DEFAULT_FEATHER, DEFAULT_SIZE, Recipe
from stylekit.ui.worker import MODEL_QUEUE

if TYPE_CHECKING:
    from stylekit.stylizer import Stylized

log = logging.getLogger(__name__)

FAILED = "Something went wrong on the server and is in its log: try again."
MOST_PICTURES = 4  # style pictures of one call; each is read by a network of its own
ASPECT_TOLERANCE = 0.02  # by how much a mask's width over height may differ from the photo's


def create_endpoint(*, run: Callable[[Image.Image, Recipe], Stylized], base: Callable[[], str], default_size: int = DEFAULT_SIZE) -> None:
    """Add the endpoint to the current Blocks. run: photo and Recipe -> the picture. base, default_size: as for `stylize.create_tab`."""

    def stylize(
        photo: gr.FileData,
        style: str | dict[str, float] | None = None,
        strength: float = 1.0,
        mask: gr.FileData | None = None,
        regions: dict[str, gr.FileData] | None = None,
        structure: float = 0.0,
        keep_colours: float = 0.0,
        match_border: bool = False,
        feather: float = DEFAULT_FEATHER,
        steps: int | None = None,
        seed: int = 0,
        size: int = default_size,
        style_images: list[gr.FileData] | gr.FileData | None = None,
        style_image_weights: list[float] | float | None = None,
    ) -> Iterator[gr.FileData]:
        """Restyle a photo; the answer is a PNG of its size that carries the recipe.

        style: a name ("monet"), a mix ("monet:0.6,ukiyoe:0.4" or {"monet": 0.6, "ukiyoe": 0.4}), or nothing where regions or
        style_images say all.
        strength: 0 (the photo) to 1 (the full style). mask: a picture of the photo's shape, white where there is style and black where the
        photo stays, bit for bit. regions: style name -> such a mask; the style above has what they leave. structure, keep_colours: 0 to 1,
        how much of the photo's own detail and colours returns. match_border: whether what is painted meets the photo's tone. feather:
        width of soft borders, as a part of the long side. steps: denoising steps, nothing for the style's own. seed: of the noise. size:
        long side in pixels at which the model works. style_images: pictures, one or a list of up to 4, whose manner is mixed into the
        style; regions call them image1, image2 and so on. style_image_weights: a weight from 0 to 2 for each; without them each counts 1,
        or, where regions name it, in its region alone.
        """
        with _told(), tempfile.TemporaryDirectory(prefix="stylekit-") as folder:
            picture, name = open_picture(_path(photo, "photo")), _path(photo, "photo").stem
            pictures = _pictures(style_images)
            if style is None and not regions and not pictures:
                raise SettingError('No style was given: add style="monet", style_images=[picture], or regions={"monet": mask}.')
            if style is not None and not isinstance(style, (str, dict)):
                raise SettingError('style is neither a text nor a mapping: write "monet:0.6,ukiyoe:0.4" or {"monet": 0.6, "ukiyoe": 0.4}.')
            if regions is not None and not isinstance(regions, dict):
                raise SettingError("regions is not a mapping: give a mask for each style, {name: file}.")
            maps = {region: _map(file, f"The region of {region}", picture.size) for region, file in (regions or {}).items()}
            weights = _weights(style_image_weights, pictures, maps)
            mix = StyleMix(weights=(*StyleMix.of({} if style is None else style).weights, *weights))
            recipe = Recipe(
                mix=mix.with_regions({_named(region, pictures): weight for region, weight in maps.items()}),
                strength=strength,
                num_inference_steps=steps,
                seed=seed,
                size=size,
                base=base(),
                structure=structure,
                keep_colours=keep_colours,
                match_border=match_border,
                feather=feather,
                pictures=pictures,
            )
            if not recipe.mix.present:
                raise SettingError(f"Every weight in {recipe.mix} is 0: raise one.")
            if mask is not None:
                recipe = recipe.with_(strength=_map(mask, "The mask", picture.size).times(strength))
            result = run(picture, recipe)
            yield gr.FileData(path=str(save_png(result.image, Path(folder) / f"{name}-stylized.png", result.recipe)))

    gr.api(stylize, api_name="stylize", concurrency_id=MODEL_QUEUE, concurrency_limit=1)


@contextmanager
def _told() -> Iterator[None]:
    """Errors as the caller sees them: a user's mistake in its own sentence, anything else in the log."""
    try:
        yield
    except StyleError as error:
        raise gr.Error(str(error), print_exception=False) from None
    except Exception:
        log.exception("A picture could not be made.")
        raise gr.Error(FAILED, print_exception=False) from None


def _path(file: Any, what: str) -> Path:
    """Where an uploaded file lies. Only what Gradio has marked as a file has it checked to be an upload."""
    if not is_file_obj_with_meta(file):
        raise PictureError(f"{what} is not an uploaded file: give handle_file(path).")
    return Path(file["path"])


def _pictures(files: Any) -> tuple[StylePicture, ...]:
    """The style pictures, each once."""
    if files is None:
        return ()
    files = files if isinstance(files, list) else [files]
    if len(files) > MOST_PICTURES:
        raise SettingError(f"style_images holds {len(files)} pictures: give at most {MOST_PICTURES}.")
    pictures = tuple(StylePicture.of(_path(file, f"style_images, number {number},")) for number, file in enumerate(files, start=1))
    names = [picture.name for picture in pictures]
    if len(set(names)) < len(names):
        raise SettingError("style_images holds the same picture twice: give it once, with a greater weight.")
    return pictures


def _weights(values: Any, pictures: Sequence[StylePicture], regions: Container[str]) -> list[tuple[str, float]]:
    """Name -> weight for the mix. Without `values` a picture that has a region is in it alone."""
    if values is None:
        return [(picture.name, 1.0) for number, picture in enumerate(pictures, start=1) if f"image{number}" not in regions]
    values = values if isinstance(values, list) else [values]
    if len(values) != len(pictures):
        raise SettingError(f"style_image_weights holds {len(values)}, style_images {len(pictures)}: give one weight for each picture.")
    for value in values:
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= WEIGHT_LIMIT:
            raise SettingError(f"A weight in style_image_weights is {value!r}: choose a number from 0 to {WEIGHT_LIMIT:g}.")
    return [(picture.name, float(value)) for picture, value in zip(pictures, values, strict=True)]


def _named(region: str, pictures: Sequence[StylePicture]) -> str:
    """The style of a region, which calls the style pictures image1, image2 and so on."""
    called = re.fullmatch(r"image([1-9])", region)
    if not called or not pictures:
        return region
    if int(called[1]) > len(pictures):
        raise SettingError(f"regions names {region}, but style_images holds {len(pictures)}: give that picture too.")
    return pictures[int(called[1]) - 1].name


def _map(file: Any, what: str, size: Size) -> WeightMap:
    """A mask for a photo of `size`."""
    mask = open_mask(_path(file, what))
    if not mask.getbbox():
        raise PictureError(f"{what} is black everywhere: paint white where the style should be.")
    if abs(mask.width * size[1] / (mask.height * size[0]) - 1) > ASPECT_TOLERANCE:
        raise PictureError(f"{what} is {mask.width} x {mask.height} but the photo is {size[0]} x {size[1]}: give it the photo's shape.")
    return WeightMap.of(mask)
