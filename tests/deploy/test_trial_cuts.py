"""A trial is cut off at each of its steps, any number of times: a working release comes out of it.

The file system is a real one; systemd and the daemon are stand-ins, so that every step can be cut.
tests/e2e has the same with processes that are killed.
"""

from __future__ import annotations

import errno
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sel_edge.bundle.keys import PrivateKey, open_key
from sel_edge.deploy.agent import place as place_module
from sel_edge.deploy.agent import service, trial
from sel_edge.deploy.agent.place import Place
from sel_edge.deploy.agent.wire import Refusal
from sel_edge.deploy.program import agent_program
from tests.deploy.agents import FILES, Supervisor, installed, trusting


class Cut(BaseException):
    """The power fails."""


class Saw:
    """Cuts at the n-th step: a change of the file system, or a call of systemctl.

    Attributes:
        left: steps until the cut; negative for none.
    """

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.left = -1
        patch.setattr(place_module.os, "fsync", lambda _: None)  # takes a second, proves nothing
        for owner, name in (
            (Path, "replace"),
            (Path, "unlink"),
            (Path, "symlink_to"),
            (place_module.os, "fsync"),
            (service, "systemctl"),
        ):
            patch.setattr(owner, name, self._sawn(getattr(owner, name)))

    def _sawn(self, step: Any) -> Any:
        def sawn(*arguments: Any, **options: Any) -> Any:
            if self.left == 0:
                raise Cut
            self.left -= 1
            return step(*arguments, **options)

        return sawn


@pytest.fixture(scope="module")
def key(tmp_path_factory: pytest.TempPathFactory) -> PrivateKey:
    return open_key(tmp_path_factory.mktemp("keys") / "key.pem")


@pytest.fixture
def place(tmp_path: Path, key: PrivateKey, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(trial.time, "sleep", lambda _: None)
    yield trusting(tmp_path, key)


@pytest.fixture
def board(place: Place, monkeypatch: pytest.MonkeyPatch) -> Supervisor:
    supervisor = Supervisor(place, bad=set())
    for name in ("systemctl", "show", "ask_ready"):
        monkeypatch.setattr(service, name, getattr(supervisor, name))
    clock = iter(range(10**9))
    monkeypatch.setattr(trial.time, "monotonic", lambda: float(next(clock)))
    return supervisor


def decided(place: Place, name: str) -> dict[str, Any]:
    """Try a release; the line of the journal."""
    trial.open_trial(place, name)
    trial.run_trial(place)
    last = place.last()
    assert last is not None and not place.trial.exists()
    return last


def test_a_good_release_is_kept_and_can_be_gone_back_from(
    place: Place, board: Supervisor, key: PrivateKey
) -> None:
    first, second = installed(place, key), installed(place, key, version="2")
    assert decided(place, first)["outcome"] == "good"
    assert (board.running, place.linked("previous")) == (first, None)
    assert place.agent.read_bytes() == b"agent"
    last = decided(place, second)
    assert (last["outcome"], last["previous"], last["attempts"]) == ("good", first, 1)
    assert (board.running, place.linked("current")) == (second, second)
    assert place.linked("previous") == first
    assert decided(place, first)["outcome"] == "good"
    assert (place.linked("current"), place.linked("previous")) == (first, second)


def test_a_bad_release_is_gone_back_from(place: Place, board: Supervisor, key: PrivateKey) -> None:
    first, second = installed(place, key), installed(place, key, version="2")
    board._bad.add(first)
    last = decided(place, first)
    assert (last["outcome"], last["restored"]) == ("reverted", None)
    assert (board.running, place.linked("current")) == (None, None)
    board._bad.clear()
    decided(place, first)
    board._bad.add(second)
    last = decided(place, second)
    assert (last["outcome"], last["restored"]) == ("reverted", True)
    assert "exit-code" in last["reason"]
    assert (board.running, place.linked("current")) == (first, first)


@pytest.mark.parametrize("is_good", [True, False])
def test_a_cut_at_any_step_leaves_a_working_release(
    place: Place, board: Supervisor, key: PrivateKey, monkeypatch: pytest.MonkeyPatch, is_good: bool
) -> None:
    saw = Saw(monkeypatch)
    current = installed(place, key)
    decided(place, current)
    cuts = 0
    for step in range(10_000):
        following = installed(place, key, version=f"2.{step}")
        if not is_good:
            board._bad.add(following)
        saw.left = step
        was_cut = False
        try:
            trial.open_trial(place, following)
            trial.run_trial(place)
        except Cut:
            was_cut, cuts = True, cuts + 1
        saw.left = -1
        linked = place.linked("current")
        assert linked in (current, following) and place.is_ready(linked)
        board.running = linked  # the board is switched on again
        trial.run_trial(place)
        assert not place.trial.exists()
        # A trial that was never opened changes nothing; every other one ends as without a cut.
        begun = (place.last() or {})["release"] == following
        current = following if begun and is_good else current
        assert (board.running, place.linked("current")) == (current, current)
        assert len([line for line in _journal(place) if line["release"] == following]) == begun
        if not was_cut:
            break
    assert cuts > 25


def test_a_release_that_brings_the_board_down_is_given_up(
    place: Place, board: Supervisor, key: PrivateKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    good, fatal = installed(place, key), installed(place, key, version="2")
    decided(place, good)
    trial.open_trial(place, fatal)

    def dies(*_: object) -> None:
        if board.running == fatal:
            raise Cut

    monkeypatch.setattr(trial.time, "sleep", dies)
    monkeypatch.setattr(
        service, "ask_ready", lambda port: None if board.running == fatal else good_answer(port)
    )
    good_answer = board.ask_ready
    for _ in range(trial.MOST_ATTEMPTS):
        with pytest.raises(Cut):
            trial.run_trial(place)
    trial.run_trial(place)
    last = place.last() or {}
    assert last["outcome"] == "reverted" and "cut off" in last["reason"]
    assert (board.running, place.linked("current")) == (good, good)


@pytest.mark.parametrize("from_call", [0, 1, 2, 4, 7])
def test_a_full_disk_ends_in_the_release_before(
    place: Place,
    board: Supervisor,
    key: PrivateKey,
    monkeypatch: pytest.MonkeyPatch,
    from_call: int,
) -> None:
    good, bad = installed(place, key), installed(place, key, version="2")
    decided(place, good)
    board._bad.add(bad)
    trial.open_trial(place, bad)
    calls = iter(range(10**6))
    remove = trial.remove_release

    def full(*_: object) -> None:
        if next(calls) >= from_call:
            raise OSError(errno.ENOSPC, "No space left on device")

    def removed(folder: Path) -> None:
        monkeypatch.setattr(place_module.os, "fsync", lambda _: None)
        remove(folder)

    monkeypatch.setattr(place_module.os, "fsync", full)
    monkeypatch.setattr(place_module, "sync_folder", lambda _: None)
    monkeypatch.setattr(trial, "sync_folder", lambda _: None)
    monkeypatch.setattr(trial, "remove_release", removed)
    trial.run_trial(place)
    assert (board.running, place.linked("current")) == (good, good)
    assert not place.trial.exists() and (place.last() or {})["outcome"] == "reverted"


def test_old_releases_are_removed_but_never_those_in_use(
    place: Place, board: Supervisor, key: PrivateKey
) -> None:
    names = []
    for number in range(6):
        names.append(installed(place, key, version=str(number)))
        decided(place, names[-1])
        there = {path.name for path in place.releases.iterdir()}
        assert {place.linked("current"), place.linked("previous")} - {None} <= there
        assert len(there) <= trial.KEPT_RELEASES
    board._bad.add(names[0])
    decided(place, names[-2])
    assert place.linked("previous") == names[-1]


def test_only_what_is_signed_and_whole_is_switched_to(
    place: Place, board: Supervisor, key: PrivateKey, tmp_path: Path
) -> None:
    good, bad = installed(place, key), installed(place, key, version="2")
    decided(place, good)
    (place.releases / bad / "sel-edge.service").write_bytes(b"[Service]\nExecStart=evil\n")
    with pytest.raises(Refusal, match=r"damaged|incomplete"):
        trial.open_trial(place, bad)
    (place.releases / bad / "release.json.sig").write_text("")
    with pytest.raises(Refusal, match="not signed"):
        trial.open_trial(place, bad)
    with pytest.raises(Refusal, match="not installed"):
        trial.open_trial(place, "0" * 64)
    assert not place.trial.exists() and board.running == good


def test_while_a_release_is_on_trial_no_other_one_is_taken(
    place: Place, board: Supervisor, key: PrivateKey
) -> None:
    first, second = installed(place, key), installed(place, key, version="2")
    trial.open_trial(place, first)
    with pytest.raises(Refusal, match="on trial") as refused:
        trial.open_trial(place, second)
    assert refused.value.kind == "busy"
    with place.lock(), pytest.raises(Refusal, match="at work"), place.lock():
        pass


def _journal(place: Place) -> list[dict[str, Any]]:
    return [json.loads(line) for line in place.journal.read_text().splitlines() if line]


def test_a_torn_line_of_the_journal_is_skipped(
    place: Place, board: Supervisor, key: PrivateKey
) -> None:
    with place.journal.open("a") as file:
        file.write('{"id": "torn", "outc')
    decided(place, installed(place, key))
    with place.journal.open("a") as file:
        file.write('{"id": "torn", "outc')
    assert (place.last() or {})["outcome"] == "good"
    assert abs((place.last() or {})["time"] - time.time()) < 3600


def test_what_the_journal_says_is_what_runs(
    place: Place, board: Supervisor, key: PrivateKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = installed(place, key), installed(place, key, version="2")
    decided(place, first)
    trial.open_trial(place, second)

    def cut(_: Place) -> None:
        raise Cut

    with monkeypatch.context() as patch, pytest.raises(Cut):
        patch.setattr(trial, "prune", cut)
        trial.run_trial(place)
    assert place.trial.exists() and (place.last() or {})["outcome"] == "good"
    board._bad.add(second)
    trial.run_trial(place)
    assert place.linked("current") == second and not place.trial.exists()


def test_what_cannot_be_removed_does_not_undo_a_decision(
    place: Place, board: Supervisor, key: PrivateKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: Place) -> None:
        raise PermissionError

    monkeypatch.setattr(trial, "prune", refuse)
    name = installed(place, key)
    assert decided(place, name)["outcome"] == "good" and place.linked("current") == name


@pytest.mark.parametrize("failures", [1, 2])
def test_going_back_is_tried_again_when_systemd_says_no(
    place: Place,
    board: Supervisor,
    key: PrivateKey,
    monkeypatch: pytest.MonkeyPatch,
    failures: int,
) -> None:
    good, bad = installed(place, key), installed(place, key, version="2")
    decided(place, good)
    board._bad.add(bad)
    trial.open_trial(place, bad)
    answers = iter([0, *[1] * failures])  # of daemon-reload: at the switch, then on the way back

    def systemctl(*arguments: str) -> tuple[int, str]:
        code = next(answers, 0) if arguments[0] == "daemon-reload" else 0
        return (code, "busy") if code else board.systemctl(*arguments)

    monkeypatch.setattr(service, "systemctl", systemctl)
    trial.run_trial(place)
    assert (place.last() or {})["restored"] is True
    assert (board.running, place.linked("current")) == (good, good)


def test_a_trial_that_systemd_does_not_start_is_none(
    place: Place, board: Supervisor, key: PrivateKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    good, new = installed(place, key), installed(place, key, version="2")
    decided(place, good)
    monkeypatch.setattr(service, "systemctl", lambda *words: (int(words[0] == "start"), "no bus"))
    with pytest.raises(Refusal, match="no bus"):
        trial.open_trial(place, new)
    assert not place.trial.exists() and place.linked("current") == good


def test_a_damaged_agent_is_replaced_before_a_trial(
    place: Place, board: Supervisor, key: PrivateKey
) -> None:
    files = {**FILES, "agent.pyz": agent_program()}
    name = installed(place, key, files)
    place.agent.write_bytes(agent_program()[:5000])
    trial.open_trial(place, name)
    assert place.agent.read_bytes() == agent_program()
    trial.run_trial(place)
    other = {**FILES, "agent.pyz": b"print('newer')"}
    trial.open_trial(place, installed(place, key, other))
    assert place.agent.read_bytes() == agent_program()
    trial.run_trial(place)
    assert place.agent.read_bytes() == b"print('newer')"


def test_releases_that_failed_do_not_fill_the_disk(
    place: Place, board: Supervisor, key: PrivateKey
) -> None:
    good = installed(place, key)
    decided(place, good)
    for number in range(2, 6):
        bad = installed(place, key, version=str(number))
        board._bad.add(bad)
        decided(place, bad)
        assert len(list(place.releases.iterdir())) <= trial.KEPT_RELEASES
        assert place.linked("current") == good
