"""The fuzzing harnesses build and find nothing, with either driver."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys

import pytest

from tests.firmware.build import FIRMWARE
from tests.tools_needed import missing_tool

TARGETS = {"frames", "image", "payload", "device"}


def fuzz(inputs: int, *arguments: str) -> dict[str, object]:
    command = [sys.executable, "-m", "tools.fuzz_firmware", "--inputs", str(inputs), *arguments]
    done = subprocess.run(command, cwd=FIRMWARE.parents[1], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found: dict[str, object] = json.loads(done.stdout.splitlines()[-1])
    return found


def check(found: dict[str, object], inputs: int, driver: str) -> None:
    assert found["fuzz_inputs"] == inputs
    assert (found["fuzz_accepted"], found["crashes"]) == (0, 0)
    assert found["driver"] == driver
    per_target = found["per_target"]
    assert isinstance(per_target, dict)
    assert set(per_target) == TARGETS


def test_nothing_is_found_without_clang() -> None:
    if shutil.which("gcc") is None:
        missing_tool("gcc is missing: install Debian's package gcc.")
    check(fuzz(4000, "--standalone"), 4000, "standalone")


@pytest.mark.proof
def test_nothing_is_found_in_a_million_inputs() -> None:
    if shutil.which("clang") is None:
        missing_tool("clang is missing: install Debian's packages clang and libclang-rt-14-dev.")
    check(fuzz(1_000_000), 1_000_000, "libFuzzer")
