"""A network camera on loopback: RTSP (RFC 2326) with JPEG pictures in RTP (RFC 2435) over TCP."""

from __future__ import annotations

import io
import socket
import struct
import threading
import time
from collections.abc import Sequence
from contextlib import suppress

import numpy as np
from numpy.typing import NDArray
from PIL import Image

CLOCK_HZ = 90_000
FPS = 25
PAYLOAD = 1_200
"""Bytes of a picture in one packet."""
TYPE_420, OWN_TABLES = 1, 255
SDP = "\r\n".join(
    [
        "v=0",
        "o=- 0 0 IN IP4 127.0.0.1",
        "s=camera",
        "t=0 0",
        "m=video 0 RTP/AVP 26",
        "a=control:0",
        "",
    ]
)


class NetworkCamera:
    """Shows the same pictures to whoever calls, and hangs up after the last.

    Args:
        pictures: uint8 [H, W, 3], sides that 16 divides.
    """

    def __init__(self, pictures: Sequence[NDArray[np.uint8]]) -> None:
        self._pictures = [_payload(picture) for picture in pictures]
        self._server = socket.create_server(("127.0.0.1", 0))
        self.address = f"rtsp://127.0.0.1:{self._server.getsockname()[1]}/live"
        self.calls = 0
        threading.Thread(target=self._listen, daemon=True).start()

    def close(self) -> None:
        """Answer no more."""
        with suppress(OSError):
            self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()

    def _listen(self) -> None:
        while True:
            try:
                line, _ = self._server.accept()
            except OSError:
                return
            self.calls += 1
            with line, suppress(OSError):
                self._serve(line)

    def _serve(self, line: socket.socket) -> None:
        requests = line.makefile("rb")
        while request := requests.readline().decode().split():
            headers = {}
            while header := requests.readline().decode().strip():
                key, _, value = header.partition(": ")
                headers[key] = value
            extra, body = "", ""
            if request[0] == "OPTIONS":
                extra = "Public: DESCRIBE, SETUP, PLAY, TEARDOWN\r\n"
            elif request[0] == "DESCRIBE":
                extra, body = "Content-Type: application/sdp\r\n", SDP
            elif request[0] == "SETUP":
                extra = "Transport: RTP/AVP/TCP;unicast;interleaved=0-1\r\n"
            line.sendall(
                f"RTSP/1.0 200 OK\r\nCSeq: {headers['CSeq']}\r\nSession: 1\r\n{extra}"
                f"Content-Length: {len(body)}\r\n\r\n{body}".encode()
            )
            if request[0] == "PLAY":
                self._play(line)
                return

    def _play(self, line: socket.socket) -> None:
        sequence = 0
        for number, (header, tables, scan) in enumerate(self._pictures):
            stamp = number * CLOCK_HZ // FPS
            for start in range(0, len(scan), PAYLOAD):
                is_last = start + PAYLOAD >= len(scan)
                rtp = struct.pack(">BBHII", 0x80, 26 | is_last << 7, sequence, stamp, 1)
                jpeg = struct.pack(">I", start) + header + (tables if start == 0 else b"")
                packet = rtp + jpeg + scan[start : start + PAYLOAD]
                line.sendall(struct.pack(">cBH", b"$", 0, len(packet)) + packet)
                sequence += 1
            time.sleep(1 / FPS)


def _payload(picture: NDArray[np.uint8]) -> tuple[bytes, bytes, bytes]:
    """Type, quality and size of a picture; its quantization tables; its entropy-coded data."""
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "JPEG", quality=90, subsampling="4:2:0")
    data, at, tables = file.getvalue(), 2, b""
    while data[at + 1] != 0xDA:  # start of scan
        (length,) = struct.unpack(">H", data[at + 2 : at + 4])
        if data[at + 1] == 0xDB:  # tables: a byte with the number before each
            segment = data[at + 4 : at + 2 + length]
            tables += b"".join(segment[n + 1 : n + 65] for n in range(0, len(segment), 65))
        at += 2 + length
    (length,) = struct.unpack(">H", data[at + 2 : at + 4])
    height, width, _ = picture.shape
    header = struct.pack(">BBBB", TYPE_420, OWN_TABLES, width // 8, height // 8)
    return header, struct.pack(">BBH", 0, 0, len(tables)) + tables, data[at + 2 + length : -2]
