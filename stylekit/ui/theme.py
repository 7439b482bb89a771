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
:root { --sk-accent: #b23a22; --sk-mat: #ffffff; --sk-line: #dcd5c7; --sk-quiet: #6b6459; --sk-well: #efeae0;
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

.sk-examples { display: flex; align-items: center; gap: 8px; flex-wrap: wrap; width: max-content; max-width: 100%; }
.sk-examples > span { margin: 0 4px 0 0; font-weight: 400; font-size: 0.9rem; color: var(--sk-quiet); }
.sk-examples button { padding: 0; border: 0; background: none; cursor: pointer; line-height: 0; border-radius: 3px; }
.sk-examples img { width: 52px; height: 52px; object-fit: cover; margin: 0; border-radius: 3px; transition: opacity 0.15s; }
.sk-examples button:hover img { opacity: 0.75; }
.sk-examples button:focus-visible { outline: 2px solid var(--sk-accent); outline-offset: 2px; }

#drop, #photo { background: var(--sk-mat); border: 1px solid var(--sk-line) !important; border-radius: 4px; }
#more-photos { align-items: center; justify-content: space-between; gap: 10px; flex-wrap: wrap; }
#examples { flex: 0 1 auto; width: auto; }
#change { flex: none; min-width: 0; padding: 5px 12px; }
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
#download { flex: none; }
.sk-label b { display: block; font-size: 1.15rem; font-weight: 600; }
.sk-label span { color: var(--sk-quiet); }

@media (min-width: 769px) { #result { position: sticky; top: 20px; align-self: flex-start; } }
@media (max-width: 768px) {
  /* when a run scrolls the result up, the buttons above it stay in sight */
  #result { scroll-margin-top: 76px; }
  #example, #live, #comparison { padding: 8px; }
  #download { width: 100%; }
  .sk-examples img { width: 46px; height: 46px; }
}
"""
