"""`sel-edge label`: what a person sees, how a person answers, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from sel_edge.runtime.samples import SAMPLES_FILE, SampleStore
from sel_edge.runtime.samples.frame import frame_id
from tests.runtime.sample_frames import features, images, see, value

Call = Callable[..., Any]


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """A device's state with eight frames waiting, the later ones teaching more."""
    place = tmp_path / "net.state"
    with SampleStore(place / SAMPLES_FILE) as store:
        store.name_classes(["cat", "dog", "../escape", ".hidden", "é" * 200, "a\0b"])
        see(store, 0, 8, lambda number: number / 10)
    return place


def name(number: int) -> str:
    return frame_id(number, images(number, 1)[0])


def counts(call: Call, state: Path) -> Any:
    return json.loads(call("label", state, "--json").out)["counts"]


def test_the_list_starts_with_what_teaches_most(call: Call, state: Path) -> None:
    result = call("label", state, "--limit", 2)
    assert result.code == 0
    heading, first, second, *rest = result.out.splitlines()
    assert heading.split() == ["id", "prediction", "teaches", "why"]
    assert first.split() == [name(7), "dog", "0.70", "torn"]
    assert second.startswith(name(6))
    assert rest[0] == "8 frames waiting, 0 labelled frames, 0 not useful."
    assert f"{name(7)}=CLASS" in rest[1]


def test_answers_are_taken_and_said_back(call: Call, state: Path) -> None:
    result = call("label", state, f"{name(0)}=cat", "1=owl", "--not-useful", name(2), "950=cat")
    assert result.code == 0
    assert result.out.splitlines() == [
        f"{name(0)}: cat",
        f"{name(1)}: owl, a class that the network does not know yet",
        "f950: cat, if the device still remembers this frame, which does not wait any more",
        f"{name(2)}: not useful",
    ]
    again = call("label", state, "0=dog", "1=owl").out.splitlines()
    assert again == [f"{name(0)}: dog instead of cat", f"{name(1)}: owl, as it was already"]
    found = counts(call, state)
    assert found["labels"] == {"dog": 1, "owl": 1} and found["not_useful"] == 1
    assert found["waiting"] == 5 and found["conflicts"] == 1


def test_json_holds_everything(call: Call, state: Path) -> None:
    said = json.loads(call("label", state, "0=cat", "--limit", 1, "--json").out)
    (waiting,) = said["waiting"]
    assert waiting["id"] == name(7) and waiting["frame"] == 7 and waiting["predicted"] == "dog"
    (answer,) = said["answers"]
    assert answer == {"id": name(0), "label": "cat", "effect": "new", "before": None}
    assert said["problems"] == [] and said["problem_count"] == 0


def test_exported_frames_are_sorted_by_hand_and_come_back(
    call: Call, state: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "to-sort"
    assert "Wrote 8 frames" in call("label", state, "--export", folder).out
    assert sorted(each.name for each in folder.iterdir() if each.is_dir()) == [
        *("cat", "dog", "not useful"),
    ]
    assert not (tmp_path / "escape").exists()
    np.testing.assert_array_equal(
        np.asarray(Image.open(folder / f"{name(3)}.png")), images(3, 1)[0]
    )
    (folder / f"{name(3)}.png").rename(folder / "dog" / f"{name(3)}.png")
    (folder / f"{name(4)}.png").rename(folder / "not useful" / f"{name(4)}.png")
    (folder / "dog" / "note.txt").write_text("not an image")
    result = call("label", state, "--from", folder)
    assert result.code == 0
    assert "2 answers" in result.out and "2 new" in result.out
    assert "Not used: dog/note.txt" in result.out
    found = counts(call, state)
    assert found["labels"] == {"dog": 1} and found["not_useful"] == 1
    assert "2 known already" in call("label", state, "--from", folder).out


def test_a_csv_with_a_bad_row(call: Call, state: Path, tmp_path: Path) -> None:
    rows = tmp_path / "answers.csv"
    rows.write_text(f"id,label\n{name(0)},cat\noops\n")
    result = call("label", state, "--from", rows)
    assert result.code == 0
    assert "1 answer in" in result.out
    assert "Not used: Line 3: There are 1 fields." in result.out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["0"], ["no answer", "ID=CLASS"]),
        (["x=cat"], ["no id"]),
        (["0=cat", "1="], ["no class name"]),
        (["0=cat", "--not-useful", "one"], ["no id"]),
        (["0=cat", "--from", "nowhere.csv"], ["nowhere.csv", "does not exist"]),
    ],
)
def test_a_wrong_answer_is_refused_before_any_is_taken(
    call: Call, state: Path, arguments: list[str], words: list[str]
) -> None:
    result = call("label", state, *arguments)
    assert result.code == 3
    result.says("Error (data)", *words)
    assert counts(call, state)["labels"] == {}


def test_a_directory_without_frames(call: Call, tmp_path: Path) -> None:
    result = call("label", tmp_path)
    assert result.code == 5
    result.says("samples.sqlite", "sel-edge run")
    assert list(tmp_path.iterdir()) == []


def test_signals_cannot_be_exported(call: Call, tmp_path: Path) -> None:
    with SampleStore(tmp_path / SAMPLES_FILE) as store:
        signal = np.zeros((1, 50, 3), dtype=np.float32)
        store.observe(0, signal, ["cat"], [value(0.5)], features(0, 1))
    result = call("label", tmp_path, "--export", tmp_path / "out")
    assert result.code == 3
    result.says("float32", "CSV")
    assert not (tmp_path / "out").exists()


def test_names_from_elsewhere_cannot_write_to_the_terminal(call: Call, tmp_path: Path) -> None:
    with SampleStore(tmp_path / SAMPLES_FILE) as store:
        store.observe(0, images(0, 1), ["\x1b[2Jcat"], [value(0.5)], features(0, 1))
    assert "\x1b" not in call("label", tmp_path).out
