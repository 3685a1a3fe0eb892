"""The wallet over time: the least is never hidden, and nothing is drawn that was not recorded."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sel_edge.core.ledger import Balances
from sel_edge.report.holdings import MOST_POINTS, Wallet, sum_up_balances
from sel_edge.report.wallet_view import wallet_chart, wallet_note, wallet_rows
from tests.core import ledgers


def summed(*rows: Balances) -> Wallet:
    wallet = sum_up_balances(rows)
    assert wallet is not None
    return wallet


@given(st.lists(st.floats(0, 100), min_size=1, max_size=400))
def test_the_course_is_short_and_keeps_the_least(left: list[float]) -> None:
    rows = [ledgers.balances(i, balances={"battery": (j, 100.0)}) for i, j in enumerate(left)]
    holding = summed(*rows).holdings["battery"]
    assert len(holding.course) <= MOST_POINTS
    assert min(share for _, share in holding.course) == pytest.approx(min(left) / 100)
    assert [frame for frame, _ in holding.course] == sorted(frame for frame, _ in holding.course)
    assert (holding.lowest, holding.last, holding.size) == (min(left), left[-1], 100.0)


def test_without_records_there_is_no_wallet_and_without_limits_no_chart() -> None:
    assert sum_up_balances([]) is None
    assert wallet_chart(summed(ledgers.balances(0, balances={}))) is None


def test_a_limit_that_came_later_or_holds_nothing_is_drawn_too() -> None:
    wallet = summed(
        ledgers.balances(0, balances={"battery": (0.0, 0.0)}),
        ledgers.balances(8, balances={"battery": (0.0, 0.0), "watts_mean": (1.0, 2.0)}),
    )
    assert wallet.holdings["watts_mean"].course == ((8, 0.5),)
    assert wallet_chart(wallet) is not None


def test_amounts_have_units_and_the_temperature_is_measured() -> None:
    amounts = {
        "flops_per_day": (5e11, 2e12),
        "flash_writes_per_day": (7.0, 2000.0),
        "battery": (3600.0, 36000.0),
        "ideas": (1.0, 2.0),
    }
    rows = [
        ledgers.balances(0, balances=amounts, celsius=None),
        ledgers.balances(8, balances=amounts, celsius=71.5, throttled=True),
    ]
    wallet = summed(*rows)
    cells = [tuple(cell.replace("\u00a0", " ") for cell in row) for row in wallet_rows(wallet)]
    assert cells == [
        ("operations per day", "2 TFLOP", "500 GFLOP", "500 GFLOP"),
        ("flash writes per day", "2,000 writes", "7 writes", "7 writes"),
        ("battery", "36 kJ", "3.6 kJ", "3.6 kJ"),
        ("ideas", "2 ", "1 ", "1 "),
    ]
    note = wallet_note(wallet).replace("\u00a0", " ")
    assert "Warmest: 71.5 °C measured." in note
    assert "slowed the processor down at 1 of 2 records" in note
    assert "could not be read" in wallet_note(summed(rows[0]))
