"""The guard before the page's server: requests that would stop it for everyone are refused before anything reads them.

A server on one event loop parses JSON on it, so a body of a few megabytes that is all brackets keeps every visitor waiting.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.datastructures import Headers
from starlette.responses import JSONResponse

from stylekit.ui.limits import Limits, RequestRefused

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

UPLOAD = "/gradio_api/upload"  # reads files in pieces, onto the disk, each up to the app's max_file_size
BODILESS = ("GET", "HEAD", "OPTIONS")
FORMS = ("multipart/form-data", "application/x-www-form-urlencoded")


class Guard:
    """ASGI middleware. A body longer than `limits` say is answered with 413, JSON of too many or too deeply nested values with 400."""

    def __init__(self, app: ASGIApp, limits: Limits) -> None:
        self.app = app
        self.limits = limits

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] in BODILESS or scope["path"].rstrip("/").endswith(UPLOAD):
            await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        try:
            body = await self._read(headers, receive)
            if body is None:
                return
            if not headers.get("content-type", "").lower().startswith(FORMS):
                self.limits.check_json(body)
        except RequestRefused as refused:
            # what is left of the body is not waited for
            answer = JSONResponse({"detail": str(refused)}, refused.status, headers={"Connection": "close"})
            await answer(scope, receive, send)
            return

        given = False

        async def replay() -> Message:
            nonlocal given
            if given:
                return await receive()
            given = True
            return {"type": "http.request", "body": body, "more_body": False}

        await self.app(scope, replay, send)

    async def _read(self, headers: Headers, receive: Receive) -> bytes | None:
        """The body; None if the client has gone. Raises RequestRefused as soon as it is known to be too long."""
        length = headers.get("content-length", "")
        if length.isdecimal():
            self.limits.check_length(int(length[:20]))
        parts: list[bytes] = []
        total = 0
        while True:
            message = await receive()
            if message["type"] != "http.request":
                return None
            part = message.get("body", b"")
            total += len(part)
            self.limits.check_length(total)
            parts.append(part)
            if not message.get("more_body", False):
                return b"".join(parts)
