"""Device profiles: complete, sourced, and strict about their keys."""

from __future__ import annotations

import tomllib
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sel_edge.core.errors import ConfigError
from sel_edge.energy.profile import (
    DeviceProfile,
    Flash,
    detect_profile,
    load_profile,
    load_sources,
    profile_names,
)
from sel_edge.energy.profile_text import profile_text
from tests.energy.boards import BOARD, FLASH
from tests.energy.trees import Tree

PROFILES = Path(__file__).parents[2] / "devices" / "profiles"
KINDS = ("published measurement:", "derived:", "assumed")
GOOD = """
name = "board"
cores = 2
clock_hz = 1000
ram_bytes = 1000
idle_w = 1
load_w = 2.5
flops_per_s = 1e9
bytes_per_s = 1e8
j_per_flop = 1e-9
j_per_byte = 0
celsius_max = 80.0

[flash]
size_bytes = 4194304
erase_bytes = 4096
page_bytes = 256
erase_s = 0.07
program_s = 0.0008
endurance_cycles = 100000
"""


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "board.toml"
    path.write_text(text)
    return path


def test_the_boards_of_the_project_have_profiles() -> None:
    assert set(profile_names()) == {
        *("generic-x86", "pi-zero-2w", "pi-3b-plus", "pi-4b", "pi-5"),
        *("esp32", "esp32-s3", "esp32-c3", "esp32-c6"),
    }


@pytest.mark.parametrize("name", profile_names())
def test_every_profile_is_named_as_its_file_and_possible(name: str) -> None:
    profile = load_profile(name)
    assert profile.name == name
    assert 0 < profile.idle_w < profile.load_w
    assert (profile.flash is not None) == name.startswith("esp32")
    assert profile.measured_by == ""


@pytest.mark.parametrize("name", profile_names())
def test_every_value_carries_its_source(name: str) -> None:
    values = tomllib.loads((PROFILES / f"{name}.toml").read_text())
    flash = values.pop("flash", {})
    sources = load_sources(name)
    assert sources.keys() == {*values, *(f"flash.{key}" for key in flash)} - {"name"}
    for source in sources.values():
        known = any(word in source for word in ("documentation", "Datasheet", "datasheet"))
        assert known or source.startswith(KINDS), source


@pytest.mark.parametrize("name", profile_names())
def test_derived_figures_are_what_they_say(name: str) -> None:
    profile = load_profile(name)
    above_w = profile.load_w - profile.idle_w
    assert profile.j_per_flop == pytest.approx(above_w / profile.flops_per_s, rel=0.01)
    assert profile.j_per_byte == pytest.approx(above_w / profile.bytes_per_s, rel=0.01)


def test_a_profile_can_be_a_file_of_the_users(tmp_path: Path) -> None:
    profile = load_profile(written(tmp_path, GOOD))
    assert (profile.load_w, profile.j_per_byte, profile.flash) == (2.5, 0, FLASH)
    assert load_profile(str(written(tmp_path, GOOD.partition("[flash]")[0]))).flash is None


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("cores = 2", "cores = 2\nwatt = 3", "unknown keys watt"),
        ("cores = 2", "", "missing keys cores"),
        ("cores = 2", "cores = 2.5", "cores = 2.5"),
        ("cores = 2", "cores = true", "cores = True"),
        ("cores = 2", "cores = 0", "cores = 0"),
        ("idle_w = 1", "idle_w = nan", "idle_w = nan"),
        ("idle_w = 1", "idle_w = inf", "idle_w = inf"),
        ("idle_w = 1", 'idle_w = "1"', "idle_w = '1'"),
        ("idle_w = 1", "idle_w = 3", "more under load"),
        ("j_per_byte = 0", "j_per_byte = -1e-9", "above 0 or 0"),
        ("j_per_byte = 0", "j_per_byte = nan", "j_per_byte = nan"),
        ("j_per_byte = 0", "j_per_byte = false", "j_per_byte = False"),
        ('name = "board"', 'name = ""', "name = ''"),
        ("cores = 2", "cores = ", "cannot be read"),
        ("erase_s = 0.07", "", "missing keys flash.erase_s"),
        ("erase_s = 0.07", "erase_s = 0.07\nwear = 1", "unknown keys flash.wear"),
        ("erase_s = 0.07", "erase_s = 0", "flash.erase_s = 0"),
        ("[flash]", "[rom]", "unknown keys rom"),
        (GOOD.partition("[flash]")[2], "", "missing keys flash.endurance_cycles"),
        (GOOD[GOOD.index("[flash]") :], "flash = 4", "flash is a table"),
    ],
)
def test_a_wrong_profile_says_what_is_wrong(tmp_path: Path, old: str, new: str, says: str) -> None:
    assert old in GOOD
    with pytest.raises(ConfigError, match=says):
        load_profile(written(tmp_path, GOOD.replace(old, new)))


@pytest.mark.parametrize("name", ["pi-9", "missing.toml", "../../../etc/passwd"])
def test_a_profile_that_is_not_there_lists_those_that_are(name: str) -> None:
    with pytest.raises(ConfigError, match="generic-x86"):
        load_profile(name)


@pytest.mark.parametrize(
    ("model", "name"),
    [
        ("Raspberry Pi Zero 2 W Rev 1.0", "pi-zero-2w"),
        ("Raspberry Pi 3 Model B Plus Rev 1.3", "pi-3b-plus"),
        ("Raspberry Pi 4 Model B Rev 1.4", "pi-4b"),
        ("Raspberry Pi 5 Model B Rev 1.0", "pi-5"),
        ("Raspberry Pi 500 Rev 1.0", "pi-5"),
    ],
)
def test_a_board_is_known_by_its_device_tree(tree: Tree, model: str, name: str) -> None:
    tree.board(model)
    assert detect_profile(tree.system).name == name


@pytest.mark.parametrize(
    ("machine", "name"), [("x86_64", "generic-x86"), ("aarch64", "pi-zero-2w")]
)
def test_an_unknown_machine_gets_a_profile_by_its_architecture(
    tree: Tree, monkeypatch: pytest.MonkeyPatch, machine: str, name: str
) -> None:
    monkeypatch.setattr("platform.machine", lambda: machine)
    assert detect_profile(tree.system).name == name
    (tree.root / "model").write_bytes(b"\xff\xfe\0")
    assert detect_profile(tree.system).name == name


def test_sources_may_go_on_below_and_end_there(tmp_path: Path) -> None:
    text = GOOD.replace("cores = 2", "cores = 2  # counted\n    # twice\n# not of it")
    text = text.replace('name = "board"', 'name = "board # 7" # the sticker')
    text = text.replace("erase_s = 0.07", "erase_s = 0.07 # its sheet")
    assert load_sources(written(tmp_path, text)) == {
        "name": "the sticker",
        "cores": "counted twice",
        "flash.erase_s": "its sheet",
    }


positive = st.floats(1e-30, 1e30)
whole = st.integers(1, 2**63)
flashes = st.builds(Flash, whole, whole, whole, positive, positive, whole)
words = st.text(st.characters(codec="utf-8", categories=["L", "N", "P", "S", "Zs"]), min_size=1)


@given(
    board=st.builds(
        replace,
        st.just(BOARD),
        name=words,
        clock_hz=whole,
        j_per_flop=st.one_of(st.just(0.0), positive),
        flops_per_s=positive,
        flash=st.one_of(st.none(), flashes),
        measured_by=words,
    )
)
def test_a_profile_written_is_the_profile_read(
    tmp_path_factory: pytest.TempPathFactory, board: DeviceProfile
) -> None:
    path = tmp_path_factory.mktemp("profile") / "board.toml"
    sources = {"cores": "counted", "flash.erase_s": "its sheet"}
    path.write_text(profile_text(board, sources, "A board."), encoding="utf-8")
    assert load_profile(path) == board
    kept = sources if board.flash else {"cores": "counted"}
    assert load_sources(path) == kept
