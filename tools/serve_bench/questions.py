"""What a daemon says of itself when it is asked."""

from __future__ import annotations

import json
import re
from collections import Counter
from contextlib import closing
from http.client import HTTPConnection
from typing import Any

from tools.serve_bench.daemon import Daemon

WANTED = ("503", "507")
"""Server errors that are meant: too busy, or no space left."""
_COUNTED = re.compile(r'^sel_edge_http_requests_total\{status="(\d+)"\} (\S+)$', re.MULTILINE)


def status_of(daemon: Daemon, token: str | None = None) -> dict[str, Any]:
    """The newest snapshot."""
    found: dict[str, Any] = json.loads(_asked(daemon, "/api/v1/status", token))
    return found


def answers_of(daemon: Daemon, token: str | None = None) -> Counter[str]:
    """Status of HTTP -> how many requests were answered with it since the daemon started."""
    text = _asked(daemon, "/metrics", token).decode()
    return Counter({status: int(float(count)) for status, count in _COUNTED.findall(text)})


def server_errors(answers: Counter[str]) -> int:
    """Those that are a mistake of the server."""
    return sum(
        count for status, count in answers.items() if status[0] == "5" and status not in WANTED
    )


def _asked(daemon: Daemon, path: str, token: str | None) -> bytes:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    with closing(HTTPConnection("127.0.0.1", daemon.port, timeout=30)) as connection:
        connection.request("GET", path, headers=headers)
        answer = connection.getresponse()
        content = answer.read()
    if answer.status != 200:
        raise RuntimeError(f"{path} was answered with {answer.status}")
    return content
