"""Labels that come late or never: frames that wait for one, and those that have one.

`SampleStore` is the runtime's, `LabelDesk` everyone else's; both are views of one SQLite file.
"""

from sel_edge.runtime.samples.database import Written
from sel_edge.runtime.samples.desk import SAMPLES_FILE, LabelDesk
from sel_edge.runtime.samples.frame import Frame
from sel_edge.runtime.samples.records import (
    NOT_USEFUL,
    Counts,
    ImportReport,
    Labelled,
    Outcome,
    SampleSettings,
    Source,
    Taken,
    Waiting,
    parse_label,
)
from sel_edge.runtime.samples.store import SampleStore
from sel_edge.runtime.samples.value import TeachingValue, teaching_value

__all__ = [
    "NOT_USEFUL",
    "SAMPLES_FILE",
    "Counts",
    "Frame",
    "ImportReport",
    "LabelDesk",
    "Labelled",
    "Outcome",
    "SampleSettings",
    "SampleStore",
    "Source",
    "Taken",
    "TeachingValue",
    "Waiting",
    "Written",
    "parse_label",
    "teaching_value",
]
