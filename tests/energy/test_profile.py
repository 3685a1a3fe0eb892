"""Device profiles: complete, sourced, and strict about their keys."""

from __future__ import annotations

from pathlib import Path

import pytest

from sel_edge.core.errors import ConfigError
from sel_edge.energy.profile import detect_profile, load_profile, profile_names

PROFILES = Path(__file__).parents[2] / "devices" / "profiles"
GOOD = """
name = "board"
cores = 2
clock_hz = 1000
ram_bytes = 1000
idle_w = 1
load_w = 2.5
celsius_max = 80.0
"""


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "board.toml"
    path.write_text(text)
    return path


def test_the_boards_of_the_project_have_profiles() -> None:
    assert {"generic-x86", "pi-zero-2w", "pi-3b-plus", "pi-4b"} <= set(profile_names())


@pytest.mark.parametrize("name", profile_names())
def test_every_profile_is_named_as_its_file_and_possible(name: str) -> None:
    profile = load_profile(name)
    assert profile.name == name
    assert 0 < profile.idle_w < profile.load_w


@pytest.mark.parametrize("name", profile_names())
def test_every_value_carries_its_source(name: str) -> None:
    lines = (PROFILES / f"{name}.toml").read_text().splitlines()
    values = [line for line in lines if "=" in line and not line.startswith(("#", "name"))]
    assert values
    assert all("# " in line for line in values)


def test_a_profile_can_be_a_file_of_the_users(tmp_path: Path) -> None:
    assert load_profile(written(tmp_path, GOOD)).load_w == 2.5
    assert load_profile(str(written(tmp_path, GOOD))).idle_w == 1


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
        ('name = "board"', 'name = ""', "name = ''"),
        ("cores = 2", "cores = ", "cannot be read"),
    ],
)
def test_a_wrong_profile_says_what_is_wrong(tmp_path: Path, old: str, new: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        load_profile(written(tmp_path, GOOD.replace(old, new)))


@pytest.mark.parametrize("name", ["pi-9", "missing.toml", "../../../etc/passwd"])
def test_a_profile_that_is_not_there_lists_those_that_are(name: str) -> None:
    with pytest.raises(ConfigError, match="generic-x86"):
        load_profile(name)


@pytest.mark.parametrize(
    ("model", "name"),
    [
        (b"Raspberry Pi Zero 2 W Rev 1.0\0", "pi-zero-2w"),
        (b"Raspberry Pi 3 Model B Plus Rev 1.3\0", "pi-3b-plus"),
        (b"Raspberry Pi 4 Model B Rev 1.4\0", "pi-4b"),
    ],
)
def test_a_board_is_known_by_its_device_tree(tmp_path: Path, model: bytes, name: str) -> None:
    (tmp_path / "model").write_bytes(model)
    assert detect_profile(tmp_path / "model").name == name


@pytest.mark.parametrize(
    ("machine", "name"), [("x86_64", "generic-x86"), ("aarch64", "pi-zero-2w")]
)
def test_an_unknown_machine_gets_a_profile_by_its_architecture(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, machine: str, name: str
) -> None:
    monkeypatch.setattr("platform.machine", lambda: machine)
    assert detect_profile(tmp_path / "absent").name == name
