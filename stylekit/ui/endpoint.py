"""The endpoint `/stylize`: what the page does, for programs, with plain files and numbers.

Counts, names, settings and sizes are checked before a mask or a style picture is opened. Like the page's, its work is done on a thread of
its own, which stops after the step at hand when the client cancels, or is gone.
"""

from __future__ import annotations

import logging
import re
import tempfile
from collections.abc import Callable, Container, Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr
from gradio_client.utils import is_file_obj_with_meta
from PIL import Image

from stylekit.errors import PictureError, SettingError, StyleError
from stylekit.formats import Say, identify
from stylekit.images import check_mask, open_mask, open_picture, save_png
from stylekit.maps import Size, WeightMap
from stylekit.mix import WEIGHT_LIMIT, StyleMix
from stylekit.recipe import DEFAULT_FEATHER, DEFAULT_SIZE, Recipe
from stylekit.storage.naming import safe_name
from stylekit.style_picture.picture import PICTURE_PREFIX, StylePicture
from stylekit.ui.limits import Limits
from stylekit.ui.status import FAILED, note
from stylekit.ui.worker import MODEL_QUEUE, Turn, watch

if TYPE_CHECKING:
    from stylekit.stylizer import Stylized, StylizeStep

log = logging.getLogger(__name__)

MOST_PICTURES = 4  # style pictures of one call; each is read by a network of its own


def create_endpoint(
    *,
    run: Callable[[Image.Image, Recipe], Generator[StylizeStep | Stylized, None, None]],
    check: Callable[[Size, Recipe], None],
    base: Callable[[], str],
    default_size: int = DEFAULT_SIZE,
    limits: Limits | None = None,
    turn: Turn | None = None,
) -> None:
    """Add the endpoint to the current Blocks.

    run: photo and Recipe -> StylizeSteps, then one Stylized; closing it must cancel. check: raises StyleError for a recipe that cannot be
    made with a photo of a size. limits: of one call. base, default_size, turn: as for `stylize.create_tab`.
    """
    limits, turn = limits or Limits(), turn or Turn()

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
        detail: float = 1.0,
        hand: bool = True,
        guidance: float | None = None,
        sampler: str | None = None,
        tiny_decoder: bool = False,
    ) -> Iterator[gr.FileData | None]:
        """Restyle a photo; the answer is a PNG of its size that carries the recipe.

        style: a name ("monet"), a mix ("monet:0.6,ukiyoe:0.4" or {"monet": 0.6, "ukiyoe": 0.4}), or nothing where regions or
        style_images say all.
        strength: 0 (the photo) to 1 (the full style). mask: a picture of the photo's shape, white where there is style and black where the
        photo stays, bit for bit. regions: style name -> such a mask; the style above has what they leave. structure, keep_colours: 0 to 1,
        how much of the photo's own detail and colours returns. match_border: whether what is painted meets the photo's tone. feather:
        width of soft borders, as a part of the long side. steps: denoising steps, nothing for the style's own. seed: of the noise. size:
        long side in pixels at which the model works. style_images: pictures, one or a list of up to 4, whose manner is mixed into the
        style; regions call them image1, image2 and so on. style_image_weights: a weight from 0 to 2 for each; without them each counts 1,
        or, where regions name it, in its region alone. detail: factor on the lengths of drawn marks, 0.25 (fine) to 4 (bold). hand: whether
        styles that are drawn by hand are; without, the picture is as the model leaves it. guidance: 1 to 30, how far a style's words lead a
        base that reads them, nothing for the style's own. sampler: ddim, dpm++, unipc, lcm or tcd, nothing for the base's own.
        tiny_decoder: whether the small autoencoder decodes, where there is one.

        Until the picture is there, the answer is nothing, now and then: a sign of life.
        """
        notes: list[str] = []  # for the caller, who can be told from this thread alone

        def paint(folder: Path) -> Iterator[Path | None]:
            if style is not None and not isinstance(style, (str, dict)):
                raise SettingError('style is neither a text nor a mapping: write "monet:0.6,ukiyoe:0.4" or {"monet": 0.6, "ukiyoe": 0.4}.')
            if regions is not None and not isinstance(regions, dict):
                raise SettingError("regions is not a mapping: give a mask for each style, {name: file}.")
            path, files = _path(photo, "photo"), _files(style_images)
            if style is None and not regions and not files:
                raise SettingError('No style was given: add style="monet", style_images=[picture], or regions={"monet": mask}.')
            areas = dict(regions or {})
            _check_count("regions", len(areas), limits.regions)
            given = StyleMix.of({} if style is None else style)
            _check_count("style", len(given.weights), limits.styles)
            named = {name: 1.0 for name in areas if _picture_number(name, files) is None}
            rough = Recipe(
                mix=StyleMix.of(
                    {name: weight for name, weight in (dict(given.weights) | named).items() if not name.startswith(PICTURE_PREFIX)}
                ),
                strength=strength,
                num_inference_steps=steps,
                seed=seed,
                size=size,
                base=base(),
                structure=structure,
                keep_colours=keep_colours,
                match_border=match_border,
                feather=feather,
                detail=detail,
                hand=hand,
                guidance_scale=guidance,
                sampler=sampler,
                tiny_decoder=tiny_decoder,
            )
            check(_size_told(path), rough)
            masks = {f"The region of {region}": _path(file, f"The region of {region}") for region, file in areas.items()}
            masks |= {"The mask": _path(mask, "The mask")} if mask is not None else {}
            for what, file in masks.items():
                limits.check_mask(file, what)
            yield None

            picture = open_picture(path, say=notes.append)
            pictures = _pictures(files, notes.append)
            weights = _weights(style_image_weights, pictures, areas)
            said = {name: f"The region of {name}" for name in areas}
            maps = {_named(name, pictures): _map(masks[what], what, picture.size, notes.append) for name, what in said.items()}
            recipe = rough.with_(mix=StyleMix(weights=(*given.weights, *weights)).with_regions(maps), pictures=pictures)
            if not recipe.mix.present:
                raise SettingError(f"Every weight in {recipe.mix} is 0: raise one.")
            if mask is not None:
                recipe = recipe.with_(strength=_map(masks["The mask"], "The mask", picture.size, notes.append).times(strength))
            yield None

            from stylekit.stylizer import Stylized  # brings torch and diffusers along; the page came up without waiting for them

            with closing(run(picture, recipe)) as events:
                for event in events:
                    yield None  # where it stops if nobody waits for it any more
                    if isinstance(event, Stylized):
                        yield save_png(event.image, folder / f"{safe_name(path.stem, 'photo')}-stylized.png", event.recipe)

        with _told(), tempfile.TemporaryDirectory(prefix="stylekit-", ignore_cleanup_errors=True) as name:
            for result in watch(lambda: paint(Path(name)), turn):
                while notes:
                    note(notes.pop(0))
                yield gr.FileData(path=str(result)) if result else None

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


def _size_told(path: Path) -> Size:
    """The size that a picture's header tells; where it tells none, one that asks for nothing, and whoever opens it says what is wrong."""
    try:
        with identify(path, path.name) as picture:
            return picture.size
    except Exception:  # Pillow raises many kinds on hostile headers
        return 1, 1


def _check_count(what: str, count: int, most: int) -> None:
    if count > most:
        raise SettingError(f"{what} holds {count} styles: give at most {most}.")


def _files(style_images: Any) -> list[Path]:
    """Where the style pictures lie."""
    if style_images is None:
        return []
    files = style_images if isinstance(style_images, list) else [style_images]
    if len(files) > MOST_PICTURES:
        raise SettingError(f"style_images holds {len(files)} pictures: give at most {MOST_PICTURES}.")
    return [_path(file, f"style_images, number {number},") for number, file in enumerate(files, start=1)]


def _pictures(files: Sequence[Path], say: Say) -> tuple[StylePicture, ...]:
    """The style pictures, each once."""
    pictures = tuple(StylePicture.of(file, say=say) for file in files)
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


def _picture_number(region: str, pictures: Sequence[object]) -> int | None:
    """Which of the style pictures a region calls image1, image2 and so on; None for a style of the library."""
    called = re.fullmatch(r"image([1-9])", region)
    if not called or not pictures:
        return None
    if int(called[1]) > len(pictures):
        raise SettingError(f"regions names {region}, but style_images holds {len(pictures)}: give that picture too.")
    return int(called[1])


def _named(region: str, pictures: Sequence[StylePicture]) -> str:
    """The style of a region, as the mix calls it."""
    number = _picture_number(region, pictures)
    return region if number is None else pictures[number - 1].name


def _map(path: Path, what: str, size: Size, say: Say) -> WeightMap:
    """A mask for a photo of `size`."""
    mask = open_mask(path, name=what, say=say)
    check_mask(mask, size, name=what)
    return WeightMap.of(mask)
