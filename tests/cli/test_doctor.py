"""`sel-edge doctor` on a machine of another kind, or with another onnxruntime."""

import json
from collections.abc import Callable
from importlib import metadata

import pytest
from hypothesis import given
from hypothesis import strategies as st
from packaging.requirements import Requirement

from sel_edge.cli import doctor
from sel_edge.core import provenance

ASKED = next(
    line for line in metadata.requires("sel-edge") or [] if Requirement(line).name == "onnxruntime"
)


@pytest.fixture
def doctor_of(call, monkeypatch) -> Callable[[str, str], dict[str, dict[str, str]]]:
    """What doctor finds, by name, with this processor and this onnxruntime."""

    def findings(architecture: str, version: str) -> dict[str, dict[str, str]]:
        machine, real = provenance.machine() | {"architecture": architecture}, metadata.version
        monkeypatch.setattr(provenance, "machine", lambda: machine)
        monkeypatch.setattr(
            metadata, "version", lambda name: version if name == "onnxruntime" else real(name)
        )
        result = call("doctor", "--json")
        assert result.code == 0
        return {finding["name"]: finding for finding in json.loads(result.out)["findings"]}

    return findings


@pytest.mark.parametrize("version", ["1.21.1", "1.99.0", "2.0.0"])
def test_on_arm_an_onnxruntime_that_is_untested_is_named_with_the_range_to_get(doctor_of, version):
    found = doctor_of("aarch64", version)["onnxruntime"]
    assert found["state"] == "untested"
    assert version in found["detail"] and f"pip install '{ASKED}'" in found["detail"]


@pytest.mark.parametrize(
    ("architecture", "version"),
    [("aarch64", "1.22.0"), ("aarch64", "1.27.0"), ("x86_64", "1.99.0")],
)
def test_a_tested_onnxruntime_and_any_on_a_workstation_are_fine(doctor_of, architecture, version):
    assert doctor_of(architecture, version)["onnxruntime"] == {
        "name": "onnxruntime",
        "state": "ok",
        "detail": version,
    }


def test_without_the_package_itself_nothing_is_known_of_a_range(doctor_of, monkeypatch):
    def unknown(name: str) -> list[str]:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "requires", unknown)
    assert doctor_of("aarch64", "1.99.0")["onnxruntime"]["state"] == "ok"


def test_every_package_that_an_install_has_is_looked_at(call):
    asked = [Requirement(line) for line in metadata.requires("sel-edge") or []]
    listed = {"": {*doctor.EDGE, "onnxruntime"}, "serve": doctor.SERVE, "train": doctor.TRAIN}
    for extra, names in listed.items():
        assert set(names) == {
            one.name
            for one in asked
            if (one.marker.evaluate({"extra": extra}) if one.marker else not extra)
        }
    lines = call("doctor").out.splitlines()
    assert [line for line in lines if "opencv-python-headless" in line]


def test_a_package_of_an_extra_that_is_missing_is_told_with_how_to_get_it(call, monkeypatch):
    real = metadata.version

    def version(name: str) -> str:
        if name == "uvicorn":
            raise metadata.PackageNotFoundError(name)
        return real(name)

    monkeypatch.setattr(metadata, "version", version)
    result = call("doctor", "--json")
    found = {one["name"]: one for one in json.loads(result.out)["findings"]}
    assert result.code == 0 and found["uvicorn"]["state"] == "optional"
    assert "pip install 'sel-edge[serve]'" in found["uvicorn"]["detail"]


versions = st.lists(st.integers(0, 30), min_size=3, max_size=3).map(lambda p: ".".join(map(str, p)))
limits = st.lists(st.integers(0, 30), min_size=2, max_size=2).map(lambda p: ".".join(map(str, p)))


@given(low=limits, high=limits, version=versions)
def test_a_range_means_what_packaging_says(low, high, version):
    requirement = f"onnxruntime<{high},>={low}"
    expected = Requirement(requirement).specifier.contains(version)
    assert doctor._allows(requirement, version) == expected
