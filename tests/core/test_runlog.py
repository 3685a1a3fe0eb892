"""Run logs: what is written is what is read."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sel_edge.core.errors import RunDirectoryError
from sel_edge.core.runlog import (
    NEEDED,
    Samples,
    history_columns,
    read_history,
    read_run,
    read_samples,
    write_history,
    write_info,
    write_samples,
)

number = st.floats(allow_nan=False, allow_infinity=False)
name = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=8)


@given(st.lists(name, min_size=2, max_size=4, unique=True), st.booleans(), st.data())
def test_history_survives_a_round_trip_with_any_class_names(
    tmp_path_factory, classes, staged, data
):
    columns = history_columns(classes, staged)
    assert len(set(columns)) == len(columns)
    rows = [{column: data.draw(number) for column in columns} for _ in range(2)]
    rows[0][f"E_{classes[0]}"] = math.nan
    folder = tmp_path_factory.mktemp("run")
    write_history(folder, columns, rows)
    read = read_history(folder / "history.csv")
    assert list(read[0]) == columns
    assert math.isnan(read[0].pop(f"E_{classes[0]}")) and rows[0].pop(f"E_{classes[0]}")
    assert read == rows


def test_samples_survive_a_round_trip(tmp_path):
    rng = np.random.default_rng(0)
    written = Samples(
        rng.integers(0, 256, (6, 5, 4, 3), dtype=np.uint8),
        rng.integers(0, 2, 6),
        rng.random((6, 2), dtype=np.float32),
    )
    write_samples(tmp_path, written)
    read = read_samples(tmp_path)
    for part in ("images", "labels", "probabilities"):
        np.testing.assert_array_equal(getattr(read, part), getattr(written, part))
    (tmp_path / "samples.npz").write_bytes(b"PK damaged")
    with pytest.raises(RunDirectoryError, match=r"samples\.npz"):
        read_samples(tmp_path)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"schema": 1}', '{"schema": 99}', "\x00"])
def test_a_damaged_or_foreign_run_is_refused(tmp_path, text):
    (tmp_path / "run.json").write_text(text)
    with pytest.raises(RunDirectoryError, match=tmp_path.name):
        read_run(tmp_path)


def test_a_run_of_this_schema_is_read(tmp_path):
    write_info(
        tmp_path, {"schema": 1} | {key: {} for key in NEEDED} | {"data": {"classes": ["a", "b"]}}
    )
    run = read_run(tmp_path)
    assert run.classes == ("a", "b") and run.history == []
