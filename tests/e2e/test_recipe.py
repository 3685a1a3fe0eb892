"""The recipe in docs/recipes works word for word, with simulated boards."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from sel_edge.core.ledger import LEDGER_FILE, read_ledger
from tests.tools_needed import missing_tool

ROOT = Path(__file__).parents[2]
RECIPE = ROOT / "docs" / "recipes" / "esp32-beside-a-pi.md"
SHOWN = "    73696d626f617264: "
"""How lines begin that the recipe shows as printed."""
BOARDS = ("73696d626f617264", "7365636f6e642d31")


def commands() -> str:
    lines = RECIPE.read_text().splitlines()
    code = [line[4:] for line in lines if line.startswith("    ") and not line.startswith(SHOWN)]
    return "\n".join(["set -e", "trap 'kill $(jobs -p)' EXIT", *code])


@pytest.mark.proof
def test_an_esp32_beside_a_pi(tmp_path: Path) -> None:
    for program in ("bash", "make", "gcc"):
        if shutil.which(program) is None:
            missing_tool(f"{program} is missing: install Debian's package {program}.")
    (tmp_path / "devices").symlink_to(ROOT / "devices")
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    place = {"HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path / ".config"), "PATH": path}
    done = subprocess.run(
        ["bash", "-c", commands()],
        cwd=tmp_path,
        env=os.environ | place,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "sent: " in done.stderr and " bytes were sent)" in done.stdout
    updates = read_ledger(tmp_path / "bundle.boards" / BOARDS[0] / LEDGER_FILE).updates
    assert "norm" in [update.rung for update in updates if update.kept]
    assert all((tmp_path / "bundle.boards" / board / "sent").is_dir() for board in BOARDS)
