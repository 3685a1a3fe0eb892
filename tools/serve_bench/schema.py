"""Schemathesis against a daemon's own OpenAPI document."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

from tools.serve_bench.daemon import Daemon

CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "negative_data_rejection",
    "unsupported_method",
)
"""Not those of tokens, because wrong ones lock their address out, and not whether all that fits
the document is taken: it cannot say what bytes are a picture."""
RATE = "80/s"
"""The daemon takes 100 requests a second from one address in the long run."""
SEED = 1
LONGEST_S = 1800
_FAILED = re.compile(r"^- (.+)$", re.MULTILINE)
_GENERATED = re.compile(r"([\d,]+) generated")


def schemathesis(daemon: Daemon, examples: int, folder: Path) -> dict[str, Any]:
    """Ask for everything in the document, in ways that it allows and in ways that it does not.

    The stream is left out, because it does not end.

    Args:
        daemon: without a token.
        examples: of each operation, at most.
        folder: that may be written to.

    Returns:
        `requests`; `failures`: what was not as documented.

    Raises:
        RuntimeError: it could not be run.
    """
    command = [str(Path(sys.executable).parent / "schemathesis"), "--no-color", "run"]
    command += [f"http://127.0.0.1:{daemon.port}/api/v1/openapi.json"]
    command += ["--exclude-path", "/api/v1/stream", "--checks", ",".join(CHECKS)]
    command += ["--max-examples", str(examples), "--rate-limit", RATE, "--seed", str(SEED)]
    command += ["--warnings", "off", "--continue-on-failure"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=LONGEST_S)
    generated = _GENERATED.search(done.stdout)
    if done.returncode not in (0, 1) or generated is None:
        said = (done.stdout + done.stderr)[-2000:]
        raise RuntimeError(f"schemathesis ended with {done.returncode}: {said}")
    failures = _FAILED.findall(done.stdout) if done.returncode else []
    return {"requests": int(generated[1].replace(",", "")), "failures": failures}
