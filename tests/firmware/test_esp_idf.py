"""The ESP-IDF port against ESP-IDF's documented prototypes: syntax and types, no more than that."""

from __future__ import annotations

import csv
import re
import shutil
import subprocess
from itertools import pairwise
from pathlib import Path

import pytest

from tests.firmware.build import CORE, FIRMWARE, WARNINGS
from tests.tools_needed import missing_tool

PORT = FIRMWARE / "ports" / "esp_idf"
STUBS = Path(__file__).parent / "esp_stubs"
SOURCES = sorted(PORT.rglob("*.c"))
COMPILERS = {
    "gcc": ("gcc", "gcc"),
    "clang": ("clang", "clang"),
    "rv32": (
        "riscv64-unknown-elf-gcc",
        "gcc-riscv64-unknown-elf picolibc-riscv64-unknown-elf",
        "--specs=picolibc.specs",
        "-march=rv32imc",
        "-mabi=ilp32",
    ),
}
CHOICES = {
    "usb": ("-DCONFIG_SEL_EDGE_LINK_USB=1", "-DCONFIG_SEL_EDGE_ENTROPY_FROM_ADC=1"),
    "uart": ("-DCONFIG_SEL_EDGE_LINK_UART=1", "-DCONFIG_SEL_EDGE_BURN_KEY=1"),
}


@pytest.mark.parametrize("choice", CHOICES)
@pytest.mark.parametrize("compiler", COMPILERS)
def test_every_choice_compiles_without_a_warning(compiler: str, choice: str) -> None:
    program, packages, *flags = COMPILERS[compiler]
    if shutil.which(program) is None:
        missing_tool(f"{program} is missing: install Debian's packages {packages}.")
    command = [program, *flags, *WARNINGS, *CHOICES[choice], "-O2", "-fsyntax-only"]
    command += [f"-I{folder}" for folder in (PORT, CORE, STUBS)]
    done = subprocess.run([*command, *map(str, SOURCES)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_every_option_of_the_sources_is_one_of_kconfig() -> None:
    told = set(re.findall(r"^\s*config (SEL_EDGE_\w+)", (PORT / "Kconfig").read_text(), re.M))
    used = {
        name for file in SOURCES for name in re.findall(r"CONFIG_(SEL_EDGE_\w+)", file.read_text())
    }
    assert used
    assert used <= told


def test_partitions_fill_their_flash_without_overlapping() -> None:
    text = (PORT / "partitions.csv").read_text().splitlines()
    rows = [
        [cell.strip() for cell in row] for row in csv.reader(text) if not row[0].startswith("#")
    ]
    places = sorted((int(row[3], 0), int(row[4], 0), row[0]) for row in rows)
    for (offset, size, _), (following, _, _) in pairwise(places):
        assert offset + size <= following
    assert places[-1][0] + places[-1][1] <= 4 << 20
    sizes = {name: size for _, size, name in places}
    assert sizes["sel_area_a"] == sizes["sel_area_b"]
    named = set(re.findall(r'"(sel_\w+)"', (PORT / "sel_esp_board.c").read_text()))
    assert named <= set(sizes)
