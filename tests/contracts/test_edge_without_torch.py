"""The edge half of the package works where torch, onnx and matplotlib are missing."""

import subprocess
import sys

import pytest

from sel_edge.cli.main import TRAIN_PACKAGES
from tests.cli.boards import camera
from tests.gateway.worlds import make_bundle
from tests.link.boards import Board

BLOCKED = f"""
import sys

class Wall:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {TRAIN_PACKAGES!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Wall())
from sel_edge.cli.main import main
main()
"""


def edge(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", BLOCKED, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=120,
    )


def test_the_edge_commands_work(workshop, frames, tmp_path):
    source = f"npz:{frames}:test?n=96&labels=0.3"
    bundle, state = workshop / "bundle", tmp_path / "state"
    sun = ["--battery", "10Wh", "--solar", "clear-sky:2", "--profile", "pi-zero-2w"]
    for arguments in (
        ["doctor"],
        ["inspect", bundle],
        ["run", bundle, "--source", source, "--state", state],
        ["label", state],
        ["adapt", bundle, "--state", state, "--dry-run"],
        ["adapt", bundle, "--state", state],
        ["history", state],
        ["report", state],
        ["report", state, "--json"],
        ["simulate", bundle, "--source", source, "--days", 0.02, *sun, "--out", tmp_path / "days"],
    ):
        done = edge(*arguments)
        assert done.returncode == 0, (arguments, done.stderr)
        assert "Traceback" not in done.stderr


def test_a_host_needs_no_more_for_its_boards(tmp_path):
    bundle = make_bundle(tmp_path).path
    key, state = ["--key", tmp_path / "host.key"], tmp_path / "boards"
    with Board(tmp_path / "flash", camera=camera(tmp_path)) as board:
        for arguments in (
            ["deploy", board.port, "--bundle", bundle, "--provision", *key],
            ["gateway", board.port, "--bundle", bundle, "--state", state, "--for", 2, *key],
            ["device", "status", board.port],
            ["push", "--help"],
        ):
            done = edge(*arguments)
            assert done.returncode == 0, (arguments, done.stderr)
            assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ["pretrain", "--data", "digits", "--out", "run"],
        ["export", "run", "--out", "bundle"],
        ["demo"],
    ],
)
def test_workstation_commands_name_the_extra_to_install(arguments, tmp_path):
    done = edge(*arguments)
    assert done.returncode == 7
    assert "sel-edge[train]" in " ".join(done.stderr.split()) and "Traceback" not in done.stderr
