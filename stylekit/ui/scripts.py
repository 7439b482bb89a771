"""What the browser does at once on the Stylize tab, without asking the server. The outputs of each are named in stylize.py."""

from __future__ import annotations

import json

SEEDS = 2**31  # range of the dice

# a photo, or a PNG with its recipe, may be dropped anywhere on the page; on the styles it is one more style, on another tab it is for that
DROP = """
addEventListener("dragover", (event) => { if (event.dataTransfer?.types.includes("Files")) event.preventDefault(); });
addEventListener("drop", (event) => {
  if (!event.dataTransfer?.files.length || event.target.closest?.("#teach-pictures, #measure-photos")) return;
  const other = ["#many", "#school", "#evaluation"].find((tab) => document.querySelector(tab)?.offsetParent);
  const field = document.querySelector(other ? `${other} input[type=file]`
    : event.target.closest?.("#style, #own-style") ? "#own-style input[type=file]"
    : "#more-photos input[type=file], #drop input[type=file]");
  if (!other && !document.getElementById("studio").offsetParent) document.querySelector('[role="tab"]')?.click();
  if (!field) return;
  event.preventDefault();
  event.stopPropagation();
  field.files = event.dataTransfer.files;
  field.dispatchEvent(new Event("change", {bubbles: true}));
}, true);
"""
# how high the bar with the buttons is, which lies over what is scrolled below it: what has the focus keeps clear of it (studio.css)
BAR = """
const bar = element.closest("#actions");
new ResizeObserver(() => bar.closest("#studio").style.setProperty("--sk-bar", `${bar.offsetHeight}px`)).observe(bar);
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
  return [show(painting || "hidden"), show(!painting || "hidden"), show(false)]; // nothing to go back to
}}"""
REPAINT = f"""() => {{
  {_REVEAL}
  return [true, "hidden", false].map((visible) => ({{visible, __type__: "update"}}));
}}"""
# what the button will do
NAME_GO = """(style, painting) => {
  const tile = [...document.querySelectorAll("#style label")].find((label) => label.querySelector("input").value === style);
  const title = tile?.querySelector("span").textContent.trim();
  return {value: painting ? "Stylize as painted" : title ? `Stylize in ${title}` : "Stylize", __type__: "update"};
}"""
# to the chosen style, where it is out of sight
LAND = """() => { setTimeout(() => {
  document.querySelector("#style input:checked")?.closest("label").scrollIntoView({block: "nearest", behavior: "smooth"});
}, 300); }"""
DICE = f"() => Math.floor(Math.random() * {SEEDS})"


def busy(status: str) -> str:
    """Show `status` and switch the buttons over while a picture is made."""
    return f"""() => {{
  {_REVEAL}
  const set = (interactive) => ({{interactive, __type__: "update"}});
  return [{json.dumps(status)}, set(false), set(true), set(false)];
}}"""
