"""`sel-edge devices`: profiles, their sources, and this machine."""

import json

from sel_edge.cli import devices, doctor
from sel_edge.energy.meter import Choice, EstimatedMeter
from sel_edge.energy.profile import load_profile, profile_names


def test_every_profile_is_listed_and_one_is_this_machine(call):
    result = call("devices")
    assert result.code == 0
    rows = result.out.partition("\n\n")[0].splitlines()[1:]
    assert [row.split()[0] for row in rows] == profile_names()
    assert sum(" * " in row for row in rows) == 1
    assert "Energy: " in result.out


def test_the_list_as_json_says_what_this_machine_measures(call):
    found = json.loads(call("devices", "--json").out)
    assert [profile["name"] for profile in found["profiles"]] == profile_names()
    assert found["machine"]["profile"] in profile_names()
    assert found["machine"]["energy_origin"] in ("measured", "estimated")


def test_a_profile_is_shown_with_the_source_of_every_value(call):
    result = call("devices", "esp32-c3")
    assert result.code == 0
    lines = {line.split()[0]: line for line in result.out.splitlines()}
    assert "100,000" in lines["flash.endurance_cycles"]
    assert "Datasheet" in lines["flash.endurance_cycles"]
    assert "derived:" in lines["j_per_flop"]
    assert "measured_by" not in lines


def test_a_profile_as_json_carries_its_sources(call):
    found = json.loads(call("devices", "pi-5", "--json").out)
    assert found["profile"]["cores"] == 4
    assert found["profile"]["flash"] is None
    assert found["sources"]["cores"].startswith("Raspberry Pi documentation")


def test_an_unknown_profile_is_one_paragraph(call):
    result = call("devices", "pi-9")
    assert result.code == 6
    result.says("pi-9", "generic-x86")


def test_hostile_text_in_a_profile_of_the_users_is_printed_harmlessly(call, tmp_path):
    text = call("devices", "pi-4b")
    assert text.code == 0
    path = tmp_path / "mine.toml"
    path.write_text(
        'name = "\\u001b[2Jboard" # from \x1b[31mthe net\n'
        "cores=1\nclock_hz=1\nram_bytes=1\nidle_w=1\nload_w=2\nflops_per_s=1\nbytes_per_s=1\n"
        "j_per_flop=0\nj_per_byte=0\ncelsius_max=80\n"
    )
    result = call("devices", path)
    # TOML itself forbids control characters in comments.
    assert result.code == 6 and "\x1b" not in result.err
    path.write_text(path.read_text().replace("\x1b", ""))
    result = call("devices", path)
    assert result.code == 0 and "\x1b" not in result.out


def test_why_a_better_meter_is_not_used_is_told_here_and_by_doctor(call, monkeypatch):
    choice = Choice(EstimatedMeter(load_profile("pi-4b")), ("the sensor hwmon0 is broken",))
    for module in (devices, doctor):
        monkeypatch.setattr(module, "choose_meter", lambda: choice)
    assert "Not used: the sensor hwmon0 is broken." in call("devices").out
    assert "from profile:pi-4b; the sensor hwmon0 is broken" in call("doctor").out
