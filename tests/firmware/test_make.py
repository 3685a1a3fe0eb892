"""devices/firmware/Makefile: warnings, sizes, and what the core asks of a board's libraries."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from sel_edge.core.errors import MissingDependencyError
from tests.firmware.build import CORE, FIRMWARE
from tests.tools_needed import missing_tool
from tools.mcu_bench.emulator import check_tools

MOST_CODE_BYTES = 24 * 1024
ALLOWED = re.compile(r"mem(chr|cmp|cpy|move|set)|__riscv_(save|restore)_\d+")
"""Memory functions of C; the compiler's own for saving registers."""


@pytest.fixture(autouse=True)
def tools() -> None:
    try:
        check_tools()
    except MissingDependencyError as error:
        missing_tool(str(error))
    if shutil.which("clang") is None:
        missing_tool("clang is missing: install Debian's package clang.")


def make(target: str, out: Path) -> str:
    command = ["make", "--silent", "-C", str(FIRMWARE), target, f"OUT={out}"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def test_nothing_is_compiled_with_a_warning(tmp_path: Path) -> None:
    make("check", tmp_path)


def test_size_tells_the_bytes_of_every_file_of_the_core(tmp_path: Path) -> None:
    told = json.loads(make("size", tmp_path).splitlines()[-1])
    assert set(told["files"]) == {path.name for path in CORE.glob("*.c")}
    assert told["object_bytes"] == sum(told["files"].values()) <= MOST_CODE_BYTES
    assert 0 < told["code_bytes"] <= told["object_bytes"]
    assert min(told["files"].values()) > 0


def test_the_core_needs_no_heap_no_floats_and_no_operating_system(tmp_path: Path) -> None:
    make("size", tmp_path)
    objects = sorted(map(str, (tmp_path / "rv32" / "core").glob("*.o")))
    command = ["riscv64-unknown-elf-nm", "--no-sort", *objects]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    symbols = [line.split()[-2:] for line in lines if line.strip() and not line.endswith(":")]
    defined = {name for kind, name in symbols if kind in "TtRr"}
    needed = {name for kind, name in symbols if kind == "U"} - defined
    assert {name for name in needed if not ALLOWED.fullmatch(name)} == set()
    assert not [name for kind, name in symbols if kind in "DdBbC"]
    assert all(name.startswith("sel_") for kind, name in symbols if kind == "T")
