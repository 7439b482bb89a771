"""The server's own pictures, small, at addresses that browsers keep: styles, examples, plots. Their files stay closed to visitors.

What a visitor brought never comes here: a shelf is open to everyone.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from starlette.responses import Response

from stylekit.storage import digests

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

FOLDER = "pictures"
KEPT = "public, max-age=31536000, immutable"  # the address is made of the content
_NAME = re.compile(rf"/{FOLDER}/([0-9a-f]{{24}}\.(?:jpg|png|webp))$")
_pictures: dict[str, bytes] = {}


def shelve(picture: bytes) -> str:
    """The address, relative to the page's, of a file in JPEG, PNG or WebP."""
    ending = "png" if picture.startswith(b"\x89PNG") else "webp" if picture.startswith(b"RIFF") else "jpg"
    name = f"{digests.of_bytes(picture, 24)}.{ending}"
    _pictures.setdefault(name, picture)
    return f"{FOLDER}/{name}"


class Shelf:
    """ASGI middleware that hands out what was shelved."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        found = _NAME.search(scope["path"]) if scope["type"] == "http" and scope["method"] in ("GET", "HEAD") else None
        picture = _pictures.get(found[1]) if found else None
        if found is None or picture is None:
            await self.app(scope, receive, send)
            return
        media = found[1].rpartition(".")[2].replace("jpg", "jpeg")
        await Response(picture, media_type=f"image/{media}", headers={"Cache-Control": KEPT})(scope, receive, send)
