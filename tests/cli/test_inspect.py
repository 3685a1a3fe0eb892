"""`sel-edge inspect` on bundles with and without rungs."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from sel_edge.bundle.bundle import open_bundle

FROZEN = Path(__file__).parents[1] / "frozen"


def test_rungs_are_shown_as_a_table_from_the_least_to_the_most_that_is_changed(call):
    result = call("inspect", FROZEN / "bundle-v2")
    assert result.code == 0
    rungs = open_bundle(FROZEN / "bundle-v2").manifest.rungs
    lines = [re.split(r"\s{2,}", line.strip()) for line in result.out.splitlines()]
    start = lines.index(
        [
            *("rung", "batch", "layers", "FLOP per step", "cache bytes per batch"),
            *("parameters", "delta bytes"),
        ]
    )
    assert [line[0] for line in lines[start + 1 :]] == list(rungs)
    for name, *numbers in lines[start + 1 :]:
        rung = rungs[name]
        assert [int(number.replace(",", "")) for number in numbers] == [
            *(rung.batch, len(rung.layers), rung.main.cost.executed_flops),
            *(rung.cache_bytes, rung.parameters, rung.delta_bytes),
        ]


def test_the_whole_manifest_is_one_line_of_json(call):
    result = call("inspect", FROZEN / "bundle-v2", "--json")
    assert result.out.count("\n") == 1
    assert json.loads(result.out) == json.loads((FROZEN / "bundle-v2/manifest.json").read_text())


def test_a_bundle_of_schema_1_has_no_table(call):
    result = call("inspect", FROZEN / "bundle-v1")
    assert result.code == 0 and "every hash is right" in result.out
    assert "FLOP per step" not in result.out


@pytest.mark.parametrize("version", ["bundle-v1", "bundle-v2"])
def test_every_file_is_listed(call, version):
    lines = call("inspect", FROZEN / version).out.splitlines()
    listed = {line.split()[0] for line in lines if " bytes, sha256 " in line}
    assert listed == set(open_bundle(FROZEN / version).manifest.members)
