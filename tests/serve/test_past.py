"""What a restarted device tells of earlier sessions, from the newest rows of its ledger alone."""

from __future__ import annotations

import os
from itertools import pairwise
from pathlib import Path

import pytest

from sel_edge.bundle.bundle import Bundle
from sel_edge.core.ledger import LEDGER_FILE, LedgerWriter, Session, Tick, read_ledger
from sel_edge.core.measurement import Energy
from sel_edge.serve import past
from sel_edge.serve.history import History, values_of
from sel_edge.serve.past import recall
from tests.runtime.living import Lived, life
from tests.simulate.gratings import make_bundle

STARTS = ("2025-06-01T10:00:00+00:00", "2025-06-01T12:00:00+00:00")
TEN, TWELVE, ENDED = 1_748_772_000.0, 1_748_779_200.0, 1_748_786_400.0


@pytest.fixture(scope="module")
def gratings(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return make_bundle(tmp_path_factory.mktemp("past"))


def session(frame: int, started: str) -> Session:
    return Session(frame, started, "live", "", "", "counter", "estimated", {})


def tick(start: int) -> Tick:
    energy = Energy(0.0, "estimated")
    return Tick(start, 10, "live", {}, {}, {}, 0, 0, 0, energy, 0.0)


def two_sessions(path: Path) -> Path:
    """Two hours with 100 frames each."""
    for number, started in enumerate(STARTS):
        with LedgerWriter(path) as ledger:
            ledger.record_session(session(100 * number, started))
            for start in range(100 * number, 100 * number + 100, 10):
                ledger.record(tick(start))
    os.utime(path, (ENDED, ENDED))
    return path


def test_times_lie_between_those_that_are_known(tmp_path: Path) -> None:
    history = History()
    recall(two_sessions(tmp_path / LEDGER_FILE), history)
    points = history.curve.points
    assert [point.frame for point in points] == list(range(10, 201, 10))
    times = {point.frame: point.utc_s for point in points}
    assert times[50] == pytest.approx((TEN + TWELVE) / 2)
    assert times[150] == pytest.approx((TWELVE + ENDED) / 2)
    assert times[200] == ENDED
    assert all(a.utc_s <= b.utc_s for a, b in pairwise(points))


def test_a_long_life_costs_no_more_than_a_short_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(past, "ROWS", 5)
    history = History()
    recall(two_sessions(tmp_path / LEDGER_FILE), history)
    assert [point.frame for point in history.curve.points] == [160, 170, 180, 190, 200]


def test_windows_and_decisions_are_those_of_the_ledger(tmp_path: Path, gratings: Bundle) -> None:
    """Differential: against all ticks, added up."""
    lived = Lived(tmp_path, gratings)
    with LedgerWriter(tmp_path / LEDGER_FILE) as ledger:
        ledger.record_session(session(0, STARTS[0]))
    lived.run(life())
    windows: dict = {}
    for one in lived.ledger.ticks:
        windows |= dict(one.embarrassment)
    history = History()
    recall(tmp_path / LEDGER_FILE, history)
    assert history.curve.points[-1].values == values_of(windows)
    decisions = lived.ledger.decisions
    assert [(e.frame, e.kind, e.reason) for e in history.events] == [
        (d.frame, d.kind, d.reason) for d in decisions
    ]
    energies = [event.energy for event in history.events if event.energy is not None]
    assert energies == [update.energy for update in lived.ledger.updates]


def test_without_a_past_nothing_is_told(tmp_path: Path) -> None:
    history = History()
    recall(tmp_path / LEDGER_FILE, history)
    assert history.curve.points == () and history.events == ()


@pytest.mark.parametrize("newest", [0, 1, 7, 100, None])
def test_the_newest_rows_are_the_end_of_all(tmp_path: Path, newest: int | None) -> None:
    path = two_sessions(tmp_path / LEDGER_FILE)
    whole, part = read_ledger(path), read_ledger(path, newest)
    count = len(whole.ticks) if newest is None else newest
    assert part.ticks == (whole.ticks[-count:] if count else [])
    assert part.sessions == (whole.sessions[-count:] if count else [])
