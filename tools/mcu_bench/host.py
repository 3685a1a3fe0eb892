"""The firmware's C on this machine: its answers, and a simulated board as a process."""

from __future__ import annotations

import ctypes
import subprocess
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray

from sel_edge.mcu.image import Image
from tools.mcu_bench.counting import FAST, Answers
from tools.mcu_bench.emulator import made

_AREA_BYTES, _PARTITION_BYTES = 8192, 8192
"""Of the flash that comes with a network; nothing is written there."""


def answer(image: Image, frames: NDArray[np.uint8], kernels: int = FAST) -> Answers:
    """What the firmware's C, compiled for this machine, answers for frames.

    Args:
        image: in use.
        frames: uint8 [n, height, width, channels].
        kernels: `FAST` or `PLAIN`.

    Raises:
        RuntimeError: the C does not compile, or refuses the image.
    """
    library = ctypes.CDLL(str(made("libsel.so")))
    library.sel_rig_new.restype = ctypes.c_void_p
    library.sel_rig_answer.restype = None
    content = image.content
    rig = ctypes.c_void_p(library.sel_rig_new(content, len(content), _AREA_BYTES, _PARTITION_BYTES))
    if not rig:
        raise RuntimeError("the firmware refuses the image")
    numbers = np.zeros((len(frames), 3), np.uint16)
    logits = np.zeros((len(frames), len(image.classes)), np.int16)
    for number, frame in enumerate(frames):
        outputs = (ctypes.c_void_p(row[number].ctypes.data) for row in (numbers, logits))
        library.sel_rig_answer(rig, kernels, frame.tobytes(), *outputs)
    library.sel_rig_free(rig)
    labels, uncertainty, embarrassment = numbers.astype(np.int64).T
    return Answers(labels, uncertainty, embarrassment, logits)


class HostBoard:
    """A simulated board, which runs while it is entered.

    Args:
        flash: file of its flash; made if it is missing.

    Attributes:
        port: of its line, as socket://HOST:PORT.

    Raises:
        RuntimeError: the C does not compile, or, when entered, the board does not start.
    """

    def __init__(self, flash: Path) -> None:
        self._command = [str(made("sel_board")), str(flash), "tcp", "0"]
        self.port = ""

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(self._command, stdout=subprocess.PIPE, text=True)
        told = self._process.stdout
        self.port = told.readline().strip() if told else ""
        if not self.port:
            self._process.kill()
            raise RuntimeError("the simulated board does not start")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._process.kill()
        self._process.communicate()
