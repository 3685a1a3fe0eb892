"""What one network costs a microcontroller, and what it answers there."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from sel_edge.mcu.reference import infer
from sel_edge.mcu.running import running
from tools.mcu_bench.agreement import all_answers, mismatches
from tools.mcu_bench.counting import Cost, count_instructions
from tools.mcu_bench.deltas import delta_bytes
from tools.mcu_bench.emulator import FIRMWARE
from tools.mcu_bench.subject import Subject

Say = Callable[[str], None]
KERNEL = (3, 3)


@dataclass(frozen=True)
class Sizes:
    """How much is measured.

    Attributes:
        compared: width -> frames that everything answers.
        judged: frames that accuracies are of.
        rounds: transfers at every speed.
    """

    compared: dict[int, int]
    judged: int
    rounds: int


def of_network(width: int, subject: Subject, sizes: Sizes, say: Say) -> dict[str, Any]:
    """What one network costs and answers.

    Args:
        width: its channels, for what is said.
        subject: the network.
        sizes: how much is compared.
        say: told what comes next.
    """
    say(f"instructions of width {width}")
    cost = count_instructions(subject.image.content, subject.frames[0])
    compared = sizes.compared[width]
    say(f"width {width}: {compared} answers of everything that can answer")
    answers = all_answers(subject.image, subject.frames[:compared])
    say(f"width {width}: accuracy on {sizes.judged} images")
    frames, labels = subject.frames[: sizes.judged], subject.labels[: sizes.judged]
    deltas, model_bytes = delta_bytes(subject), len(subject.image.content)
    device = infer(running(subject.image), frames).labels
    return {
        **instructions(cost),
        "arena_bytes": subject.image.arena_bytes,
        "model_bytes": model_bytes,
        **{f"delta_bytes_{rung}": size for rung, size in deltas.items()},
        **{f"delta_share_{rung}": size / model_bytes for rung, size in deltas.items()},
        "accuracy_fp32": float((subject.fp32_labels(len(frames)) == labels).mean()),
        "accuracy_device": float((device == labels).mean()),
        "judged_images": len(frames),
        "mismatches": mismatches(answers),
        "compared_images": compared,
    }


def instructions(cost: Cost) -> dict[str, Any]:
    """Instructions of an inference: in all, per multiply-add of 3x3 convolutions, per layer."""
    layers = [layer for layer in cost.layers if layer.kernel == KERNEL and layer.multiply_adds]
    products = sum(layer.multiply_adds for layer in layers)
    return {
        "instructions_per_mac": sum(layer.fast for layer in layers) / products,
        "instructions_per_mac_plain": sum(layer.plain for layer in layers) / products,
        "inference_instructions": cost.fast,
        "inference_instructions_plain": cost.plain,
        "multiply_adds": sum(layer.multiply_adds for layer in cost.layers),
        "layers": [asdict(layer) for layer in cost.layers],
    }


def code_sizes() -> dict[str, Any]:
    """Bytes of the core on RV32IMC, and in `code` all that `make size` says of it.

    Raises:
        CalledProcessError: it does not compile.
    """
    command = ["make", "--silent", "-C", str(FIRMWARE), "size"]
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    found: dict[str, Any] = json.loads(told.splitlines()[-1])
    return {"code_bytes": found["code_bytes"], "code": found}
