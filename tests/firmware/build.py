"""Host builds of the firmware's C: each set of sources and flags once per session."""

from __future__ import annotations

import atexit
import hashlib
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from tests.tools_needed import missing_tool

FIRMWARE = Path(__file__).parents[2] / "devices" / "firmware"
CORE = FIRMWARE / "core"
HOST = FIRMWARE / "ports" / "host"
WARNINGS = ("-std=c99", "-Wall", "-Wextra", "-Werror", "-Wconversion", "-Wshadow", "-pedantic")
SANITIZERS = ("-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")


def core_sources() -> tuple[Path, ...]:
    return tuple(sorted(CORE.glob("*.c")))


def shared_library(sources: Sequence[Path], flags: Sequence[str] = ()) -> Path:
    """Compile C sources to a shared library of the host.

    Args:
        sources: C files; headers of the core, of the host's port and beside them are found.
        flags: of gcc, after those that everything is compiled with.
    """
    return _build((*map(Path, sources),), ("-O2", "-fPIC", "-shared", *flags))


def program(sources: Sequence[Path], flags: Sequence[str] = SANITIZERS) -> Path:
    """Compile C sources to a program of the host, under sanitizers unless `flags` differs."""
    return _build((*map(Path, sources),), ("-O1", *flags))


def host_library() -> Path:
    """The whole core with the host's port as a shared library."""
    return shared_library([*core_sources(), *sorted(HOST.glob("*.c"))])


def _build(sources: tuple[Path, ...], flags: tuple[str, ...]) -> Path:
    if shutil.which("gcc") is None:
        missing_tool("gcc is missing: install Debian's package gcc.")
    target, complaints = _compiled(sources, flags)
    assert not complaints, complaints
    return target


@cache
def _compiled(sources: tuple[Path, ...], flags: tuple[str, ...]) -> tuple[Path, str]:
    """What came out, and what the compiler complained of: neither is tried twice."""
    name = hashlib.sha256(repr((sources, flags)).encode()).hexdigest()[:16]
    target = _folder() / (f"lib{name}.so" if "-shared" in flags else name)
    folders = dict.fromkeys((CORE, HOST, *(source.parent for source in sources)))
    includes = [f"-I{folder}" for folder in folders]
    command = ["gcc", *WARNINGS, *flags, *includes, *map(str, sources), "-o", str(target)]
    done = subprocess.run(command, capture_output=True, text=True)
    return target, done.stderr if done.returncode else ""


@cache
def _folder() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="sel-edge-firmware-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder
