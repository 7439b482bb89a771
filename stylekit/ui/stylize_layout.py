"""What lies where on the Stylize tab, and the words and choices on it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr

from stylekit.base_card import POCKET
from stylekit.formats import FILE_TYPES
from stylekit.recipe import DEFAULT_FEATHER, FEATHER_LIMIT
from stylekit.results.carriers import SETTINGS_SUFFIX
from stylekit.ui.choices import create_examples, create_styles, picture_address
from stylekit.ui.home.settings import create_settings
from stylekit.ui.home.take import create_take
from stylekit.ui.painter.easel import create_painter
from stylekit.ui.parts.frame import Hanging, create_frame
from stylekit.ui.parts.style_tools import StyleTools, create_tools
from stylekit.ui.scripts import BAR, DROP
from stylekit.ui.status import say
from stylekit.ui.visit.history import create_history
from stylekit.ui.visit.keep import create_keep
from stylekit.ui.visitor_styles import VisitorStyles

if TYPE_CHECKING:
    from stylekit.styles import Style


DETAILS = (0.5, 2.0)  # of the dial for the length of marks
DISPLAY_SIDE = 1280  # pixels the browser gets to see; the download is whole
MAX_STEPS = 8
SIZES = (512, 768, 1024)  # pixels
SAMPLER_CHOICES = [("Auto", ""), ("DDIM", "ddim"), ("DPM++ 2M", "dpm++"), ("UniPC", "unipc"), ("LCM", "lcm"), ("TCD", "tcd")]
GUIDANCES = (1.0, 3.0, 5.0, 7.5, 10.0, 12.5)
PHOTO = """${value ? `<img src="${value.url}" alt="Your photo, small">` : ""}"""
TAKEN = (*FILE_TYPES, SETTINGS_SUFFIX)  # as photos; a file of settings sets the page
WELCOME = "Choose a photo and a style."


@dataclass(frozen=True, kw_only=True)
class StylizeTab:
    """The tab's components, for tabs that set a photo or a style here.

    photo shows the file at photo_path, small; drop stands in its place before there is one. style: the chosen one, by name; while painting
    is ticked, the brush's, and what counts is the painter's palette and paint. bring_style: brings a picture as a style, one more of
    visitor_styles.
    frame: a `Hanging`: an example of the style, the photo, or what was made of it; hung: which of them.
    words: what there is on bases that read words alone: guidance, how far a style's lead; sampler; quick, the small autoencoder.
    own: renames, removes and exports the chosen style, where it is a picture of the visitor's.
    take: formats and print sizes of the result. settings: presets, links and files. keep: the browser's store. limit: bytes of an upload.
    restored: what a dropped PNG set the controls to; dropped: that PNG's digest.
    """

    drop: gr.File
    photo: gr.HTML
    change: gr.UploadButton
    photo_path: gr.State
    examples: gr.HTML
    style: gr.HTML
    bring_style: gr.UploadButton
    visitor_styles: gr.State
    painting: gr.Checkbox
    painter: gr.HTML
    strength: gr.Slider
    detail: gr.Slider
    hand: gr.Checkbox
    structure: gr.Slider
    keep_colours: gr.Slider
    feather: gr.Slider
    match_border: gr.Checkbox
    seed: gr.Number
    dice: gr.Button
    steps: gr.Dropdown
    size: gr.Dropdown
    words: gr.Row
    guidance: gr.Dropdown
    sampler: gr.Dropdown
    quick: gr.Checkbox
    go: gr.Button
    cancel: gr.Button
    status: gr.HTML
    frame: gr.HTML
    repaint: gr.Button
    hung: gr.State
    own: StyleTools
    take: gr.HTML
    settings: gr.HTML
    keep: gr.HTML
    limit: int
    restored: gr.State
    dropped: gr.State


def lay_out(
    styles: Sequence[Style], examples: Sequence[Path], default_size: int, limit: int, base: str, most_work: float, tiny: bool
) -> StylizeTab:
    first = next((style for style in styles if style.usable_on(base)), None)
    dial: dict[str, Any] = {"buttons": [], "min_width": 120}
    with gr.Row(elem_id="studio"):
        with gr.Column(scale=4, min_width=300):
            taken = f"JPEG, PNG, HEIC, WebP, TIFF and others, up to {limit / 1e6:g} MB"
            head = f'<h2 class="sk-heading">Photo</h2><span class="sk-aside">{taken}</span>'
            gr.HTML(head, apply_default_css=False, js_on_load=DROP, elem_id="taken")
            # gr.Image would open an upload itself and answer a broken one with a traceback; gr.File hands the file over unopened
            drop = gr.File(file_types=[*TAKEN], label="Photo", show_label=False, height=76, elem_id="drop")
            with gr.Row(elem_id="more-photos"):
                photo = gr.HTML(None, html_template=PHOTO, js_on_load=None, visible=False, apply_default_css=False, elem_id="photo")
                change = gr.UploadButton("Change photo", file_types=[*TAKEN], visible=False, size="sm", scale=0, elem_id="change")
                example_row = create_examples(examples)
            style = create_styles(styles, base)
            with gr.Row(elem_id="own-style"):
                bring_style = gr.UploadButton("Style from a picture", file_types=[*FILE_TYPES], size="sm", scale=0, elem_id="add-style")
                gr.HTML('<span class="sk-aside">or drop it on the styles</span>', apply_default_css=False, js_on_load=None)
                painting = gr.Checkbox(False, label="Paint or mix styles", min_width=150, scale=0, elem_id="painting")
            own = create_tools("own", "Name of your picture")
            with gr.Row(elem_id="dials"):
                strength = gr.Slider(0, 1, 1, step=0.01, label="Strength", scale=3, elem_id="strength", **dial)
                seed = gr.Number(0, precision=0, label="Seed", min_width=80, scale=1, elem_id="seed")
                dice = gr.Button("Random seed", min_width=44, scale=0, elem_id="dice")
            detail = gr.Slider(*DETAILS, 1, step=0.05, label="Detail", info="Fine to bold marks", elem_id="detail", **dial)
            with gr.Accordion("Advanced", open=False, elem_id="advanced"):
                with gr.Row():
                    structure = gr.Slider(0, 1, 0, step=0.01, label="Structure", info="The photo's own detail", **dial)
                    keep_colours = gr.Slider(0, 1, 0, step=0.01, label="Keep colours", info="The photo's own colours", **dial)
                with gr.Row():
                    most = 100 * FEATHER_LIMIT
                    feather = gr.Slider(
                        0, most, 100 * DEFAULT_FEATHER, step=0.1, label="Feather", info="Soft borders of paint, in %", **dial
                    )
                    match_border = gr.Checkbox(False, label="Match border", info="Paint meets the photo's tone", min_width=120)
                hand = gr.Checkbox(
                    True, label="Drawn by hand", info="Strokes, lines, dots and fields at the photo's own size", elem_id="hand"
                )
                with gr.Row():
                    steps = gr.Dropdown(step_choices(0), value=0, label="Steps", min_width=100, elem_id="steps")
                    size = gr.Dropdown(size_choices(default_size), value=default_size, label="Working size", min_width=100, elem_id="size")
                with gr.Row(visible=base != POCKET, elem_id="words") as words:
                    guidance = gr.Dropdown(guidance_choices(0), value=0, label="Guidance", min_width=100, elem_id="guidance")
                    sampler = gr.Dropdown(SAMPLER_CHOICES, value="", label="Sampler", min_width=100, elem_id="sampler")
                    quick = gr.Checkbox(False, label="Quick decoder", info="Less fine detail", min_width=120, visible=tiny, elem_id="quick")
            settings = create_settings()
            with gr.Column(elem_id="actions"):
                status = gr.HTML(say(WELCOME), apply_default_css=False, js_on_load=BAR, elem_id="status")
                with gr.Row(elem_id="buttons"):
                    go = gr.Button((first and f"Stylize in {first.title}") or "Stylize", variant="primary", elem_id="go")
                    cancel = gr.Button("Cancel", interactive=False, elem_id="cancel")
        with gr.Column(scale=6, min_width=300, elem_id="result"):
            painter = create_painter()
            frame = create_frame(example(first), "frame")
            repaint = gr.Button("Back to painting", visible=False, elem_id="repaint", size="md")
            take = create_take(most_work)
            create_history()
            keep = create_keep(limit)
    return StylizeTab(
        drop=drop,
        photo=photo,
        change=change,
        photo_path=gr.State(None),
        examples=example_row,
        style=style,
        bring_style=bring_style,
        visitor_styles=gr.State(VisitorStyles()),
        painting=painting,
        painter=painter,
        strength=strength,
        detail=detail,
        hand=hand,
        structure=structure,
        keep_colours=keep_colours,
        feather=feather,
        match_border=match_border,
        seed=seed,
        dice=dice,
        steps=steps,
        size=size,
        words=words,
        guidance=guidance,
        sampler=sampler,
        quick=quick,
        go=go,
        cancel=cancel,
        status=status,
        frame=frame,
        repaint=repaint,
        hung=gr.State("example"),
        own=own,
        take=take,
        settings=settings,
        keep=keep,
        limit=limit,
        restored=gr.State(None),
        dropped=gr.State(None),
    )


def step_choices(steps: int) -> list[tuple[str, int]]:
    """The usual numbers of steps, and `steps`."""
    return [("Auto", 0), *((str(n), n) for n in sorted({*range(1, MAX_STEPS + 1), steps} - {0}))]


def guidance_choices(guidance: float) -> list[tuple[str, float]]:
    """The usual strengths of guidance by words, and `guidance`; 0 for the style's own."""
    return [("Auto", 0), *((f"{n:g}", n) for n in sorted({*GUIDANCES, guidance} - {0}))]


def size_choices(size: int) -> list[tuple[str, int]]:
    """The usual working sizes, and `size`."""
    return [(f"{n} px", n) for n in sorted({*SIZES, size})]


def example(style: Style | None) -> Hanging:
    """What a style does to its own photo."""
    if style is None:
        return Hanging(kind="example")
    before, after = (picture_address(path, DISPLAY_SIDE) for path in (style.before, style.preview))
    if not (before and after):
        return Hanging(kind="example", title=style.title, details=style.blurb)
    return Hanging(
        kind="example",
        before=before,
        after=after,
        title=f"An example of {style.title}",
        details=style.blurb,
        alt=f"The example photo in the style {style.title}",
    )
