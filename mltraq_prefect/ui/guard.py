"""Who may read, and what a browser may do with what it reads."""

from __future__ import annotations

import base64
import binascii
import secrets
from collections.abc import Sequence
from typing import TYPE_CHECKING

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; img-src data:; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}
"""No page has a script, and none asks another host for anything; a browser refuses both."""


class Guard:
    """Refuses whoever does not know the password, and whoever calls the server by a strange name.

    A page of another site may lead a browser to a server on its own machine by a name that stands
    for it. The name is in the request, and is none that this server has.

    Args:
        app: The application.
        password: The password; None if there is none.
        hosts: The names of the server; None if any will do.
    """

    def __init__(self, app: ASGIApp, *, password: str | None, hosts: Sequence[str] | None) -> None:
        self._app, self._password, self._hosts = app, password, hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or let the application answer it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(HEADERS)
            await send(message)

        headers = Headers(scope=scope)
        answer: ASGIApp = self._app
        if self._hosts is not None and _name(headers.get("host", "")) not in self._hosts:
            answer = PlainTextResponse("this server has another name", status_code=400)
        elif scope["method"] not in ("GET", "HEAD"):
            answer = PlainTextResponse("these pages are only read", status_code=405)
        elif self._password is not None and not self._is_known(headers.get("authorization", "")):
            asked = {"WWW-Authenticate": 'Basic realm="mltraq-prefect", charset="UTF-8"'}
            answer = PlainTextResponse("a password is needed", status_code=401, headers=asked)
        await answer(scope, receive, with_headers)

    def _is_known(self, authorization: str) -> bool:
        kind, _, text = authorization.partition(" ")
        try:
            given = base64.b64decode(text, validate=True).partition(b":")[2]
        except (binascii.Error, ValueError):
            return False
        known = (self._password or "").encode()
        return kind.lower() == "basic" and secrets.compare_digest(given, known)


def _name(host: str) -> str:
    """Return the name in a header, without its port."""
    return host.rpartition("]")[0] + "]" if host.startswith("[") else host.partition(":")[0].lower()
