"""The visitor's own styles: pictures they brought, kept for the visit."""

from __future__ import annotations

import re
from collections.abc import Container, Iterable
from dataclasses import dataclass, replace

from stylekit.errors import SettingError
from stylekit.storage.naming import safe_name
from stylekit.style_picture.picture import PICTURE_PREFIX, StylePicture

MOST_STYLES = 4  # kept at a time, as many as the painter's palette holds
TITLE = "Your picture"
TITLE_LENGTH = 24  # characters; more do not fit under a tile


@dataclass(frozen=True, kw_only=True)
class VisitorStyle:
    picture: StylePicture
    title: str

    @property
    def name(self) -> str:
        """What a mix calls it."""
        return self.picture.name


@dataclass(frozen=True, kw_only=True)
class VisitorStyles:
    """At most `MOST_STYLES`, the newest at the end."""

    styles: tuple[VisitorStyle, ...] = ()

    def __contains__(self, name: object) -> bool:
        return any(style.name == name for style in self.styles)

    def add(self, picture: StylePicture, title: str = "", taken: Container[str] = ()) -> VisitorStyles:
        """With one more, unless it is here; the oldest makes room. taken: names of those that may not.

        Raises SettingError if none may.
        """
        if picture.name in self:
            return self
        styles = list(self.styles)
        if len(styles) >= MOST_STYLES:
            oldest = next((style for style in styles if style.name not in taken), None)
            if oldest is None:
                raise SettingError(f"All {MOST_STYLES} of your pictures are on the palette: take one off first.")
            styles.remove(oldest)
        return VisitorStyles(
            styles=(*styles, VisitorStyle(picture=picture, title=_distinct(_short(title), {style.title for style in styles})))
        )

    def retitled(self, name: str, title: str) -> VisitorStyles:
        """With `name` called `title`. Raises SettingError for an empty one."""
        if not title.strip():
            raise SettingError("There is no name yet: write one.")
        others = {style.title for style in self.styles if style.name != name}
        called = _distinct(_short(title), others)
        return VisitorStyles(styles=tuple(replace(style, title=called) if style.name == name else style for style in self.styles))

    def without(self, name: str) -> VisitorStyles:
        return VisitorStyles(styles=tuple(style for style in self.styles if style.name != name))

    def titles(self, names: Iterable[str]) -> dict[str, str]:
        """Name -> title of those among `names`."""
        wanted = set(names)
        return {style.name: style.title for style in self.styles if style.name in wanted}

    def title(self, name: str) -> str | None:
        """None for a name that is no picture's."""
        known = next((style.title for style in self.styles if style.name == name), None)
        return known or (TITLE if name.startswith(PICTURE_PREFIX) else None)

    def slug(self, name: str) -> str:
        """`name` as a part of a file's name."""
        title = self.title(name)
        return name if title is None else safe_name(title.lower(), "your-picture")

    def pictures(self, names: Iterable[str]) -> tuple[StylePicture, ...]:
        """Those that a mix of `names` needs. Raises SettingError if one has made room."""
        wanted = [name for name in names if name.startswith(PICTURE_PREFIX)]
        if any(name not in self for name in wanted):
            raise SettingError(
                f"A picture on the palette has made room for a newer one, since {MOST_STYLES} are kept: take it off, or add it again."
            )
        return tuple(style.picture for style in self.styles if style.name in wanted)


def _short(title: str) -> str:
    """A file's name as a title."""
    words = " ".join(re.sub(r"[_\s]+", " ", title).split()) or TITLE
    words = words[0].upper() + words[1:]
    return words if len(words) <= TITLE_LENGTH else f"{words[: TITLE_LENGTH - 1].rstrip()}…"


def _distinct(title: str, others: Container[str]) -> str:
    """`title`, with a number if `others` has it: a list of the painter shows nothing but titles."""
    number, candidate = 1, title
    while candidate in others:
        number += 1
        candidate = f"{title} {number}"
    return candidate
