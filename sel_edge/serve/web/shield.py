"""What stands before the application: headers on every answer, and requests that go no further."""

from __future__ import annotations

import re
from collections.abc import MutableMapping
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from sel_edge.serve.web.buckets import Buckets, client_of
from sel_edge.serve.web.headers import HEADERS
from sel_edge.serve.web.refusals import RefusalError, Trouble, bad_request, too_many
from sel_edge.serve.web.settings import WebSettings, is_loopback
from sel_edge.serve.web.site import Site

API = "/api/"
HEADER_BYTES = 16 * 2**10
"""Of all headers of a request, its URL included."""
_SAFE = ("GET", "HEAD", "OPTIONS")
_HOST = re.compile(r"(?P<name>\[[0-9a-fA-F:.]+\]|[^:\[\]/@\s]+)(:[0-9]{1,5})?")


class Shield:
    """An ASGI application around another.

    Args:
        app: the other.
        site: counts what is answered.
        settings: of the owner.
    """

    def __init__(self, app: ASGIApp, site: Site, settings: WebSettings) -> None:
        self._app, self._site, self._settings = app, site, settings
        limits = settings.limits
        self._requests = Buckets(limits.requests_per_s, limits.burst)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                self._site.metrics.count(message["status"])
                _add_headers(message)
            await send(message)

        try:
            self._check(HTTPConnection(scope), scope["method"])
        except RefusalError as refusal:
            await refusal.response()(scope, receive, send_guarded)
            return
        await self._app(scope, receive, send_guarded)

    def _check(self, visitor: HTTPConnection, method: str) -> None:
        """Refuse what comes too often, or not from where it seems to."""
        client = client_of(visitor.client.host if visitor.client else "")
        if wait := self._requests.take(client):
            raise too_many("rate", "Too many requests come from this address.", wait)
        _require_usual(visitor)
        if self._settings.token is None:
            self._require_own_name(visitor)
        query = visitor.scope["query_string"].decode("ascii", "replace")
        if any(name.lower() == "token" for name, _ in parse_qsl(query, keep_blank_values=True)):
            raise bad_request(
                "There is a token in the URL.",
                "URLs are kept in logs and histories, so a token has no place there.",
                "Send it as `Authorization: Bearer`, and choose a new one.",
            )
        if visitor.scope["path"].startswith(API):
            _require_own_page(visitor, method)

    def _require_own_name(self, visitor: HTTPConnection) -> None:
        """Refuse foreign names: by DNS rebinding a page elsewhere would ask as this machine.

        With a token that is no danger, because a browser keeps cookies by name.
        """
        found = _HOST.fullmatch(visitor.headers.get("Host", ""))
        name = found["name"].strip("[]").lower() if found else ""
        allowed = {host.lower() for host in self._settings.allowed_hosts}
        if not is_loopback(name) and name not in allowed:
            trouble = Trouble(
                "host",
                f"This device is not called {ascii(name)[:80]}.",
                "Without a token it answers to localhost, and to names given by --allow-host.",
                "Use one of these names.",
            )
            raise RefusalError(421, trouble)


def _require_usual(visitor: HTTPConnection) -> None:
    """Refuse what h11 lets through: other versions of HTTP, and headers that came in one piece,
    however long."""
    scope = visitor.scope
    if scope["http_version"] not in ("1.0", "1.1"):
        raise bad_request("This is no HTTP/1.1.", "")
    size = len(scope["raw_path"]) + len(scope["query_string"])
    size += sum(len(name) + len(value) for name, value in scope["headers"])
    if size > HEADER_BYTES:
        rule = f"URL and headers have at most {HEADER_BYTES:,} bytes."
        trouble = Trouble("request", "The headers are too long.", rule, "Send shorter ones.")
        raise RefusalError(431, trouble)


def _require_own_page(visitor: HTTPConnection, method: str) -> None:
    """Refuse what another site's page makes a browser ask.

    Programs send neither header. `Origin` has the scheme as well, which a proxy may have changed.
    """
    site = visitor.headers.get("Sec-Fetch-Site", "none")
    origin = visitor.headers.get("Origin")
    own = origin is None or method in _SAFE or _is_own(origin, visitor.headers.get("Host", ""))
    if site not in ("none", "same-origin") or not own:
        trouble = Trouble(
            "origin",
            "The request was made by a page of another site.",
            "Only the device's own page may ask in the name of its visitor.",
            "Open the device's own page.",
        )
        raise RefusalError(403, trouble)


def _is_own(origin: str, host: str) -> bool:
    try:
        parts = urlsplit(origin)
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and parts.netloc.lower() == host.lower()


def _add_headers(message: MutableMapping[str, Any]) -> None:
    headers = [(name.lower().encode(), value.encode()) for name, value in HEADERS.items()]
    message["headers"] = [*message.get("headers", ()), *headers]
