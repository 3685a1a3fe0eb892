"""What the runtime writes in a flush; every function is called inside a transaction."""

from __future__ import annotations

from sel_edge.runtime.samples.database import SampleFile
from sel_edge.runtime.samples.frame import Frame, encode
from sel_edge.runtime.samples.records import Labelled
from sel_edge.runtime.samples.shares import fair_shares
from sel_edge.runtime.samples.waiting import Candidate


def write_waiting(file: SampleFile, entry: Candidate, frame: Frame) -> None:
    """Let a frame wait for its label."""
    file.change(
        "INSERT OR REPLACE INTO waiting VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        *(entry.id, entry.number, entry.predicted, float(entry.score), entry.reason, entry.seen),
        *(entry.feature.astype("<f2").tobytes(), encode(frame)),
    )


def write_labelled(file: SampleFile, sample: Labelled) -> None:
    """Keep a labelled frame, which then waits no more.

    What was said before of the guard's part holds on, if the sample says nothing of it.
    """
    query = "SELECT label, held_out FROM labelled WHERE id = ?"
    earlier = file.row(query, sample.id)
    held_out = None if sample.held_out is None else int(sample.held_out)
    if earlier is not None:
        if earlier["label"] != sample.label:
            file.count("conflicts", 1)
        held_out = earlier["held_out"] if held_out is None else held_out
    file.change(
        "INSERT OR REPLACE INTO labelled VALUES (?, ?, ?, ?, ?, ?, ?)",
        *(sample.id, sample.number, sample.label, sample.source, held_out, sample.given),
        encode(sample.frame),
    )
    file.change("DELETE FROM waiting WHERE id = ?", sample.id)


def share_fairly(file: SampleFile, capacity: int, taken: int) -> None:
    """Bring the labelled frames within their bound: large classes give way to small ones.

    Of a class those with the smallest digests stay, which is a uniform sample of all it ever had.

    Args:
        file: the store.
        capacity: frames at most.
        taken: answers with a higher seq are left alone: the runtime has yet to take them.
    """
    query = "SELECT label, COUNT(*) AS frames FROM labelled GROUP BY label"
    sizes = {row["label"]: int(row["frames"]) for row in file.rows(query)}
    for label, share in fair_shares(sizes, capacity).items():
        if sizes[label] > share:
            file.change(
                "DELETE FROM labelled WHERE id IN (SELECT id FROM labelled WHERE label IS ? "
                "AND id NOT IN (SELECT id FROM answers WHERE seq > ?) "
                "ORDER BY substr(id, -8) DESC LIMIT ?)",
                *(label, taken, sizes[label] - share),
            )
