"""The conversation: requests and answers are lines of JSON, files are raw bytes behind a line."""

from __future__ import annotations

import contextlib
import json
from typing import Any, BinaryIO

LONGEST_LINE = 4 * 1024 * 1024
LONGEST_PIECE = 4 * 1024 * 1024


class Refusal(Exception):  # noqa: N818 - it is an answer, not a defect
    """A request that is answered with no.

    Args:
        kind: request, signature, release, storage, busy, install or service.
        found: what is wrong, as a full sentence.
        expected: the rule it broke, as a full sentence, or "".
        action: what to do, as a full sentence.
    """

    def __init__(self, kind: str, found: str, expected: str, action: str) -> None:
        super().__init__(found)
        self.kind, self.found, self.expected, self.action = kind, found, expected, action

    def as_dict(self) -> dict[str, Any]:
        """The answer."""
        told = {"found": self.found, "expected": self.expected, "action": self.action}
        return {"ok": False, "kind": self.kind, **told}


def malformed(found: str) -> Refusal:
    """A request that no workstation sends."""
    return Refusal(
        "request",
        found,
        "The requests that docs/SPEC.md lists are expected.",
        "Use a sel-edge of the same version on both sides.",
    )


class Wire:
    """Reads requests and writes answers. A reader that has gone does not end the work under way.

    Args:
        source: where requests come from.
        sink: where answers go to.
    """

    def __init__(self, source: BinaryIO, sink: BinaryIO) -> None:
        self.source, self._sink = source, sink

    def request(self) -> dict[str, Any] | None:
        """The next request; None at the end of input, in the middle of a line as well.

        Raises:
            Refusal: it is no object with an `op`.
        """
        line = self.source.readline(LONGEST_LINE + 1)
        if not line.endswith(b"\n"):
            if len(line) > LONGEST_LINE:
                raise malformed(f"A request is longer than {LONGEST_LINE} bytes.")
            return None
        try:
            value = json.loads(line)
        except (ValueError, RecursionError):
            value = None
        if not isinstance(value, dict) or not isinstance(value.get("op"), str):
            raise malformed("A request is no JSON object with an op.")
        return value

    def raw(self, size: int) -> bytes | None:
        """The next `size` bytes; None if the input ends before."""
        content = self.source.read(size)
        return content if len(content) == size else None

    def send(self, value: dict[str, Any]) -> None:
        """Write one line."""
        self.write(json.dumps(value).encode() + b"\n")

    def progress(self, text: str) -> None:
        """Say what is being done."""
        self.send({"progress": text})

    def write(self, content: bytes) -> None:
        """Write bytes as they are."""
        with contextlib.suppress(ConnectionError):
            self._sink.write(content)
            self._sink.flush()


def field(request: dict[str, Any], name: str, kind: type) -> Any:
    """A field of a request.

    Raises:
        Refusal: it is missing, of another type, or a text that is none in UTF-8.
    """
    value = request.get(name)
    is_right = isinstance(value, kind) and not (kind is int and isinstance(value, bool))
    if isinstance(value, str):
        is_right &= not any("\ud800" <= character <= "\udfff" for character in value)
    if not is_right:
        raise malformed(f"The request {request['op'][:20]!r} has no right {name!r}.")
    return value
