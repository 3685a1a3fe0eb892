"""The measuring program of the emulated board: instructions of an inference, and many answers."""

from __future__ import annotations

import struct
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tools.mcu_bench.emulator import build, machine

PLAIN, FAST = 1, 0
"""Which kernels answer."""
REQUEST_AT, IMAGE_AT, INPUTS_AT = 0x80F00000, 0x81000000, 0x82000000
"""Where the program looks for them (ports/qemu_virt_rv32/bench.c)."""
RAM = "128M"
MAX_INPUT_BYTES = 96 << 20


@dataclass(frozen=True)
class LayerCost:
    """What a layer of an inference takes.

    Attributes:
        number: of the layer.
        operation: its number in docs/SPEC.md.
        kernel: height and width; 0 for operations without one.
        multiply_adds: of a convolution or linear layer, padding counted; else 0.
        fast, plain: instructions, with the one kernel and with the other.
    """

    number: int
    operation: int
    kernel: tuple[int, int]
    multiply_adds: int
    fast: int
    plain: int


@dataclass(frozen=True)
class Cost:
    """Instructions of a whole inference, and of its layers."""

    layers: tuple[LayerCost, ...]
    fast: int
    plain: int


@dataclass(frozen=True, eq=False)
class Answers:
    """What the board says of some frames.

    Attributes:
        labels, uncertainty, embarrassment: int64 [n].
        logits: int16 [n, K].
    """

    labels: NDArray[np.int64]
    uncertainty: NDArray[np.int64]
    embarrassment: NDArray[np.int64]
    logits: NDArray[np.int16]


def count_instructions(image: bytes, frame: NDArray[np.uint8]) -> Cost:
    """Instructions that the board executes for one frame; the same at every call.

    Args:
        image: the model image.
        frame: uint8 [height, width, channels].

    Raises:
        MissingDependencyError: there is no emulator or cross compiler.
        RuntimeError: the program does not compile, or refuses the image.
    """
    rows = _run(image, frame.tobytes(), 0, FAST, counted=True)
    layers = [row for row in rows if row[0] == "layer"]
    totals = next(row for row in rows if row[0] == "inference")
    return Cost(tuple(map(_layer_cost, layers)), int(totals[1]), int(totals[2]))


def answer(image: bytes, frames: NDArray[np.uint8], kernels: int = FAST) -> Answers:
    """What the board answers for frames.

    Args:
        image: the model image.
        frames: uint8 [n, height, width, channels], at most 96 MB.
        kernels: `FAST` or `PLAIN`.

    Raises:
        ValueError: there are too many frames, or none.
        MissingDependencyError, RuntimeError: as `count_instructions`.
    """
    if not 0 < frames.nbytes <= MAX_INPUT_BYTES:
        raise ValueError(f"{frames.nbytes} bytes of frames are none or too many")
    rows = _run(image, frames.tobytes(), len(frames), kernels, counted=False)
    values = np.array([row[1:] for row in rows if row[0] == "answer"], np.int64)
    if len(values) != len(frames):
        raise RuntimeError(f"the emulated board answered for {len(values)} of {len(frames)} frames")
    labels, uncertainty, embarrassment = values[:, :3].T
    return Answers(labels, uncertainty, embarrassment, values[:, 3:].astype(np.int16))


def _layer_cost(row: Sequence[str]) -> LayerCost:
    number, operation, height, width, products, fast, plain = map(int, row[1:])
    return LayerCost(number, operation, (height, width), products, fast, plain)


def _run(
    image: bytes, inputs: bytes, count: int, kernels: int, *, counted: bool
) -> list[list[str]]:
    """The words of each line that the program prints."""
    program = build("bench.elf")
    with tempfile.TemporaryDirectory() as folder:
        command = machine(program, RAM, counted)
        request = struct.pack("<II", count, kernels)
        for address, content in (REQUEST_AT, request), (IMAGE_AT, image), (INPUTS_AT, inputs):
            path = Path(folder) / f"{address:x}"
            path.write_bytes(content)
            command += ["-device", f"loader,file={path},addr={address:#x},force-raw=on"]
        command += ["-serial", "stdio"]
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    rows = [line.split() for line in done.stdout.splitlines()]
    if done.returncode or rows[-1:] != [["end"]]:
        told = (done.stdout + done.stderr)[-500:]
        raise RuntimeError(f"the measuring program ended with {done.returncode}: {told}")
    return rows
