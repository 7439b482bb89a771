"""How the page looks: paper, ink and one seal red, like a small print room. Fonts are Gradio's own local files, so nothing is fetched.

`launch_options()` goes to `launch()`; `HEADER` is the top of the page. Classes of our own start with ``sk-``; the rest is addressed by the
elem_id that the tabs give, never by Gradio's generated class names.
"""

from __future__ import annotations

from typing import Any

from gradio import themes

HEADER = """<header class="sk-header"><h1>stylekit</h1><p>Turn a photograph into a drawing, a print or a painting.</p></header>"""


def launch_options() -> dict[str, Any]:
    """Keyword arguments for `launch()`: theme and css, no links out, no runs kept in the browser, no Node beside the server."""
    return {"theme": theme(), "css": CSS, "footer_links": [], "run_history": False, "ssr_mode": False}


def theme() -> themes.Base:
    """Light and dark."""
    # Of Gradio's local fonts many (Lora, Source Sans 3, Lexend, ...) hold no lower-case letters; this one is whole at these weights.
    text = themes.LocalFont("Source Sans Pro", weights=(400, 700))
    return themes.Base(
        primary_hue=themes.colors.stone,
        secondary_hue=themes.colors.stone,
        neutral_hue=themes.colors.stone,
        font=(text, "system-ui", "sans-serif"),
        font_mono=("ui-monospace", "monospace"),
        radius_size=themes.sizes.radius_sm,
        text_size=themes.sizes.text_md,
    ).set(
        body_background_fill="#f6f3ec",
        body_background_fill_dark="#171512",
        body_text_color="#26221c",
        body_text_color_dark="#ece6da",
        body_text_color_subdued="#6b6459",
        body_text_color_subdued_dark="#a79f91",
        background_fill_primary="#fdfcf9",
        background_fill_primary_dark="#201d19",
        background_fill_secondary="#f0ece3",
        background_fill_secondary_dark="#2a2621",
        block_background_fill="transparent",
        block_background_fill_dark="transparent",
        block_border_width="0px",
        block_shadow="none",
        block_shadow_dark="none",
        block_label_background_fill="transparent",
        block_label_background_fill_dark="transparent",
        block_label_border_width="0px",
        block_title_text_weight="600",
        block_padding="0px",
        layout_gap="16px",
        border_color_primary="#dcd5c7",
        border_color_primary_dark="#3a352e",
        border_color_accent="#b23a22",
        border_color_accent_dark="#d9694f",
        color_accent="#b23a22",
        color_accent_soft="#f3e2da",
        color_accent_soft_dark="#3b2620",
        link_text_color="#b23a22",
        link_text_color_dark="#e58a73",
        slider_color="#26221c",
        slider_color_dark="#ece6da",
        input_background_fill="#fdfcf9",
        input_background_fill_dark="#201d19",
        input_border_width="1px",
        button_primary_background_fill="#26221c",
        button_primary_background_fill_hover="#423b31",
        button_primary_text_color="#fdfcf9",
        button_primary_background_fill_dark="#ece6da",
        button_primary_background_fill_hover_dark="#ffffff",
        button_primary_text_color_dark="#171512",
        button_secondary_background_fill="transparent",
        button_secondary_background_fill_hover="#f0ece3",
        button_secondary_background_fill_dark="transparent",
        button_secondary_background_fill_hover_dark="#2a2621",
        button_secondary_border_color="#b9b0a0",
        button_secondary_border_color_dark="#5a5248",
        button_border_width="1px",
        button_large_text_weight="600",
        checkbox_label_background_fill="transparent",
        checkbox_label_background_fill_dark="transparent",
        checkbox_label_background_fill_selected="*color_accent_soft",
        checkbox_label_background_fill_selected_dark="*color_accent_soft",
        checkbox_label_text_color_selected="*body_text_color",
        checkbox_background_color_selected="*color_accent",
        checkbox_background_color_selected_dark="*color_accent",
        checkbox_label_padding="6px 12px",
    )


CSS = """
:root { --sk-serif: "Iowan Old Style", "Palatino Linotype", Palatino, Georgia, serif;
  --sk-accent: #b23a22; --sk-mat: #ffffff; --sk-line: #dcd5c7; --sk-quiet: #6b6459; --sk-well: #efeae0;
  --sk-die: url("data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 24 24'%3E\
%3Crect x='3' y='3' width='18' height='18' rx='4' fill='none' stroke='%23000' stroke-width='1.8'/%3E\
%3Ccircle cx='8' cy='8' r='1.6'/%3E%3Ccircle cx='16' cy='8' r='1.6'/%3E%3Ccircle cx='12' cy='12' r='1.6'/%3E\
%3Ccircle cx='8' cy='16' r='1.6'/%3E%3Ccircle cx='16' cy='16' r='1.6'/%3E%3C/svg%3E"); }
:root.dark, :root .dark { --color-accent: #e0745a;
  --sk-accent: #e0745a; --sk-mat: #26221d; --sk-line: #3a352e; --sk-quiet: #a79f91; --sk-well: #1f1c18; }

/* Gradio hides what overflows, which would switch sticky off */
.gradio-container { width: 100%; max-width: 1240px !important; margin: 0 auto !important; overflow: visible !important; }
.gradio-container > div { padding: 16px clamp(12px, 3vw, 32px) !important; }
.sk-header h1, .sk-label b { font-family: "Iowan Old Style", "Palatino Linotype", Palatino, Georgia, serif; }
.sk-heading { margin: 0 0 -10px; font-weight: 600; font-size: 1rem; }
.sk-header { padding: 4px 0 0; display: flex; flex-wrap: wrap; align-items: baseline; gap: 4px 18px; }
.sk-header h1 { margin: 0; font-size: 2.1rem; line-height: 1.1; font-weight: 600; letter-spacing: -0.01em; }
.sk-header h1::after { content: ""; display: inline-block; width: 9px; height: 9px; margin-left: 5px; background: var(--sk-accent); }
.sk-header p { margin: 0; color: var(--sk-quiet); font-size: 1.05rem; }

/* pictures to choose from */
.sk-pictures { border: 0; margin: 0; padding: 0; min-width: 0; }
.sk-pictures legend { padding: 0; margin: 0 0 8px; font-weight: 600; font-size: 1rem; }
.sk-grid { display: grid; grid-template-columns: repeat(auto-fill, minmax(max(96px, 30%), 1fr)); gap: 10px; }
.sk-grid label { display: block; cursor: pointer; position: relative; min-width: 0; }
.sk-grid input { position: absolute; opacity: 0; inset: 0; width: 100%; height: 100%; margin: 0; cursor: pointer; }
.sk-grid img, .sk-grid .sk-blank {
  display: block; width: 100%; aspect-ratio: 3 / 2; object-fit: cover; margin: 0; border-radius: 3px; background: var(--sk-well);
  outline: 1px solid var(--sk-line); outline-offset: -1px; transition: outline-color 0.15s;
}
.sk-grid label > span { display: block; margin-top: 5px; font-size: 0.88rem; line-height: 1.2; color: var(--sk-quiet); }
.sk-grid label:hover > span { color: inherit; }
.sk-grid input:checked ~ img, .sk-grid input:checked ~ .sk-blank { outline: 3px solid var(--sk-accent); outline-offset: 2px; }
.sk-grid input:checked ~ span { color: var(--sk-accent); font-weight: 600; }
.sk-grid input:checked ~ span::before { content: "\\2713\\00a0"; }
.sk-grid input:focus-visible ~ img, .sk-grid input:focus-visible ~ .sk-blank { box-shadow: 0 0 0 6px var(--sk-line); }

/* the painter */
.sk-painter { display: flex; flex-direction: column; gap: 12px; }
.sk-painter p { margin: 0; }
.sk-palette { display: grid; grid-template-columns: repeat(auto-fill, minmax(300px, 1fr)); gap: 8px 20px; }
.sk-paint { display: flex; align-items: center; gap: 10px; min-width: 0; height: 36px; }
.sk-paint > [type="radio"], .sk-paint > i { appearance: none; flex: none; width: 28px; height: 28px; margin: 2px; border: 0;
  border-radius: 50%; background: var(--sk-paint); cursor: pointer; }
.sk-paint > [type="radio"]:checked { box-shadow: 0 0 0 2px var(--body-background-fill), 0 0 0 4px var(--body-text-color); }
.sk-paint > [type="radio"]:focus-visible { outline: 2px solid var(--sk-accent); outline-offset: 5px; }
.sk-adder > i { background: none; border: 2px dashed var(--sk-paint); }
.sk-paint select { flex: 0 1 128px; min-width: 0; height: 32px; padding: 0 4px; border: 0; border-bottom: 1px solid var(--sk-line);
  border-radius: 0; background: transparent; color: inherit; font: inherit; cursor: pointer; }
.sk-paint option { background: var(--background-fill-primary); color: var(--body-text-color); }
.sk-adder select { color: var(--sk-quiet); }
.sk-paint output { flex: none; width: 3em; text-align: right; font-variant-numeric: tabular-nums; }
.sk-paint > button { flex: none; width: 28px; height: 28px; padding: 0; border: 0; background: none; color: var(--sk-quiet);
  font-size: 1.2rem; cursor: pointer; }
.sk-paint > button:hover { color: var(--sk-accent); }
.sk-painter [type="range"] { flex: 1 1 60px; min-width: 0; height: 28px; margin: 0; accent-color: var(--body-text-color); cursor: pointer; }
.sk-easel { position: relative; width: fit-content; max-width: 100%; margin: 0 auto; padding: 0; line-height: 0; overflow: hidden;
  touch-action: none; user-select: none; -webkit-user-select: none; cursor: crosshair; box-shadow: 0 10px 30px -18px rgb(40 30 15 / 0.45); }
.sk-easel img { display: block; max-width: 100%; max-height: min(62vh, 620px); margin: 0; pointer-events: none; }
.sk-easel canvas { position: absolute; inset: 0; width: 100%; height: 100%; opacity: 0.6; }
.sk-easel i { position: absolute; display: none; translate: -50% -50%; border: 2px solid #fff; border-radius: 50%; pointer-events: none;
  background: color-mix(in srgb, var(--sk-brush) 35%, transparent); outline: 1px solid rgb(0 0 0 / 0.6); }
.sk-easel p, .sk-painter:not([data-state]) .sk-easel > :not(p) { display: none; }
.sk-painter:not([data-state]) .sk-easel { width: 100%; cursor: default; touch-action: auto; }
.sk-painter:not([data-state]) .sk-easel p { display: grid; place-items: center; height: 220px; line-height: 1.4; color: var(--sk-quiet);
  background: var(--sk-mat); border: 1px dashed var(--sk-line); }
@media (hover: hover) { .sk-easel:hover i { display: block; } }
.sk-hint { color: var(--sk-quiet); font-size: 0.95rem; min-height: 1.5em; }
.sk-tools { display: flex; flex-wrap: wrap; align-items: center; gap: 10px 24px; }
.sk-tools label { flex: 1 1 130px; display: flex; align-items: center; gap: 10px; max-width: 240px; white-space: nowrap; }
.sk-tools > div { display: flex; flex-wrap: wrap; gap: 8px; }
.sk-tools button { padding: 5px 12px; border: 1px solid var(--button-secondary-border-color); border-radius: 3px; background: transparent;
  color: inherit; font: inherit; font-size: 0.95rem; cursor: pointer; }
.sk-tools button:hover:enabled { background: var(--background-fill-secondary); }
.sk-tools button[aria-pressed="true"]:enabled { background: var(--body-text-color); color: var(--body-background-fill); }
.sk-tools button:disabled { opacity: 0.4; cursor: default; }
#painting { padding: 0; }

.sk-examples { display: flex; align-items: center; gap: 8px; flex-wrap: wrap; width: max-content; max-width: 100%; }
.sk-examples > span { margin: 0 4px 0 0; font-weight: 400; font-size: 0.9rem; color: var(--sk-quiet); }
.sk-examples button { padding: 0; border: 0; background: none; cursor: pointer; line-height: 0; border-radius: 3px; }
.sk-examples img { width: 52px; height: 52px; object-fit: cover; margin: 0; border-radius: 3px; transition: opacity 0.15s; }
.sk-examples button:hover img { opacity: 0.75; }
.sk-examples button:focus-visible { outline: 2px solid var(--sk-accent); outline-offset: 2px; }

#drop, #photo { background: var(--sk-mat); border: 1px solid var(--sk-line) !important; border-radius: 4px; }
#more-photos { align-items: center; justify-content: space-between; gap: 10px; flex-wrap: wrap; }
#examples { flex: 0 1 auto; width: auto; }
#change, #add-style { flex: none; min-width: 0; padding: 5px 12px; }
#own-style { align-items: center; gap: 10px; }
.sk-aside { color: var(--sk-quiet); font-size: 0.9rem; }
@media (hover: none) { .sk-aside { display: none; } }
#studio .form { background: none; border: 0; gap: 16px; overflow: visible; box-shadow: none; }
#dials { align-items: flex-end; flex-wrap: nowrap; }
#dials .form { flex-wrap: nowrap; align-items: flex-start; }
#dice { flex: none; width: 44px; min-width: 44px; padding: 0; height: 42px; font-size: 0; }
#dice::before { content: ""; width: 22px; height: 22px; background: currentColor; mask: var(--sk-die) center / contain no-repeat; }
#advanced { border: 0; border-top: 1px solid var(--sk-line); padding: 10px 0 0; background: none; }
#actions { position: sticky; bottom: 0; z-index: 20; padding: 12px 0; background: var(--body-background-fill); flex-wrap: nowrap; }
#actions::before { content: ""; position: absolute; inset: -18px 0 auto; height: 18px; pointer-events: none;
  background: linear-gradient(transparent, var(--body-background-fill)); }
#go { flex: 2; min-width: 0; }
#cancel { flex: 1; min-width: 0; }

/* the wall: a matted frame and its label */
#result { gap: 12px; }
#example, #live, #comparison { background: var(--sk-mat); border: 1px solid var(--sk-line) !important; border-radius: 2px; padding: 14px;
  box-shadow: 0 10px 30px -18px rgb(40 30 15 / 0.45); }
.sk-status { min-height: 1.6em; display: flex; flex-wrap: wrap; align-items: center; gap: 4px 14px; font-size: 1rem; }
.sk-status progress { flex: 1; min-width: 120px; height: 4px; border: 0; border-radius: 2px; background: var(--sk-line); overflow: hidden; }
.sk-status progress::-webkit-progress-bar { background: var(--sk-line); }
.sk-status progress::-webkit-progress-value { background: var(--sk-accent); transition: width 0.3s; }
.sk-status progress::-moz-progress-bar { background: var(--sk-accent); }
.sk-status i { font-style: normal; color: var(--sk-quiet); font-variant-numeric: tabular-nums; }
.sk-status[data-state="error"] { color: var(--sk-accent); font-weight: 600; }
#wall-label { align-items: center; flex-wrap: wrap; gap: 10px 16px; }
#download, #repaint { flex: none; min-width: 0; }
.sk-label b { display: block; font-size: 1.15rem; font-weight: 600; }
.sk-label span { color: var(--sk-quiet); }
/* a picture of the visitor's own has no before and after: it hangs alone, and small, since little of it is kept */
#result:has(.sk-own) #comparison :is([data-testid="slider"], img + img) { display: none; }
#result:has(.sk-own) #comparison img { max-height: 384px !important; }

/* the gallery: one piece large with its plate, the wall, the storeroom */
#piece { gap: 16px clamp(20px, 3vw, 40px); align-items: flex-start; scroll-margin-top: 16px; }
#piece-picture { background: var(--sk-mat); border: 1px solid var(--sk-line) !important; border-radius: 2px; padding: 14px;
  box-shadow: 0 10px 30px -18px rgb(40 30 15 / 0.45); }
.sk-plate h2 { margin: 0 0 6px; font: 600 1.9rem/1.15 var(--sk-serif); letter-spacing: -0.01em; }
.sk-plate p { margin: 0 0 14px; font-size: 1.05rem; }
.sk-plate figure { margin: 0 0 16px; }
.sk-plate figure img { display: block; width: 100%; margin: 0; border-radius: 2px; }
.sk-plate figcaption { margin-top: 4px; font-size: 0.85rem; color: var(--sk-quiet); }
.sk-plate .sk-missing { color: var(--sk-accent); font-weight: 600; }
.sk-facts { display: grid; grid-template-columns: max-content minmax(0, 1fr); gap: 7px 16px; margin: 0;
  font-size: 0.92rem; line-height: 1.4; }
.sk-facts dt { color: var(--sk-quiet); }
.sk-facts dd { margin: 0; overflow-wrap: anywhere; }
#use { align-self: flex-start; min-width: 140px; width: auto; }
.sk-wall { border-top: 1px solid var(--sk-line); padding-top: 18px; margin-top: 6px; }
.sk-wallbar { display: flex; flex-wrap: wrap; align-items: center; justify-content: space-between; gap: 10px 20px; margin-bottom: 16px; }
.sk-wallbar .sk-heading { margin: 0; }
.sk-search { display: flex; align-items: center; gap: 10px; flex: 0 1 320px; }
.sk-search span { color: var(--sk-quiet); font-size: 0.92rem; }
.sk-search input { flex: 1; min-width: 0; height: 38px; padding: 0 12px; border: 1px solid var(--button-secondary-border-color);
  border-radius: 3px; background: var(--input-background-fill); color: inherit; font: inherit; }
.sk-search input::placeholder { color: var(--sk-quiet); opacity: 0.8; }
.sk-search input:focus-visible { outline: 2px solid var(--sk-accent); outline-offset: 1px; }
.sk-cards { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 300px), 1fr)); gap: 30px clamp(16px, 2.4vw, 30px); }
.sk-card { display: flex; flex-direction: column; gap: 10px; min-width: 0; }
.sk-card[hidden] { display: none; }
.sk-pair { position: relative; display: block; width: 100%; padding: 10px; border: 1px solid var(--sk-line); border-radius: 2px;
  background: var(--sk-mat); cursor: pointer; box-shadow: 0 10px 24px -18px rgb(40 30 15 / 0.5); --sk-at: 0.36; }
.sk-pair img { display: block; width: 100%; aspect-ratio: 1; object-fit: cover; margin: 0; }
.sk-pair .sk-after { position: absolute; inset: 10px; width: calc(100% - 20px); height: calc(100% - 20px);
  clip-path: inset(0 0 0 calc(100% * var(--sk-at))); }
.sk-pair .sk-after:first-child { position: static; clip-path: none; width: 100%; height: auto; }
.sk-pair:has(img + img)::after { content: ""; position: absolute; inset-block: 10px; width: 1px; background: #fff; pointer-events: none;
  left: calc(10px + (100% - 20px) * var(--sk-at)); }
.sk-pair .sk-blank { display: grid; place-items: center; width: 100%; aspect-ratio: 1; background: var(--sk-well); color: var(--sk-quiet); }
.sk-pair[aria-current] { outline: 2px solid var(--sk-accent); outline-offset: 3px; }
.sk-pair:focus-visible { outline: 2px solid var(--sk-accent); outline-offset: 3px; }
.sk-card .sk-label span { font-size: 0.92rem; }
.sk-card footer { display: flex; align-items: center; justify-content: space-between; gap: 12px; margin-top: auto; }
.sk-card small { color: var(--sk-quiet); font-size: 0.85rem; overflow-wrap: anywhere; }
.sk-use { flex: none; padding: 5px 14px; border: 1px solid var(--button-secondary-border-color); border-radius: 3px;
  background: transparent; color: inherit; font: inherit; font-size: 0.95rem; cursor: pointer; }
.sk-use:hover:enabled { background: var(--background-fill-secondary); }
.sk-use:disabled { opacity: 0.4; cursor: default; }
.sk-none { margin: 20px 0; color: var(--sk-quiet); }
#storeroom { gap: 24px clamp(20px, 3vw, 40px); border-top: 1px solid var(--sk-line); padding-top: 20px; margin-top: 14px;
  align-items: flex-start; }
#storeroom .sk-heading { margin: 0 0 -4px; }
.sk-ask { flex-wrap: nowrap; gap: 10px; align-items: stretch; }
#storeroom .sk-status { color: var(--sk-quiet); font-size: 0.95rem; }
#storeroom .sk-status[data-state="error"] { color: var(--sk-accent); }
#fetch { align-self: flex-start; width: auto; }
#school { gap: 16px clamp(20px, 3vw, 40px); border-top: 1px solid var(--sk-line); padding-top: 20px; margin-top: 14px;
  align-items: flex-start; }
#school .sk-heading { margin: 0 0 -4px; }
#school .sk-status { color: var(--sk-quiet); font-size: 0.95rem; }
#school .sk-status[data-state="error"] { color: var(--sk-accent); }
#teach-pictures { background: var(--sk-mat); border: 1px solid var(--sk-line) !important; border-radius: 4px; }
#taught .icon-button-wrapper { display: none; }
#taught { background: var(--sk-mat); border: 1px solid var(--sk-line) !important; border-radius: 2px; padding: 14px;
  box-shadow: 0 10px 30px -18px rgb(40 30 15 / 0.45); }

/* the evaluation: a table of numbers, plots on white, sheets */
.sk-report { display: flex; flex-direction: column; gap: 18px; }
.sk-report p { margin: 0; }
.sk-report-about, .sk-legend, .sk-report figcaption, .sk-troubles { color: var(--sk-quiet); font-size: 0.95rem; }
.sk-scroll { overflow-x: auto; border: 1px solid var(--sk-line); border-radius: 3px; background: var(--sk-mat); }
.sk-scroll:focus-visible { outline: 2px solid var(--sk-accent); outline-offset: 2px; }
.sk-scroll table { width: 100%; margin: 0; border: 0; border-collapse: separate; border-spacing: 0; font-size: 0.95rem;
  font-variant-numeric: tabular-nums; }
.sk-scroll th, .sk-scroll td { padding: 6px 14px; border: 0; text-align: right; white-space: nowrap; }
.sk-scroll tr > :first-child, .sk-scroll tr > :nth-child(2) { text-align: left; }
.sk-scroll th { border-bottom: 1px solid var(--sk-line); font-weight: 600; vertical-align: bottom; }
.sk-scroll th button { padding: 4px 0; border: 0; background: none; color: inherit; font: inherit; cursor: pointer; text-align: inherit; }
.sk-scroll th button:hover { color: var(--sk-accent); }
.sk-scroll th[aria-sort] button { box-shadow: inset 0 -2px var(--sk-accent); }
.sk-scroll th[aria-sort="descending"] button { box-shadow: inset 0 2px var(--sk-accent); }
.sk-scroll tr > :first-child { position: sticky; left: 0; background: var(--sk-mat); }
.sk-scroll tbody tr + tr > td { border-top: 1px solid color-mix(in srgb, var(--sk-line) 55%, transparent); }
.sk-scroll tbody tr[data-method="identity"] td { color: var(--sk-quiet); }
.sk-scroll table:not(.sk-wide) .sk-more { display: none; }
.sk-pass, .sk-fail { font-style: normal; margin-left: 3px; }
.sk-pass { color: #4f7d3a; }
.sk-fail { color: var(--sk-accent); }
.sk-legend { display: flex; flex-wrap: wrap; align-items: center; gap: 6px 16px; }
.sk-all { padding: 4px 12px; border: 1px solid var(--button-secondary-border-color); border-radius: 3px; background: transparent;
  color: inherit; font: inherit; cursor: pointer; }
.sk-all[aria-pressed="true"] { background: var(--body-text-color); color: var(--body-background-fill); }
.sk-report figure { margin: 0; }
.sk-report figure img { display: block; width: 100%; margin: 0; border: 1px solid var(--sk-line); border-radius: 2px; background: #fff; }
.sk-plots { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 460px), 1fr)); gap: 18px; align-items: start; }
.sk-report figcaption { margin-top: 6px; }
.sk-notes { max-width: 75ch; display: grid; gap: 10px; }
.sk-notes ul { margin: 0 0 0 1.2em; display: grid; gap: 4px; }
.sk-troubles summary { cursor: pointer; }
.sk-troubles ul { margin: 6px 0 0 1.2em; }
#evaluation { gap: 26px; }
#report-bar { align-items: flex-end; flex-wrap: wrap; }
#report-bar .form { flex: 1 1 220px; background: none; border: 0; box-shadow: none; overflow: visible; }
#report-csv, #report-markdown { flex: none; width: auto; white-space: nowrap; }
#measure { border-top: 1px solid var(--sk-line); padding-top: 18px; }
#measure .form { background: none; border: 0; gap: 16px; box-shadow: none; }
#measure-photos { background: var(--sk-mat); border: 1px solid var(--sk-line) !important; border-radius: 4px; }
#measure-actions { flex-wrap: nowrap; }
#measure-go, #measure-cancel { flex: 0 1 180px; min-width: 0; }

@media (min-width: 769px) { #result { position: sticky; top: 20px; align-self: flex-start; } }
@media (max-width: 768px) {
  /* when a run scrolls the result up, the buttons above it stay in sight */
  #result { scroll-margin-top: 76px; min-height: calc(100svh - 76px); } /* and as high as the screen, or the page would jump back */
  #example, #live, #comparison, #piece-picture { padding: 8px; }
  .sk-cards { grid-template-columns: repeat(2, minmax(0, 1fr)); gap: 22px 14px; }
  .sk-pair { padding: 6px; }
  .sk-pair .sk-after { inset: 6px; width: calc(100% - 12px); height: calc(100% - 12px); }
  .sk-pair:has(img + img)::after { inset-block: 6px; left: calc(6px + (100% - 12px) * var(--sk-at)); }
  .sk-card footer { flex-direction: column; align-items: stretch; gap: 8px; }
  .sk-use { padding: 8px 0; }
  .sk-search { flex-basis: 100%; }
  #use { width: 100%; }
  #label { flex: 1 1 100%; }
  #download, #repaint { flex: 1 1 auto; }
  .sk-scroll th, .sk-scroll td { padding: 5px 8px; }
  .sk-scroll th:nth-child(n + 3) button { white-space: normal; min-width: 64px; text-align: right; }
  .sk-scroll table { font-size: 0.88rem; }
  .sk-hint { min-height: 3em; } /* two lines or one, the page keeps its height under the finger */
  .sk-tools label { flex-basis: 40%; max-width: none; gap: 6px; }
  .sk-tools > div { display: grid; grid-template-columns: repeat(3, 1fr); width: 100%; }
  .sk-tools button { padding: 8px 0; }
  .sk-examples img { width: 46px; height: 46px; }
}
"""
