"""A budget says what it means, and a file that says something else is refused."""

from __future__ import annotations

import inspect
import textwrap
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sel_edge.core.budget import Budget, load_budget, parse_energy_j
from sel_edge.core.errors import ConfigError
from sel_edge.core.solar import ClearSkyDay, ConstantWatts, DailyCurve, DutyCycle


def write(folder: Path, text: str) -> Path:
    path = folder / "budget.toml"
    path.write_text(text)
    return path


def test_the_example_in_the_documentation_works(tmp_path: Path) -> None:
    documented = inspect.getdoc(load_budget)
    example = documented.split("::\n")[1].split("Raises:")[0]
    budget = load_budget(write(tmp_path, textwrap.dedent(example)))
    assert budget == Budget(
        flops_per_day=2 * 10**12,
        energy_j_per_day=7200.0,
        watts_mean=1.5,
        watts_window_s=600,
        celsius_max=75,
        celsius_hysteresis=5,
        ram_bytes=200_000_000,
        flash_writes_per_day=2000,
        capacity_j=36_000.0,
        initial_j=36_000.0,
        refill=ClearSkyDay(peak_w=5, sunrise_h=6, sunset_h=18, utc_offset_h=2),
    )


def test_an_empty_file_limits_nothing(tmp_path: Path) -> None:
    assert load_budget(write(tmp_path, "")) == Budget()


@pytest.mark.parametrize(
    ("refill", "curve"),
    [
        ('kind = "constant"\npower_w = 2', ConstantWatts(2)),
        ('kind = "duty-cycle"\npower_w = 2\non_s = 6\nevery_s = 60', DutyCycle(2, 6, 60)),
        ('kind = "clear-sky"\npeak_w = 3', ClearSkyDay(3)),
        ('kind = "csv"\npath = "day.csv"\nutc_offset_h = 1', DailyCurve((12.0,), (4.0,), 1)),
    ],
)
def test_every_kind_of_refill_is_read(tmp_path: Path, refill: str, curve: object) -> None:
    (tmp_path / "day.csv").write_text("hour,watts\n12,4\n")
    path = write(tmp_path, f'capacity_j = "10Wh"\n[refill]\n{refill}\n')
    assert load_budget(path).refill == curve


@pytest.mark.parametrize(
    ("text", "joules"),
    [("10Wh", 36_000), ("36kJ", 36_000), ("36 kJ", 36_000), ("500J", 500), ("1.5e3mWh", 5_400)],
)
def test_energies_have_units(text: str, joules: float) -> None:
    assert parse_energy_j(text) == pytest.approx(joules)


@given(st.text(max_size=12))
def test_any_text_is_an_energy_or_a_clear_error(text: str) -> None:
    try:
        assert parse_energy_j(text) >= 0
    except ConfigError as error:
        assert "Wh" in error.expected


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("joules = 5", "joules"),
        ("flops_per_day = -1", "flops_per_day"),
        ("flops_per_day = 1.5", "whole number"),
        ("flops_per_day = true", "flops_per_day"),
        ('flops_per_day = "2Wh"', "flops_per_day"),
        ("energy_j_per_day = nan", "energy_j_per_day"),
        ("energy_j_per_day = inf", "energy_j_per_day"),
        ('energy_j_per_day = "10"', "10Wh"),
        ('energy_j_per_day = "1e999Wh"', "energy_j_per_day"),
        ("watts_mean = -0.5", "watts_mean"),
        ("watts_window_s = 0", "watts_window_s"),
        ("celsius_max = -300", "celsius_max"),
        ("celsius_hysteresis = -1", "celsius_hysteresis"),
        ("capacity_j = 0", "capacity_j"),
        ("initial_j = 5", "capacity_j"),
        ("capacity_j = 5\ninitial_j = 6", "at most its capacity"),
        ("[refill]\nkind = 'constant'\npower_w = 1", "capacity_j"),
        ("capacity_j = 5\nrefill = 3", "table"),
        ("capacity_j = 5\n[refill]\npower_w = 1", "kind"),
        ("capacity_j = 5\n[refill]\nkind = ['constant']", "kind"),
        ("capacity_j = 5\n[refill]\nkind = 'constant'", "lacks power_w"),
        ("capacity_j = 5\n[refill]\nkind = 'constant'\npower_w = 1\nwatts = 1", "watts"),
        ("capacity_j = 5\n[refill]\nkind = 'constant'\npower_w = '1'", "power_w"),
        ("capacity_j = 5\n[refill]\nkind = 'constant'\npower_w = -1", "power_w"),
        ("capacity_j = 5\n[refill]\nkind = 'csv'\npath = 3", "text"),
        ("capacity_j = 5\n[refill]\nkind = 'csv'\npath = 'none.csv'", "none.csv"),
        ("flops_per_day = ", "cannot be read"),
    ],
)
def test_what_is_no_budget_is_refused_in_three_sentences(
    tmp_path: Path, text: str, word: str
) -> None:
    path = write(tmp_path, text)
    with pytest.raises(ConfigError, match=word) as caught:
        load_budget(path)
    error = caught.value
    assert str(path) in error.found
    assert all(part.endswith(".") for part in (error.found, error.expected, error.action))


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="none"):
        load_budget(tmp_path / "none.toml")
