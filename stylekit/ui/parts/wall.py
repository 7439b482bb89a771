"""The wall of the gallery: its template, what its cards show, and the plate beside the large picture. Its script is wall.js."""

from __future__ import annotations

import html
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stylekit.base_card import ALIASES
from stylekit.errors import UnknownStyleError
from stylekit.styles import WEIGHTS, Style
from stylekit.ui.choices import picture_address

if TYPE_CHECKING:
    from stylekit.styles import Adapter

CARD_SIDE = 420  # pixels
WALL_SIDE = 1024  # pixels
KINDS = {"lora": "LoRA", "dreambooth": "DreamBooth", "prompt": "Words", "pictures": "Paintings"}
NO_ADAPTER = "No adapter for"

WALL_TEMPLATE = """<div class="sk-wall">
<div class="sk-wallbar"><h2 class="sk-heading">All styles</h2>
<label class="sk-search"><span>Search</span><input type="search" placeholder="a name, a time, a licence" autocomplete="off"></label></div>
<div class="sk-cards">${cards.map((c) => `<article class="sk-card" data-name="${c.name}" data-words="${c.words}">
<button type="button" class="sk-pair" aria-label="Look at ${c.title}" ${c.name === value ? 'aria-current="true"' : ""}>
${c.before ? `<img loading="lazy" src="${c.before}" alt="">` : ""}
${c.after ? `<img loading="lazy" class="sk-after" src="${c.after}" alt="">`
 : `<span class="sk-blank">No picture in its card</span>`}</button>
<div class="sk-label"><b>${c.title}</b><span>${c.period}</span></div>
<footer><small>${c.note}</small><button type="button" class="sk-use" ${c.available ? "" : "disabled"}
aria-label="Use ${c.title}">Use it</button></footer></article>`).join("")}</div>
<p class="sk-none" role="status" hidden>No style matches that.</p></div>"""
SCRIPT = Path(__file__).with_suffix(".js")


def shown_adapter(style: Style, base: str) -> Adapter | None:
    """The adapter that the page shows: the one for `base`, else the first."""
    for kind in dict.fromkeys(adapter.kind for adapter in style.adapters):
        try:
            return style.adapter(base, kind)
        except UnknownStyleError:
            continue
    return style.adapters[0] if style.adapters else None


def is_available(style: Style | None, base: str) -> bool:
    """Whether the engine can use it on `base`."""
    return style is not None and style.usable_on(base)


def wall_cards(styles: Sequence[Style], base: str) -> dict[str, Any]:
    """What the wall's template shows."""
    cards = []
    for style in styles:
        adapter = shown_adapter(style, base)
        facts = facts_of(style, adapter)
        available = is_available(style, base)
        if available and adapter is not None and not _same(adapter.base, base):  # by its hand, which needs no adapter
            facts |= {"Base": "any base"}
        brief = " · ".join(facts[name] for name in ("Base", "Size", "Licence") if name in facts)
        words = " ".join((style.name, style.title, style.blurb, style.period, *facts.values())).lower()
        cards.append(
            {
                "name": html.escape(style.name),
                "title": html.escape(style.title),
                "period": html.escape(style.period),
                "note": html.escape(brief if available or adapter is None else f"{NO_ADAPTER} {base}; it is for {adapter.base}"),
                "words": html.escape(words),
                "available": available,
                "before": picture_address(style.before, CARD_SIDE),
                "after": picture_address(style.preview, CARD_SIDE),
            }
        )
    return {"cards": cards}


def _same(one: str, other: str) -> bool:
    return ALIASES.get(one, one) == ALIASES.get(other, other)


def facts_of(style: Style, adapter: Adapter | None) -> dict[str, str]:
    """What is known of a style, and nothing that is not."""
    facts = {"Period": style.period, "Drawn": style.drawn}
    if adapter is None and style.hand is not None:
        facts |= {"Base": "any", "Licence": style.license}
    if adapter is not None:
        size = adapter.path.stat().st_size if adapter.kind in WEIGHTS and adapter.path.is_file() else 0
        others = dict.fromkeys(other.base for other in style.adapters if other.base != adapter.base)
        facts |= {
            "Base": adapter.base,
            "Also for": ", ".join(others),
            "Kind": KINDS.get(adapter.kind, adapter.kind),
            "Size": f"{size / 1e6:.1f} MB" if size else "",
            "Licence": adapter.license,
            "Made": adapter.made,
            "Data": adapter.data,
            "Trigger": adapter.trigger,
            "Words": adapter.words.positive if adapter.words and adapter.words.positive != adapter.trigger else "",
            "Not": adapter.words.negative if adapter.words else "",
        }
        facts |= {name: f"{value:.4g}" for name, value in adapter.metrics.items()}
    repo, at, commit = style.source.partition("@")
    facts["From"] = f"{repo} at {commit[:8]}" if at else repo
    return {name: value for name, value in facts.items() if value}


def plate(style: Style | None, base: str) -> str:
    """What hangs beside the large picture."""
    if style is None:
        return '<div class="sk-plate"><p>There are no styles yet: add one.</p></div>'
    adapter = shown_adapter(style, base)
    lacking = "" if style.usable_on(base) else f"{NO_ADAPTER} {base}, the base in use: {style.missing(base)}."
    missing = f'<p class="sk-missing">{html.escape(lacking)}</p>' if lacking else ""
    rows = "".join(f"<dt>{html.escape(name)}</dt><dd>{html.escape(value)}</dd>" for name, value in facts_of(style, adapter).items())
    dial = picture_address(style.dial, WALL_SIDE)
    picture = f'<img loading="lazy" src="{dial}" alt="{html.escape(style.title)} at five strengths">'
    strip = f"<figure>{picture}<figcaption>Strength 0, 0.2, 0.5, 0.8 and 1</figcaption></figure>" if dial else ""
    return (
        f'<div class="sk-plate"><h2>{html.escape(style.title)}</h2><p>{html.escape(style.blurb)}</p>{missing}{strip}'
        f'<dl class="sk-facts">{rows}</dl></div>'
    )
