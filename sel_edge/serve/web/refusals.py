"""What a client is told that does not get what it asked for: `{"error": {...}}`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from sel_edge.core.errors import (
    BundleError,
    ConfigError,
    DataError,
    RunDirectoryError,
    SelEdgeError,
    StorageError,
)
from sel_edge.serve.device import BusyError
from sel_edge.serve.web.wire import json_bytes

_STATUS: tuple[tuple[type[SelEdgeError], int], ...] = (
    (BusyError, 503),
    (DataError, 400),
    (ConfigError, 400),
    (BundleError, 409),
    (RunDirectoryError, 409),
    (StorageError, 507),
)
"""The first that fits; what is none of them is a trouble of the device: 503."""


@dataclass(frozen=True)
class Trouble:
    """Why a request was refused.

    Attributes:
        kind: one or two words that programs can compare.
        found: what is wrong, as a full sentence.
        expected: the rule it broke; "" when `found` already says it.
        action: what can be done now.
    """

    kind: str
    found: str
    expected: str
    action: str


class RefusalError(Exception):
    """A request that is refused.

    Args:
        status: of HTTP, 400 or more.
        trouble: why.
        headers: to go with it.
    """

    def __init__(
        self, status: int, trouble: Trouble, headers: Mapping[str, str] | None = None
    ) -> None:
        self.status, self.trouble, self.headers = status, trouble, dict(headers or {})
        super().__init__(trouble.found)

    def response(self) -> Response:
        """As it goes to the client."""
        return Response(
            json_bytes({"error": self.trouble}),
            self.status,
            {**self.headers, "Cache-Control": "no-store"},
            "application/json",
        )


def bad_request(found: str, expected: str, action: str = "Correct the request.") -> RefusalError:
    """400."""
    return RefusalError(400, Trouble("request", found, expected, action))


def too_many(kind: str, found: str, seconds: float) -> RefusalError:
    """429: come back in so many seconds."""
    wait = max(1, round(seconds + 0.5))
    trouble = Trouble(kind, found, "", f"Try again in {wait} s.")
    return RefusalError(429, trouble, {"Retry-After": str(wait)})


def busy(found: str) -> RefusalError:
    """503: come back a little later."""
    trouble = Trouble(BusyError.kind, found, "", "Try again in a moment.")
    return RefusalError(503, trouble, {"Retry-After": "1"})


def refusal_of(error: SelEdgeError) -> RefusalError:
    """The same error for a client."""
    status = next((status for kind, status in _STATUS if isinstance(error, kind)), 503)
    trouble = Trouble(error.kind, error.found, error.expected, error.action)
    return RefusalError(status, trouble, {"Retry-After": "1"} if status == 503 else None)


async def answer_exception(request: Request, error: Exception) -> Response:
    """What Starlette calls for every exception; those of no kind that is foreseen it logs, too."""
    if isinstance(error, RefusalError):
        return error.response()
    if isinstance(error, SelEdgeError):
        return refusal_of(error).response()
    if isinstance(error, HTTPException):
        return _unknown(error).response()
    trouble = Trouble("bug", "The server made a mistake.", "", "Look into its log.")
    # Starlette raises the error again once it is answered, and uvicorn hangs up then.
    return RefusalError(500, trouble, {"Connection": "close"}).response()


def _unknown(error: HTTPException) -> RefusalError:
    """A path or method that is not in the table."""
    if error.status_code == 405:
        allowed = (error.headers or {}).get("Allow", "")
        trouble = Trouble("method", "The path has no such method.", f"It has {allowed}.", "")
    else:
        trouble = Trouble("path", "There is nothing here.", "", "See /api/v1/openapi.json.")
    return RefusalError(error.status_code, trouble, error.headers)
