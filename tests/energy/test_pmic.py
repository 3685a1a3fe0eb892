"""The Raspberry Pi 5's rails, as the firmware prints them and as it does not."""

from __future__ import annotations

import contextlib
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sel_edge.core.errors import MissingDependencyError
from sel_edge.energy.pmic import _watts, open_pmic, rail_watts
from sel_edge.energy.system import RefusedError
from tests.energy.trees import PI5_IDLE, PI5_IDLE_W, Tree


def test_rails_are_paired_by_name_and_the_input_is_not_a_rail() -> None:
    rails = rail_watts(PI5_IDLE)
    assert set(rails) == {"3V7_WL_SW", "3V3_SYS", "DDR_VDDQ", "VDD_CORE"}
    assert sum(rails.values()) == pytest.approx(PI5_IDLE_W)


values = st.tuples(st.floats(0, 49.9), st.floats(0, 29.9))
names = st.from_regex(r"[0-9A-Z][0-9A-Z_]{0,10}", fullmatch=True).filter(
    lambda name: name not in ("EXT5V", "BATT")
)


@given(st.dictionaries(names, values, min_size=1, max_size=12), st.randoms())
def test_any_rails_in_any_order_are_summed(rails: dict[str, tuple[float, float]], random) -> None:
    lines = [f"{name}_A current(1)={amperes:.8f}A" for name, (amperes, _) in rails.items()]
    lines += [f"   {name}_V volt(2)={volts:.8f}V  " for name, (_, volts) in rails.items()]
    random.shuffle(lines)
    expected = {name: round(a, 8) * round(v, 8) for name, (a, v) in rails.items()}
    assert rail_watts("\n".join(lines)) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("0.75012000A", "-0.75012000A"),
        ("0.75012000A", "nanA"),
        ("0.75012000A", "0,75A"),
        ("0.75012000A", "0.75012000V"),
        ("0.75012000A", "1e3A"),
        ("0.75012000A", "99.00000000A"),
        ("volt(15)=0.72000000V", "volt(15)=31.00000000V"),
        ("VDD_CORE_V volt(15)=0.72000000V", ""),
        ("  VDD_CORE_A current(7)=0.75012000A\n", ""),
        ("VDD_CORE_A current", "3V3_SYS_A current"),
        ("VDD_CORE_A current(7)", "VDD_CORE_A volt(7)"),
        ("EXT5V_V volt(24)=5.09066000V", "error=1 error_msg=\u201cno\u201d"),
        (PI5_IDLE, ""),
        (PI5_IDLE, "EXT5V_V volt(24)=5.09066000V"),
    ],
)
def test_anything_else_is_no_reading(old: str, new: str) -> None:
    assert old in PI5_IDLE
    with pytest.raises(ValueError, match="pmic_read_adc"):
        rail_watts(PI5_IDLE.replace(old, new))


@given(st.text(max_size=200))
def test_hostile_text_is_a_value_error_or_rails(text: str) -> None:
    with contextlib.suppress(ValueError):
        assert rail_watts(text)


def test_a_raspberry_pi_5_is_measured(tree: Tree) -> None:
    tree.board("Raspberry Pi 5 Model B Rev 1.0")
    tree.firmware_says(PI5_IDLE)
    assert _watts(tree.system) == pytest.approx(PI5_IDLE_W)
    meter = open_pmic(tree.system)
    assert meter is not None
    assert (meter.origin, meter.name) == ("measured", "pmic:rails")
    assert 0 < meter.read_j() <= meter.read_j()


@pytest.mark.parametrize("name", ["", "Raspberry Pi 4 Model B Rev 1.4"])
def test_other_boards_are_not_asked(tree: Tree, name: str) -> None:
    tree.board(name)
    tree.firmware("touch asked; exit 1")
    assert open_pmic(tree.system) is None
    assert not (tree.root / "asked").exists()


@pytest.mark.parametrize(
    "script", ["echo 'error=2 error_msg=\"Invalid arguments\"'", "echo no >&2; exit 1", "exit 255"]
)
def test_a_chip_that_cannot_be_asked_is_refused_with_advice(tree: Tree, script: str) -> None:
    tree.board("Raspberry Pi 5 Model B Rev 1.0")
    tree.firmware(script)
    with pytest.raises(RefusedError, match="group video"):
        open_pmic(tree.system)


def test_without_the_command_it_is_named(tree: Tree) -> None:
    tree.board("Raspberry Pi Compute Module 5 Rev 1.0")
    with pytest.raises(RefusedError, match="install vcgencmd"):
        open_pmic(tree.system)


def test_a_command_that_does_not_answer_is_given_up(
    tree: Tree, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sel_edge.energy.system._VCGENCMD_SECONDS", 0.05)
    tree.board("Raspberry Pi 5 Model B Rev 1.0")
    tree.firmware("exec sleep 60")
    with pytest.raises(RefusedError, match="does not answer"):
        open_pmic(tree.system)


def test_a_firmware_that_changes_its_mind_ends_in_an_error(tree: Tree) -> None:
    tree.board("Raspberry Pi 5 Model B Rev 1.0")
    tree.firmware_says(PI5_IDLE)
    meter = open_pmic(tree.system)
    assert meter is not None
    tree.firmware_says("VDD_CORE_A current(7)=many")
    with pytest.raises(MissingDependencyError, match=re.escape("current(7)=many")):
        meter.read_j()
