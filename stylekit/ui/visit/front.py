"""What is done to the page's HTML before it leaves: a link shows what it leads to, the guard is the first script, and it is compressed.

Gradio puts what it is given for the head there by a script, after its own listeners, and where no one who only reads the HTML finds it.
"""

from __future__ import annotations

import html
import re
from pathlib import Path
from typing import TYPE_CHECKING

from starlette.datastructures import URL, MutableHeaders
from starlette.middleware.gzip import GZipMiddleware

from stylekit.storage.paths import STYLES_FOLDER
from stylekit.ui.choices import picture_address

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

GUARD = Path(__file__).with_name("guard.js")
PREVIEW = STYLES_FOLDER / "vangogh" / "preview.jpg"
ABOUT = "Your photo as a drawing, a print or a painting: a dozen styles, painted and drawn at its own size, also by region."
_GRADIOS = re.compile(rb'<meta\s+(?:property|name)="(?:og|twitter):[^>]*>\s*')
LEAST = 10_000  # bytes that are worth compressing


class Front:
    """ASGI middleware."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app
        self.page = GZipMiddleware(self._dressed, minimum_size=LEAST, compresslevel=6)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        root = scope.get("root_path", "").rstrip("/")
        is_page = scope["type"] == "http" and scope["method"] == "GET" and scope["path"].rstrip("/") in ("", root)
        await (self.page if is_page else self.app)(scope, receive, send)

    async def _dressed(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The page with our head; what is no HTML goes through as it is."""
        start: Message | None = None
        parts: list[bytes] = []

        async def dress(message: Message) -> None:
            nonlocal start
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                if headers.get("content-type", "").startswith("text/html"):
                    start = message
                    return
            elif start is not None and message["type"] == "http.response.body":
                parts.append(message.get("body", b""))
                if message.get("more_body", False):
                    return
                body = _GRADIOS.sub(b"", b"".join(parts)).replace(b"<head>", b"<head>" + head(str(URL(scope=scope))).encode(), 1)
                MutableHeaders(scope=start)["content-length"] = str(len(body))
                await send(start)
                message = {"type": "http.response.body", "body": body}
            await send(message)

        await self.app(scope, receive, dress)


def head(url: str) -> str:
    """For the page at `url`."""
    picture = picture_address(PREVIEW, 1200)
    properties = {"og:title": "stylekit", "og:type": "website", "og:description": ABOUT, "twitter:card": "summary_large_image"}
    if picture:
        properties["og:image"] = f"{url.split('?')[0].rstrip('/')}/{picture}"
    tags = "".join(f'<meta property="{name}" content="{html.escape(text)}">' for name, text in properties.items())
    return f'<meta name="description" content="{html.escape(ABOUT)}">{tags}<script>{GUARD.read_text(encoding="utf-8")}</script>'
