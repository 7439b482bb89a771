"""Recipes in files: in PNG as chunks of text, in JPEG and WebP as XMP, and by themselves as JSON.

XMP is what other programs keep when they save a picture again. In JPEG it is parted into segments of 64 kB (XMP specification, part 3,
extended XMP; its digest here is SHA-256, cut to the length of the MD5 that the specification names and no reader checks).
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape, unescape

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from stylekit import recipe as recipes
from stylekit.errors import EMPTY, PictureError, SettingError
from stylekit.recipe import MAX_BYTES, Recipe
from stylekit.storage import digests
from stylekit.storage.untrusted import name_problem, shown

CARRIERS = ("JPEG", "WEBP")  # beside PNG, which recipe.py reads
SETTINGS_SUFFIX = ".json"
NAMESPACE = "urn:stylekit:1.0/"
RECIPE, TITLES = "recipe", "titles"  # properties
TITLES_KEY = "style-titles"  # the text chunk of PNG for these
MOST_TITLES = 4000  # characters of it

XMP_HEAD = b"http://ns.adobe.com/xap/1.0/\0"
EXTENSION_HEAD = b"http://ns.adobe.com/xmp/extension/\0"
GUID_LENGTH = 32  # characters
SEGMENT = 65533  # bytes of a JPEG segment behind its length
PIECE = SEGMENT - len(EXTENSION_HEAD) - GUID_LENGTH - 8
PROPERTY = re.compile(r"<stylekit:(\w+)>([^<]*)</stylekit:\1>|stylekit:(\w+)=\"([^\"]*)\"|stylekit:(\w+)='([^']*)'")
QUOTES = {"&quot;": '"', "&apos;": "'", "&#34;": '"', "&#39;": "'", "&#xA;": "\n"}


@dataclass(frozen=True, kw_only=True)
class Named:
    """A recipe as a picture carries it, with what its style pictures are called."""

    recipe: Recipe
    titles: Mapping[str, str] = field(default_factory=dict)

    def png_info(self) -> PngInfo:
        info = self.recipe.png_info()
        if self.titles:
            info.add_text(TITLES_KEY, json.dumps(dict(self.titles)))
        return info

    def xmp(self) -> bytes:
        """One packet."""
        return _packet("", self._properties())

    def jpeg_segments(self) -> bytes:
        """APP1 segments for ``Image.save(..., "JPEG", extra=...)``."""
        whole = self.xmp()
        if len(whole) + len(XMP_HEAD) <= SEGMENT:
            return _segment(XMP_HEAD + whole)
        extended = _packet("", self._properties())
        guid = digests.of_bytes(extended, GUID_LENGTH).upper().encode()
        note = f' xmlns:xmpNote="http://ns.adobe.com/xmp/note/" xmpNote:HasExtendedXMP="{guid.decode()}"'
        parts = [_segment(XMP_HEAD + _packet(note, ""))]
        for start in range(0, len(extended), PIECE):
            about = guid + len(extended).to_bytes(4, "big") + start.to_bytes(4, "big")
            parts.append(_segment(EXTENSION_HEAD + about + extended[start : start + PIECE]))
        return b"".join(parts)

    def _properties(self) -> str:
        said = {RECIPE: self.recipe.to_json()} | ({TITLES: json.dumps(dict(self.titles))} if self.titles else {})
        return "".join(f"<stylekit:{name}>{escape(text)}</stylekit:{name}>" for name, text in said.items())


def carries_recipe(path: Path) -> bool:
    """Whether the file is a picture with a recipe in it, or a file of settings."""
    return is_settings(path) or recipes.carries_recipe(path) or RECIPE in _properties(path)


def known_titles(titles: Any) -> dict[str, str]:
    """Those that can be shown, of what may be anything."""
    pairs = titles.items() if isinstance(titles, dict) else ()
    return {name: title for name, title in pairs if isinstance(name, str) and isinstance(title, str) and title.isprintable()}


def is_settings(path: Path) -> bool:
    """Whether it is called as a file of settings is."""
    return path.suffix.lower() == SETTINGS_SUFFIX


def read_named(path: Path) -> Named:
    """The recipe in a picture, or in a file of settings. Raises StyleError if there is none, or a bad one."""
    path = Path(path)
    problem = name_problem(path)
    if problem:
        raise PictureError(f"The path {shown(str(path))} {problem}: check it.")
    if is_settings(path):
        return Named(recipe=_read_settings(path))
    said = _properties(path)
    if RECIPE in said:
        return Named(recipe=Recipe.from_json(said[RECIPE]), titles=_titles(said.get(TITLES, "")))
    if _format(path) in CARRIERS:
        raise SettingError(f"{path.name} carries no recipe: use a picture that stylekit wrote and no other program has saved since.")
    return Named(recipe=Recipe.from_png(path), titles=_png_titles(path))


def read_recipe(path: Path) -> Recipe:
    """As `read_named`."""
    return read_named(path).recipe


def _read_settings(path: Path) -> Recipe:
    try:
        size = path.stat().st_size
        if not size:
            raise SettingError(EMPTY.format(name=path.name))
        if size > MAX_BYTES:
            raise SettingError(f"{path.name} has {size:,} bytes, over {MAX_BYTES:,}: use a file of settings that stylekit wrote.")
        return Recipe.from_json(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise SettingError(f"{path} does not exist: check the path.") from None
    except (OSError, UnicodeDecodeError):
        raise SettingError(f"{path.name} is no file of settings that can be read: use one that stylekit wrote.") from None


def _packet(more: str, body: str) -> bytes:
    """more: attributes. body: properties of our namespace."""
    return (
        '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?><x:xmpmeta xmlns:x="adobe:ns:meta/">'
        '<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
        f'<rdf:Description rdf:about="" xmlns:stylekit="{NAMESPACE}"{more}>{body}</rdf:Description></rdf:RDF></x:xmpmeta>'
        '<?xpacket end="r"?>'
    ).encode()


def _segment(content: bytes) -> bytes:
    return b"\xff\xe1" + (len(content) + 2).to_bytes(2, "big") + content


def _format(path: Path) -> str:
    try:
        with Image.open(path, formats=CARRIERS) as picture:
            return picture.format or ""
    except Exception:  # Pillow raises many kinds on hostile headers; whatever is wrong is told where the picture is opened
        return ""


def _properties(path: Path) -> dict[str, str]:
    """Of our namespace in the XMP of a JPEG or WebP; none where there is nothing sensible."""
    try:
        with Image.open(path, formats=CARRIERS) as picture:
            packet = picture.info.get("xmp", b"")
            segments = [content for _, content in getattr(picture, "applist", []) if content.startswith(EXTENSION_HEAD)]
    except Exception:
        return {}
    text = (_bytes(packet) + _joined(segments))[: 2 * MAX_BYTES].decode("utf-8", "replace")
    found = (match.groups() for match in PROPERTY.finditer(text))
    return {a or c or e: unescape(b or d or f or "", QUOTES) for a, b, c, d, e, f in found}


def _joined(segments: list[bytes]) -> bytes:
    """The extended XMP; segments come in any order."""
    at = len(EXTENSION_HEAD) + GUID_LENGTH
    pieces = {int.from_bytes(segment[at + 4 : at + 8], "big"): segment[at + 8 :] for segment in segments}
    return b"".join(pieces[start] for start in sorted(pieces))


def _bytes(packet: Any) -> bytes:
    return packet if isinstance(packet, bytes) else str(packet).encode()


def _png_titles(path: Path) -> dict[str, str]:
    try:
        with Image.open(path, formats=("PNG",)) as picture:
            return _titles(picture.info.get(TITLES_KEY, ""))
    except Exception:
        return {}


def _titles(text: Any) -> dict[str, str]:
    try:
        return known_titles(json.loads(text[:MOST_TITLES]))
    except (TypeError, ValueError, RecursionError):
        return {}
