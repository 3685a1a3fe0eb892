"""The agent as one file, and the command that starts it on a board."""

from __future__ import annotations

import io
import shlex
import zipfile
from importlib.resources import files

from sel_edge.core.files import canonical_json, sha256_bytes

PROTOCOL = 1
_PACKAGE = "sel_edge_agent"
_MAIN = f"""\
import sys

from {_PACKAGE}.main import main

sys.exit(main(sys.argv[1:]))
"""
_EARLIEST = (1980, 1, 1, 0, 0, 0)
_RECEIVE = (
    "import hashlib, json, runpy, sys, tempfile; "
    "head = json.loads(sys.stdin.buffer.readline()); "
    'program = sys.stdin.buffer.read(head["bytes"]); '
    'hashlib.sha256(program).hexdigest() == head["sha256"] or sys.exit("it broke off"); '
    "folder = tempfile.TemporaryDirectory(); "
    'path = folder.name + "/agent.pyz"; '
    'open(path, "wb").write(program); '
    'sys.argv = [path, "talk"]; '
    'runpy.run_path(path, run_name="__main__")'
)
_START = (
    'agent="$HOME/.local/share/sel-edge/agent.pyz"; '
    'if [ -f "$agent" ] && python3 "$agent" version </dev/null >/dev/null 2>&1; '
    'then exec python3 "$agent" talk; fi; '
    'echo "{\\"agent\\":null}"; '
    'exec python3 -c "$1"'
)
"""One line without single quotes, because any shell may read it first. An agent that was damaged
does not lock its owner out."""


def agent_program() -> bytes:
    """The agent as a zip file that Python runs; equal sources give equal bytes."""
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as writer:  # stored: compressors differ between machines
        writer.writestr(zipfile.ZipInfo("__main__.py", _EARLIEST), _MAIN)
        sources = files("sel_edge.deploy.agent").iterdir()
        for source in sorted(sources, key=lambda source: source.name):
            if source.name.endswith(".py"):
                entry = zipfile.ZipInfo(f"{_PACKAGE}/{source.name}", _EARLIEST)
                writer.writestr(entry, source.read_bytes())
    return archive.getvalue()


def start_command() -> str:
    """What ssh is to run: the agent that is there, else one that is sent."""
    return shlex.join(["exec", "sh", "-c", _START, "sh", _RECEIVE])


def sent_program(program: bytes) -> bytes:
    """What is sent to a board that has no agent yet."""
    head = {"bytes": len(program), "sha256": sha256_bytes(program)}
    return canonical_json(head) + b"\n" + program
