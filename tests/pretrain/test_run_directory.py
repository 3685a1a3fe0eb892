"""What killed processes left in a run's directory, and two that want the same one."""

from __future__ import annotations

from pathlib import Path

import pytest

from sel_edge.core.errors import RunDirectoryError
from sel_edge.core.files import LOCK_FILE, exclusive
from sel_edge.core.runlog import HISTORY_FILE, RUN_FILE, read_run
from sel_edge.energy.meter import open_meter
from sel_edge.pretrain import run
from sel_edge.pretrain.checkpoint import CHECKPOINT_FILE
from sel_edge.pretrain.loop import RunInterruptedError
from sel_edge.pretrain.run import resume_run, start_run
from tests.pretrain.conftest import Quiet, after, never, small_options, small_recipe, train

RECIPE = small_recipe("dense", 0.1)


class PowerFailed(BaseException):
    """Nothing is tidied up behind it."""


def leave_a_piece(monkeypatch: pytest.MonkeyPatch, path: Path) -> None:
    """Writing this file ends as by SIGKILL: its content is there, under a temporary name."""

    def die(temporary: Path, target: Path) -> Path:
        if target == path:
            kept = temporary.read_bytes()
            monkeypatch.setattr(Path, "unlink", lambda *_, **__: None)
            assert kept
            raise PowerFailed
        return replace(temporary, target)

    replace = Path.replace
    monkeypatch.setattr(Path, "replace", die)


def pieces(out: Path) -> list[str]:
    return sorted(p.name for p in out.iterdir() if p.name.startswith(".") and p.name != LOCK_FILE)


def test_a_start_that_was_killed_is_no_run(tmp_path, monkeypatch):
    out = tmp_path / "run"
    leave_a_piece(monkeypatch, out / RUN_FILE)
    with pytest.raises(PowerFailed):
        train(out, RECIPE)
    monkeypatch.undo()
    assert len(pieces(out)) == 1 and not (out / RUN_FILE).exists()
    assert train(out, RECIPE).info["finished"]
    assert pieces(out) == []


@pytest.mark.parametrize("name", [HISTORY_FILE, CHECKPOINT_FILE])
def test_pieces_of_killed_writes_are_cleared_away(tmp_path, monkeypatch, name):
    out = tmp_path / "run"
    leave_a_piece(monkeypatch, out / name)
    with pytest.raises(PowerFailed):
        start_run(out, small_options(RECIPE), open_meter(), Quiet(), after(3))
    monkeypatch.undo()
    assert len(pieces(out)) == 1
    resume_run(out, open_meter(), Quiet(), never)
    assert pieces(out) == []


def test_what_somebody_else_left_is_not_touched(tmp_path):
    out = tmp_path / "run"
    out.mkdir()
    (out / ".profile").write_text("precious")
    with pytest.raises(RunDirectoryError, match="not an empty directory"):
        train(out, RECIPE)
    assert [path.name for path in out.iterdir()] == [".profile"]


def test_of_two_starts_in_one_directory_one_is_refused_and_changes_nothing(tmp_path, monkeypatch):
    """The second looks before the first has written anything, and is ready when it has."""
    out = tmp_path / "run"

    def slow(*arguments):
        monkeypatch.undo()
        with pytest.raises(RunInterruptedError):
            start_run(out, small_options(RECIPE), open_meter(), Quiet(), after(3))
        return describe(*arguments)

    describe = run.describe_run
    monkeypatch.setattr(run, "describe_run", slow)
    with pytest.raises(RunDirectoryError, match="already holds a run"):
        train(out, RECIPE, seed=7)
    assert read_run(out).info["seed"] == 0
    assert resume_run(out, open_meter(), Quiet(), never).info["finished"]


def test_a_directory_that_another_process_holds_is_not_begun_in(tmp_path):
    out = tmp_path / "run"
    out.mkdir()
    with exclusive(out), pytest.raises(RunDirectoryError, match="another process"):
        train(out, RECIPE)
    assert not (out / RUN_FILE).exists()
