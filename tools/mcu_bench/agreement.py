"""Whether everything that can answer for a network answers the same, bit for bit."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from sel_edge.mcu import reference
from sel_edge.mcu.image import Image
from sel_edge.mcu.running import running
from tools.mcu_bench import counting, host
from tools.mcu_bench.counting import FAST, PLAIN, Answers

Integers = NDArray[np.int64]


def all_answers(image: Image, frames: NDArray[np.uint8]) -> dict[str, Integers]:
    """What the Python reference, the C on this machine and the emulated board answer.

    Args:
        image: in use.
        frames: uint8 [n, height, width, channels], at most 96 MB.

    Returns:
        name -> int64 [n, 3 + K]: label, uncertainty, embarrassment and every logit.

    Raises:
        MissingDependencyError: there is no emulator or cross compiler.
        RuntimeError: the C does not compile, or refuses the image.
    """
    return {
        "reference": _numbers(reference.infer(running(image), frames)),
        "host fast": _numbers(host.answer(image, frames, FAST)),
        "host plain": _numbers(host.answer(image, frames, PLAIN)),
        "rv32 fast": _numbers(counting.answer(image.content, frames, FAST)),
    }


def mismatches(answers: Mapping[str, Integers]) -> int:
    """Frames on which not all say the same.

    Args:
        answers: of `all_answers`.
    """
    first, *others = answers.values()
    differs = np.zeros(len(first), np.bool_)
    for other in others:
        differs |= (first != other).any(axis=1)
    return int(differs.sum())


def _numbers(answers: Answers | reference.Answers) -> Integers:
    told = (answers.labels, answers.uncertainty, answers.embarrassment)
    return np.column_stack([*told, answers.logits]).astype(np.int64)
