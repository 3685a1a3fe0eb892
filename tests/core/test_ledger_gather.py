"""Ticks that wait: fewer rows, the same sums, and no decision ever behind them."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sel_edge.core.ledger import LEDGER_FILE, Decision, LedgerWriter, Tick, read_ledger
from sel_edge.core.ledger_gather import Gathering, follows, merged
from sel_edge.core.measurement import Energy
from tests.core import ledgers

FIRE = Decision(10, "fire", "because", ("cat",))
LONG_S = 3600.0


def row_of_ticks(sizes: list[int], segments: list[str]) -> list[Tick]:
    ticks, start = [], 0
    for number, (n, segment) in enumerate(zip(sizes, segments, strict=True)):
        scores = {"cat": (n, n // 2)} if number % 2 else {"dog": (n, 0)}
        energy = Energy(0.25 * n, "estimated")
        more = {"segment": segment, "scores": scores, "novel": n // 3, "energy": energy}
        ticks.append(ledgers.tick(start, n, **more))
        start += n
    return ticks


def sums(ticks: list[Tick]) -> dict[str, Counter[str]]:
    found: dict[str, Counter[str]] = {}
    for tick in ticks:
        sum_of = found.setdefault(tick.segment, Counter())
        sum_of.update({f"domain {name}": count for name, count in tick.domains.items()})
        for name, (n, right) in tick.scores.items():
            sum_of.update({f"{name} seen": n, f"{name} right": right})
        sum_of.update(
            n=tick.n,
            novel=tick.novel,
            flops=tick.executed_flops,
            quarter_joules=round(4 * tick.energy.joules),
        )
    return found


@given(
    st.lists(st.tuples(st.integers(0, 9), st.sampled_from("ab"), st.booleans()), max_size=12),
    st.sampled_from([0.0, 2.5, LONG_S]),
)
def test_sums_are_those_of_the_ticks_and_decisions_wait_for_nothing(
    tmp_path_factory: pytest.TempPathFactory,
    said: list[tuple[int, str, bool]],
    patience_s: float,
) -> None:
    path = tmp_path_factory.mktemp("gathered") / LEDGER_FILE
    ticks = row_of_ticks([n for n, _, _ in said], [segment for _, segment, _ in said])
    decided = 0
    with LedgerWriter(path, patience_s) as ledger:
        for tick, (_, _, is_decided) in zip(ticks, said, strict=True):
            ledger.record(tick, [FIRE] if is_decided else [])
            decided += is_decided
            if is_decided:  # by another reader, while the ledger is open
                read = read_ledger(path)
                assert len(read.decisions) == decided
                assert read.ticks[-1].start + read.ticks[-1].n == tick.start + tick.n
    written = read_ledger(path).ticks
    assert sums(written) == sums(ticks)
    assert [tick.start for tick in written[1:]] == [t.start + t.n for t in written[:-1]]


def test_a_tick_waits_as_long_as_it_may_and_no_longer() -> None:
    now_s = 0.0
    gathering = Gathering(30.0, lambda: now_s)
    assert gathering.add(ledgers.tick(0))
    now_s = 29.0
    assert gathering.add(ledgers.tick(10))
    assert not gathering.is_due
    now_s = 30.0
    assert gathering.is_due
    assert not gathering.add(ledgers.tick(20))
    assert gathering.take() == [merged(ledgers.tick(0), ledgers.tick(10))]
    assert gathering.take() == [] and not gathering.is_due


def test_without_patience_every_tick_is_a_row(tmp_path: Path) -> None:
    path = tmp_path / LEDGER_FILE
    with LedgerWriter(path) as ledger:
        for start in (0, 10, 20):
            ledger.record(ledgers.tick(start))
            assert read_ledger(path).ticks[-1] == ledgers.tick(start)


@pytest.mark.parametrize(
    "other",
    [
        ledgers.tick(11),
        ledgers.tick(10, segment="2: fog"),
        ledgers.tick(10, energy=Energy(0.5, "measured")),
    ],
)
def test_what_does_not_belong_together_stays_apart(tmp_path: Path, other: Tick) -> None:
    path = tmp_path / LEDGER_FILE
    assert not follows(other, ledgers.tick(0))
    with LedgerWriter(path, LONG_S) as ledger:
        ledger.record(ledgers.tick(0))
        ledger.record(other)
    assert read_ledger(path).ticks == [ledgers.tick(0), other]


def test_the_next_runtime_counts_the_frames_that_wait(tmp_path: Path) -> None:
    with LedgerWriter(tmp_path / LEDGER_FILE, LONG_S) as ledger:
        ledger.record(ledgers.tick(0))
        ledger.identify("bundle_hash", "abc")
        assert ledger.frames() == 10


def test_what_has_waited_long_enough_is_written_though_nothing_more_comes(tmp_path: Path) -> None:
    path = tmp_path / LEDGER_FILE
    with LedgerWriter(path, 1e-9) as ledger:
        ledger.record(ledgers.tick(0))
        assert read_ledger(path).ticks == []
        ledger.flush_if_due()
        assert read_ledger(path).ticks == [ledgers.tick(0)]
