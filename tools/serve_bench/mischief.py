"""Everything that means no good, on daemons of its own, and how many mistakes they make."""

from __future__ import annotations

import secrets
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tools.serve_bench.attacks import with_token, without_token
from tools.serve_bench.daemon import serving
from tools.serve_bench.hostile import try_all
from tools.serve_bench.questions import answers_of, server_errors
from tools.serve_bench.schema import schemathesis
from tools.serve_bench.sources import accepted


def mischief(bundle: Path, folder: Path, examples: int) -> dict[str, Any]:
    """Try everything.

    Args:
        bundle: that runs.
        folder: for states and files.
        examples: of schemathesis, for each operation.

    Returns:
        `tried`; `not_refused`: what should have been and was not; `slowest_s` until a slow client
        was sent away; `grown_mb` of memory by all of it; `schemathesis`; `server_errors`.
    """
    token = secrets.token_urlsafe(24)
    secret = folder / "token"
    secret.touch(mode=0o600)
    secret.write_text(token)
    with serving(bundle, "http", folder / "locked", ["--token-file", str(secret)]) as daemon:
        before_bytes = daemon.rss_bytes()
        locked = try_all(daemon.port, with_token(token))
        grown_bytes = daemon.rss_bytes() - before_bytes
        answers = answers_of(daemon, token)
    with serving(bundle, "http", folder / "open") as daemon:
        by_name = try_all(daemon.port, without_token())
        asked = schemathesis(daemon, examples, folder)
        answers += answers_of(daemon)
    (folder / "sources").mkdir()
    taken, sources = accepted(bundle, folder / "sources")
    tried = [*locked, *by_name]
    return {
        "tried": len(tried) + sources,
        "not_refused": [*(asdict(one) for one in tried if not one.is_refused), *taken],
        "slowest_s": max(one.seconds for one in tried),
        "grown_mb": grown_bytes / 1e6,
        "schemathesis": asked,
        "answers": dict(sorted(answers.items())),
        "server_errors": server_errors(Counter(answers)),
    }
