"""Records of slots as bytes."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sel_edge.runtime.slot_record import MAX_CHAIN, SlotRecord, Status, parse_record


@given(
    st.sampled_from(Status),
    st.integers(0, 2**64 - 1),
    st.lists(st.binary(min_size=32, max_size=32), max_size=MAX_CHAIN),
    st.binary(min_size=1, max_size=4),
    st.integers(0, 2**16),
)
@settings(max_examples=100)
def test_records_are_read_as_written_or_not_at_all(
    status: Status, counter: int, chain: list[bytes], change: bytes, place: int
) -> None:
    record = SlotRecord(status, counter, "ab" * 32, tuple(name.hex() for name in chain))
    content = record.to_bytes()
    assert parse_record(content) == record
    start = place % len(content)
    changed = content[:start] + change + content[start + len(change) :]
    for bad in (changed, content[:start], content + change):
        if bad != content:
            with pytest.raises(ValueError, match="checksum"):
                parse_record(bad)
