"""Windows of the wrist accelerometer's recordings (UCI HMP)."""

from __future__ import annotations

import tarfile
from pathlib import Path

import numpy as np

LENGTH = 120
"""Samples of a window: 3.75 s; the shortest recording has 125."""
WINDOWS = 4
"""Of a recording at most, evenly spread."""
TEST_EVERY = 5


def write_windows(archive: Path, out: Path) -> str:
    """Write windows float32 [n, 3, LENGTH] as an .npz whose splits share no recording; its SPEC."""
    arrays: dict[str, list[np.ndarray]] = {"x_train": [], "x_test": []}
    names: dict[str, list[str]] = {"x_train": [], "x_test": []}
    seen: dict[str, int] = {}
    for activity, recording in _recordings(archive):
        number = seen[activity] = seen.get(activity, -1) + 1
        split = "x_train" if number % TEST_EVERY else "x_test"
        last = recording.shape[1] - LENGTH
        for start in np.unique(np.linspace(0, last, min(WINDOWS, 1 + last // LENGTH)).astype(int)):
            arrays[split].append(recording[:, start : start + LENGTH])
            names[split].append(activity)
    stacked = {name: np.stack(windows) for name, windows in arrays.items()}
    labels = {name.replace("x", "y", 1): np.array(found) for name, found in names.items()}
    np.savez(out, **stacked, **labels)
    return f"npz:{out}"


def _recordings(archive: Path) -> list[tuple[str, np.ndarray]]:
    """Activity and samples float32 [3, length] of every recording, in the order of their names."""
    found = []
    with tarfile.open(archive) as tar:
        for member in sorted(tar.getmembers(), key=lambda member: member.name):
            content = tar.extractfile(member) if member.isfile() else None
            if content is not None:
                samples = np.array(content.read().split(), dtype=np.float32).reshape(-1, 3)
                found.append((Path(member.name).parts[-2], samples.T.copy()))
    return found
