"""Predictions follow from rates, and are corrected by what work really took."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sel_edge.bundle.rungs import GraphCost
from sel_edge.core.cost import Cost
from sel_edge.core.ledger import LEDGER_FILE, LedgerWriter, Update
from sel_edge.core.measurement import Energy
from sel_edge.runtime.board import Rates
from sel_edge.runtime.predictor import MARGIN, Predictor, worst
from tests.core import ledgers

RATES = Rates(flops_per_s=2e9, bytes_per_s=1e9, j_per_flop=1e-9, j_per_byte=3e-9)
DEMAND = GraphCost(4_000_000, 1_000_000, 512)
NAIVE = Cost(4_000_000, 0.007, 0.003, 512, 2)
RUNGS = ("norm", "head", "tail")


def update(predicted: tuple[float, float], took: tuple[float, float], rung: str = "head") -> Update:
    """One with joules and seconds that were predicted and measured."""
    return ledgers.update(
        rung=rung,
        predicted_energy_j=predicted[0],
        predicted_seconds=predicted[1],
        energy=Energy(took[0], "measured"),
        seconds=took[1],
    )


AMOUNTS = st.just(0.0) | st.floats(1e-12, 1e12)
PAIRS = st.tuples(AMOUNTS, AMOUNTS)
PAST = st.lists(st.builds(update, PAIRS, PAIRS, st.sampled_from(RUNGS)), max_size=8)


def about(cost: Cost) -> tuple[object, ...]:
    energy, seconds = (pytest.approx(value) for value in (cost.energy_j, cost.seconds))
    return cost.flops, energy, seconds, cost.peak_bytes, cost.flash_writes


def told(cost: Cost) -> tuple[object, ...]:
    return cost.flops, cost.energy_j, cost.seconds, cost.peak_bytes, cost.flash_writes


def test_without_experience_the_rates_say_it() -> None:
    assert told(Predictor(RATES).expect("head", DEMAND, flash_writes=2)) == about(NAIVE)


def test_nothing_takes_nothing() -> None:
    learned = Predictor(RATES, [update((1.0, 1.0), (9.0, 9.0))])
    assert learned.expect("head", GraphCost(0, 0, 0)) == Cost()


def test_half_of_a_surprise_is_believed() -> None:
    """As a power: four times the joules double the prediction, a quarter of the time halves it."""
    learned = Predictor(RATES, [update((0.007, 0.003), (0.028, 0.00075))])
    found = learned.expect("head", DEMAND, flash_writes=2)
    assert told(found) == about(replace(NAIVE, energy_j=0.014, seconds=0.0015))


def test_each_rung_has_its_own() -> None:
    learned = Predictor(RATES, [update((1.0, 1.0), (4.0, 4.0), "norm")])
    assert told(learned.expect("head", DEMAND, 2)) == about(NAIVE)
    assert learned.expect("norm", DEMAND).energy_j == pytest.approx(0.014)


@pytest.mark.parametrize("truth", [0.01, 0.5, 3.0, 200.0])
def test_what_is_always_the_same_is_predicted_in_the_end(truth: float) -> None:
    learned = Predictor(RATES)
    for _ in range(20):
        cost = learned.expect("head", DEMAND)
        predicted = (cost.energy_j, cost.seconds)
        learned.learn(update(predicted, (truth * 0.007, truth * 0.003)))
    cost = learned.expect("head", DEMAND)
    assert (cost.energy_j, cost.seconds) == pytest.approx((truth * 0.007, truth * 0.003), rel=1e-3)


@given(PAST)
def test_a_restart_knows_what_its_predecessor_had_learned(past: list[Update]) -> None:
    online = Predictor(RATES)
    for each in past:
        online.learn(each)
    again = Predictor(RATES, past)
    for rung in RUNGS:
        assert again.expect(rung, DEMAND) == online.expect(rung, DEMAND)


def test_rows_of_a_ledger_say_the_same_as_the_updates_themselves(tmp_path: Path) -> None:
    past = [update((0.007, 0.003), (took, took), rung) for took in (0.1, 3.0) for rung in RUNGS]
    with LedgerWriter(tmp_path / LEDGER_FILE) as ledger:
        for number, each in enumerate(past):
            ledger.record(ledgers.tick(10 * number), updates=[each])
    with LedgerWriter(tmp_path / LEDGER_FILE) as ledger:
        again = Predictor(RATES, ledger.updates())
    for rung in RUNGS:
        assert again.expect(rung, DEMAND) == Predictor(RATES, past).expect(rung, DEMAND)


@given(PAST)
def test_no_clock_and_no_meter_leads_it_astray_for_ever(past: list[Update]) -> None:
    learned = Predictor(RATES, past)
    for rung in RUNGS:
        found = learned.expect(rung, DEMAND, 2)
        assert 0.999e-3 <= found.energy_j / NAIVE.energy_j <= 1.001e3
        assert 0.999e-3 <= found.seconds / NAIVE.seconds <= 1.001e3
        assert (found.flops, found.peak_bytes, found.flash_writes) == (4_000_000, 512, 2)


@given(PAST, PAIRS)
def test_what_was_not_measured_or_not_predicted_teaches_nothing(
    past: list[Update], pair: tuple[float, float]
) -> None:
    learned = Predictor(RATES, past)
    before = learned.expect("head", DEMAND)
    learned.learn(update((0.0, 0.0), pair))
    learned.learn(update(pair, (0.0, 0.0)))
    assert learned.expect("head", DEMAND) == before


def test_the_worst_case_is_dearer_and_slower_and_otherwise_the_same() -> None:
    found = worst(NAIVE)
    assert (found.energy_j, found.seconds) == (MARGIN * NAIVE.energy_j, MARGIN * NAIVE.seconds)
    assert (found.flops, found.peak_bytes, found.flash_writes) == (4_000_000, 512, 2)
