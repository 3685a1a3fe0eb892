"""Who may ask: those with the token, in a header or exchanged for a session; or this machine."""

from __future__ import annotations

import hashlib
import hmac
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable

from starlette.requests import HTTPConnection

from sel_edge.serve.web.buckets import Buckets, client_of
from sel_edge.serve.web.refusals import RefusalError, Trouble, too_many
from sel_edge.serve.web.settings import WebSettings, is_loopback

COOKIE = "sel_edge_session"
"""With the port behind it: cookies are shared by all ports of a host."""


class Keeper:
    """Knows the token, and who has shown it.

    Neither is kept or compared in clear text: what an attacker could time is a SHA-256.

    Args:
        settings: of the server.
        port: it listens on.
        clock: seconds, rising.
    """

    def __init__(
        self, settings: WebSettings, port: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._token = None if settings.token is None else _digest(settings.token)
        self._limits, self._clock = settings.limits, clock
        per_min = self._limits.failures_per_min
        self._failures = Buckets(per_min / 60.0, per_min, clock)
        self._sessions: OrderedDict[bytes, float] = OrderedDict()
        self.cookie = f"{COOKIE}_{port}"

    @property
    def needs_token(self) -> bool:
        """Whether a token is asked for at all."""
        return self._token is not None

    def require(self, visitor: HTTPConnection) -> None:
        """Refuse whoever has neither token nor session.

        Raises:
            RefusalError: 401, or 429 after too many wrong tokens.
        """
        if self._token is None:
            return
        token = _shown(visitor)
        if token is not None:
            self.check(visitor, token)
        elif not self.is_signed_in(visitor):
            raise _unknown("No header `Authorization: Bearer TOKEN` was sent.")

    def check(self, visitor: HTTPConnection, token: str) -> None:
        """Refuse a wrong token; errors as `require`.

        The right one is let in whatever came before it: behind a proxy, whoever guesses has the
        address of everybody else. Guesses are bounded by the requests that an address may make.
        """
        if self._token is None or hmac.compare_digest(_digest(token), self._token):
            return
        client = client_of(visitor.client.host if visitor.client else "")
        if wait := self._failures.take(client):
            raise too_many("token", "Too many wrong tokens came from this address.", wait)
        raise _unknown("The token is wrong.")

    def is_trusted(self, visitor: HTTPConnection) -> bool:
        """Whether somebody comes from this machine, or has shown the token."""
        if visitor.client is not None and is_loopback(visitor.client.host):
            return True
        try:
            self.require(visitor)
        except RefusalError:
            return False
        return True

    def sign_in(self) -> str:
        """A new session of somebody who has shown the token: the value of the cookie."""
        session = secrets.token_urlsafe(32)
        self._sessions[_digest(session)] = self._clock() + self._limits.session_s
        if len(self._sessions) > self._limits.sessions:
            self._sessions.popitem(last=False)
        return session

    def is_signed_in(self, visitor: HTTPConnection) -> bool:
        """Whether the cookie is that of a session that has not ended."""
        end_s = self._sessions.get(_digest(visitor.cookies.get(self.cookie, "")))
        return end_s is not None and self._clock() < end_s

    def still_may(self, visitor: HTTPConnection) -> bool:
        """Whether somebody who was let in would be let in now: sessions end."""
        by_header = _shown(visitor) is not None
        return self._token is None or by_header or self.is_signed_in(visitor)

    def sign_out(self, visitor: HTTPConnection) -> None:
        """End the session of the cookie, if there is one."""
        self._sessions.pop(_digest(visitor.cookies.get(self.cookie, "")), None)


def _shown(visitor: HTTPConnection) -> str | None:
    """The token in the header; None without one. Credentials of another scheme are for a proxy."""
    scheme, _, token = visitor.headers.get("Authorization", "").partition(" ")
    return (token.strip() or None) if scheme.lower() == "bearer" else None


def _digest(secret: str) -> bytes:
    return hashlib.sha256(secret.encode(errors="surrogateescape")).digest()


def _unknown(found: str) -> RefusalError:
    trouble = Trouble(
        "token",
        found,
        "The token of this device is expected, as `Authorization: Bearer`, or a session.",
        "Sign in on the page, or send the token in that header.",
    )
    return RefusalError(401, trouble, {"WWW-Authenticate": 'Bearer realm="sel-edge"'})
