"""What the browser does at once on the Stylize tab, without asking the server. The outputs of each are named in stylize.py."""

from __future__ import annotations

import json

SEEDS = 2**31  # range of the dice

# a photo, or a PNG with its recipe, may be dropped anywhere on the page, not only in the field for it; on the styles it is one more style
DROP = """
const inField = (event) => event.target.closest?.("#drop");
addEventListener("dragover", (event) => { if (event.dataTransfer?.types.includes("Files") && !inField(event)) event.preventDefault(); });
addEventListener("drop", (event) => {
  const field = document.querySelector(event.target.closest?.("#style, #own-style") ? "#own-style input[type=file]"
    : "#more-photos input[type=file], #drop input[type=file]");
  if (!field || inField(event) || !event.dataTransfer?.files.length) return;
  event.preventDefault();
  field.files = event.dataTransfer.files;
  field.dispatchEvent(new Event("change", {bubbles: true}));
});
"""
_REVEAL = """if (matchMedia("(max-width: 768px)").matches)
    setTimeout(() => document.getElementById("result").scrollIntoView({behavior: "smooth"}), 500);"""
IDLE = """() => [true, false, true].map((interactive) => ({interactive, __type__: "update"}))"""
_PICK = """document.querySelector("#painter .sk-painter")?.dispatchEvent(new CustomEvent("pick", {detail: style, bubbles: true}));"""
PICK = f"(style, painting) => {{ if (painting && style) {_PICK} }}"
BRUSH = "(painted, style) => painted.slots?.[painted.brush]?.style ?? style"  # the pictures show what the brush holds
PAINT = f"""(painting, style) => {{
  if (painting) {{
    if (style) {_PICK}
    {_REVEAL}
  }}
  const show = (visible) => ({{visible, __type__: "update"}});
  return [show(painting || "hidden"), show(!painting), show(!painting), show(painting)];
}}"""
REPAINT = f"""() => {{
  {_REVEAL}
  return [true, false, false].map((visible) => ({{visible, __type__: "update"}}));
}}"""
DICE = f"() => Math.floor(Math.random() * {SEEDS})"


def busy(status: str) -> str:
    """Show `status` and switch the buttons over while a picture is made."""
    return f"""() => {{
  {_REVEAL}
  const set = (interactive) => ({{interactive, __type__: "update"}});
  return [{json.dumps(status)}, set(false), set(true), set(false)];
}}"""
