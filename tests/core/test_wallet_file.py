"""A wallet's file: nothing is found again after a restart that may have been spent before it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sel_edge.core import wallet_file
from sel_edge.core.budget import Budget
from sel_edge.core.cost import Cost
from sel_edge.core.errors import RunDirectoryError, StorageError
from sel_edge.core.wallet_file import SAVED_EVERY_S, WALLET_FILE, WalletFile
from tests.core.wallets import EVERYTHING, NOON_S

BUDGET = Budget(energy_j_per_day=100.0, flops_per_day=1000)
SOME = Cost(flops=300, energy_j=30.0)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / WALLET_FILE


def left(purse: WalletFile) -> dict[str, float]:
    return {name: one.left for name, one in purse.wallet.balances().items()}


def spend(purse: WalletFile, cost: Cost) -> None:
    with purse.wallet.reserve(cost, NOON_S) as reservation:
        reservation.charge(cost, NOON_S)


def test_without_a_file_it_starts_full_and_writes_nothing(path: Path) -> None:
    purse = WalletFile(path, BUDGET, NOON_S)
    assert left(purse) == {"flops_per_day": 1000, "energy_j_per_day": 100.0}
    assert not path.exists() and purse.writes == 0


def test_what_was_spent_and_saved_stays_spent(path: Path) -> None:
    purse = WalletFile(path, BUDGET, NOON_S)
    spend(purse, SOME)
    purse.save(NOON_S)
    assert purse.writes == 1
    expected = {"flops_per_day": 700, "energy_j_per_day": 70.0}
    assert left(WalletFile(path, BUDGET, NOON_S)) == left(purse) == expected


def test_what_could_not_be_saved_is_saved_as_soon_as_it_can_be(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise StorageError("The disk is full.", "Room is expected.", "Make some.")

    purse = WalletFile(path, BUDGET, NOON_S)
    spend(purse, SOME)
    with monkeypatch.context() as patch:
        patch.setattr(wallet_file, "write_atomic", fail)
        for save in (purse.save, purse.save_if_due):
            with pytest.raises(StorageError):
                save(NOON_S)
    purse.save_if_due(NOON_S + 1)
    assert purse.writes == 1 and left(WalletFile(path, BUDGET, NOON_S)) == left(purse)
    purse.save_if_due(NOON_S + 2)
    assert purse.writes == 1


def test_a_restart_counts_what_was_reserved_as_spent(path: Path) -> None:
    """How much of it was spent when the process ended, nobody knows."""
    purse = WalletFile(path, BUDGET, NOON_S)
    reservation = purse.wallet.reserve(SOME, NOON_S)
    purse.save(NOON_S)
    reservation.charge(Cost(flops=100, energy_j=10.0), NOON_S)  # and then the power fails
    again = WalletFile(path, BUDGET, NOON_S)
    assert left(again) == {"flops_per_day": 700, "energy_j_per_day": 70.0}
    assert {one.reserved for one in again.wallet.balances().values()} == {0}
    again.save(NOON_S)
    assert left(WalletFile(path, BUDGET, NOON_S)) == left(again)  # once, not again and again


def test_it_is_refilled_for_the_time_that_it_was_off(path: Path) -> None:
    purse = WalletFile(path, BUDGET, NOON_S)
    spend(purse, SOME)
    purse.save(NOON_S)
    assert left(WalletFile(path, BUDGET, NOON_S - 86_400)) == left(purse)
    assert left(WalletFile(path, BUDGET, NOON_S + 2 * 86_400))["flops_per_day"] == 1000


@pytest.mark.parametrize("moment", [NOON_S, NOON_S + 1e6])
def test_without_limits_no_file_is_ever_written(path: Path, moment: float) -> None:
    purse = WalletFile(path, Budget(), NOON_S)
    with purse.wallet.reserve(SOME, NOON_S):
        purse.save(moment)
    purse.save_if_due(moment)
    assert not path.exists() and purse.writes == 0


@pytest.mark.parametrize(
    ("after_s", "writes"),
    [(0.0, 0), (SAVED_EVERY_S - 1, 0), (SAVED_EVERY_S, 1), (-SAVED_EVERY_S, 1), (1e6, 1)],
)
def test_it_is_saved_now_and_then_also_by_a_clock_that_is_set_back(
    path: Path, after_s: float, writes: int
) -> None:
    purse = WalletFile(path, BUDGET, NOON_S)
    for _ in range(3):
        purse.save_if_due(NOON_S + after_s)
    assert purse.writes == writes == int(path.exists())


def test_another_budget_goes_on_from_the_same_file(path: Path) -> None:
    purse = WalletFile(path, BUDGET, NOON_S)
    spend(purse, SOME)
    purse.save(NOON_S)
    other = Budget(energy_j_per_day=100.0, flash_writes_per_day=5)
    assert left(WalletFile(path, other, NOON_S)) == {
        "energy_j_per_day": 70.0,
        "flash_writes_per_day": 5,
    }


def states() -> st.SearchStrategy[bytes]:
    """What may lie there after an accident."""
    return st.one_of(
        st.binary(max_size=64),
        st.sampled_from([b"", b"null", b"[]", b"{}", b"1", b"\xff\xfe", b"[" * 100_000, b"NaN"]),
        st.dictionaries(st.text(max_size=8), st.integers(), max_size=5).map(
            lambda value: json.dumps(value).encode()
        ),
    )


@settings(deadline=None)  # touches the disk
@given(states())
def test_what_no_wallet_wrote_is_refused(
    tmp_path_factory: pytest.TempPathFactory, content: bytes
) -> None:
    path = tmp_path_factory.mktemp("wallet") / WALLET_FILE
    path.write_bytes(content)
    with pytest.raises(RunDirectoryError) as refusal:
        WalletFile(path, BUDGET, NOON_S)
    assert "backup" in str(refusal.value)
    assert path.read_bytes() == content


@pytest.mark.parametrize(
    ("entry", "value"),
    [
        *(("version", wrong) for wrong in (0, 2, "1", None)),
        *(("now_s", wrong) for wrong in ("noon", 1e300, True, None)),
        *(("overruns", wrong) for wrong in (-1, 0.5, "0")),
        ("is_hot", 1),
        ("accounts", []),
        ("accounts", {"flops_per_day": {}}),
    ],
)
def test_a_damaged_entry_is_refused(path: Path, entry: str, value: Any) -> None:
    purse = WalletFile(path, BUDGET, NOON_S)
    purse.save(NOON_S)
    state = json.loads(path.read_bytes())
    assert entry in state
    path.write_text(json.dumps({**state, entry: value}))
    with pytest.raises(RunDirectoryError, match="damaged"):
        WalletFile(path, BUDGET, NOON_S)


def test_a_folder_in_its_place_is_refused(path: Path) -> None:
    path.mkdir()
    with pytest.raises(RunDirectoryError, match=WALLET_FILE):
        WalletFile(path, BUDGET, NOON_S)


COSTS = st.builds(
    Cost,
    flops=st.integers(0, 300),
    energy_j=st.floats(0, 30),
    seconds=st.floats(1, 60),
    flash_writes=st.integers(0, 3),
)
ACTS = st.lists(st.tuples(COSTS, st.floats(0, 2), st.booleans(), st.booleans()), max_size=6)


@settings(deadline=None)  # touches the disk
@given(ACTS)
def test_a_restart_is_never_richer_than_the_process_that_ended(
    tmp_path_factory: pytest.TempPathFactory,
    acts: list[tuple[Cost, float, bool, bool]],
) -> None:
    """Each act: a promise, which share of it is spent, whether it is settled, and a restart."""
    path = tmp_path_factory.mktemp("wallet") / WALLET_FILE
    purse = WalletFile(path, EVERYTHING, NOON_S)
    for promise, share, settles, restarts in acts:
        purse.wallet.observe(20.0, False)
        if purse.wallet.can_afford(promise, NOON_S) is not None:
            continue
        reservation = purse.wallet.reserve(promise, NOON_S)
        purse.save(NOON_S)
        reservation.charge(promise * min(share, 1.0), NOON_S)
        if settles:
            reservation.settle()
            purse.save(NOON_S)
        if restarts or not settles:
            before = left(purse)
            purse = WalletFile(path, EVERYTHING, NOON_S)
            assert all(amount <= before[name] + 1e-6 for name, amount in left(purse).items())
            assert all(one.reserved == 0 for one in purse.wallet.balances().values())
