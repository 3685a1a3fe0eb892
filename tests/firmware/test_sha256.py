"""The firmware's SHA-256 against Python's."""

from __future__ import annotations

import ctypes
import hashlib

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.firmware.build import host_library


@settings(max_examples=300, deadline=None)
@given(st.lists(st.binary(max_size=300), max_size=5))
def test_pieces_hash_as_in_python(pieces):
    library = ctypes.CDLL(str(host_library()))
    hashing, digest = ctypes.create_string_buffer(256), ctypes.create_string_buffer(32)
    library.sel_sha256_begin(hashing)
    for piece in pieces:
        library.sel_sha256_add(hashing, piece, len(piece))
    library.sel_sha256_end(hashing, digest)
    whole = b"".join(pieces)
    assert digest.raw == hashlib.sha256(whole).digest()
    library.sel_sha256(whole, len(whole), digest)
    assert digest.raw == hashlib.sha256(whole).digest()
