"""Outcomes that are kept, so that hours of torch need not be repeated for a run of the device.

A record is used again only if everything its outcome depends on is the same: the story's frames,
labels and exams, the network's weights, the replay, the seed, and the contestant's settings.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from sel_edge.core import provenance
from sel_edge.core.files import canonical_json, sha256_bytes, write_atomic
from tools.adapt_bench.contestants import Contestant, Stage
from tools.adapt_bench.outcome import Outcome

REVISION = 1
"""Of the code that makes outcomes; to be raised when torch's contestants change."""


class Records:
    """Records in a directory.

    Args:
        folder: the directory; None to keep nothing.
    """

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder

    def outcome(self, name: str, contestant: Contestant, stage: Stage) -> Outcome:
        """What comes of a contestant's way through a story, from the record if there is one."""
        if self._folder is None:
            return contestant.run(stage)
        key = {"contestant": name, "settings": contestant.settings, **fingerprint(stage)}
        digest = sha256_bytes(canonical_json(key))
        file = self._folder / f"{stage.story.name}-{name}-{stage.seed}-{digest[:16]}.json"
        if file.exists() and (record := json.loads(file.read_text()))["sha256"] == digest:
            return Outcome(**record["outcome"])
        outcome = contestant.run(stage)
        self._folder.mkdir(parents=True, exist_ok=True)
        record = {
            "sha256": digest,
            "key": key,
            "outcome": asdict(outcome),
            "way": str(stage.way),
            "machine": provenance.machine(),
            "versions": provenance.versions(),
            "commit": provenance.commit(),
        }
        write_atomic(file, json.dumps(record, indent=1).encode() + b"\n")
        return outcome


def fingerprint(stage: Stage) -> Mapping[str, Any]:
    """What an outcome depends on beside the contestant."""
    story, subject = stage.story, stage.subject
    weights = {name: tensor.numpy() for name, tensor in subject.model.state_dict().items()}
    exams = [(exam.name, exam.after, exam.truths) for exam in story.exams]
    told = (story.network, story.truths, [asdict(label) for label in story.labels], exams)
    normalize = asdict(subject.normalize)
    return {
        "revision": REVISION,
        "scenario": story.name,
        "seed": stage.seed,
        "story": _hash((*told, story.onset), story.frames, *(exam.frames for exam in story.exams)),
        "network": _hash((subject.classes, sorted(weights), normalize), *_sorted(weights)),
        "replay": _hash(subject.anchors.classes, subject.anchors.labels, subject.anchors.frames),
    }


def _sorted(arrays: Mapping[str, NDArray[Any]]) -> list[NDArray[Any]]:
    return [arrays[name] for name in sorted(arrays)]


def _hash(plain: Any, *arrays: NDArray[Any]) -> str:
    """SHA-256 of values that JSON can hold and of arrays with their types and shapes."""
    forms = [(array.dtype.str, array.shape) for array in arrays]
    digest = hashlib.sha256(canonical_json([plain, forms]))
    for array in arrays:
        digest.update(array.tobytes())
    return digest.hexdigest()
