"""The model image of a bundle: whether a board holds it, and whether it answers as it should."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sel_edge.bundle.preprocessing import ImagePreprocessing, Preprocessing
from sel_edge.compile.forward import Forward
from sel_edge.compile.mcu import room_for
from sel_edge.compile.mcu_plan import narrowed, need_of
from sel_edge.compile.mcu_steps import Steps, steps_of
from sel_edge.core.errors import ConfigError
from sel_edge.core.frames import Frames
from sel_edge.energy.profile import DeviceProfile, load_profile
from sel_edge.mcu.image import Image
from sel_edge.mcu.memory import Board, Need
from sel_edge.mcu.reference import infer
from sel_edge.mcu.running import running
from sel_edge.runtime.preprocess import Preprocessor

LEAST_WIDTH = 8
"""The narrowest network that `sel-edge pretrain` makes."""


@dataclass(frozen=True)
class McuTarget:
    """A microcontroller that a bundle is exported for.

    Attributes:
        profile: its name in the manifest.
        board: its flash and memory.
        room: classes that the classifier gets room for; None for the default.
    """

    profile: str
    board: Board
    room: int | None


@dataclass(frozen=True)
class Fit:
    """A network that a microcontroller can hold.

    Attributes:
        target: the microcontroller.
        need: the network's.
    """

    target: McuTarget
    need: Need


@dataclass(frozen=True)
class McuReport:
    """What the export of an image found.

    Attributes:
        image_bytes: of the image.
        arena_bytes: memory of one inference.
        ram_bytes: memory of everything, with what is assumed for the firmware.
        area_bytes: of each of the two overlay areas.
        flash_bytes: of everything, with what is assumed for the firmware.
        room: classes that there is room for.
        agreement: share of the anchors on which it gives the network's answer.
    """

    image_bytes: int
    arena_bytes: int
    ram_bytes: int
    area_bytes: int
    flash_bytes: int
    room: int
    agreement: float


def target_of(profile: str, room: int | None) -> McuTarget:
    """The microcontroller of a profile.

    Args:
        profile: a name, or the path of a .toml file.
        room: classes that the classifier gets room for; None for the default.

    Raises:
        ConfigError: there is no such profile, or it has no flash.
    """
    found: DeviceProfile = load_profile(profile)
    if found.flash is None:
        raise ConfigError(
            f"The device profile {found.name} has no table [flash].",
            "A model image is for a microcontroller, whose profile says how large its flash is.",
            "Choose one such as esp32-c3, or leave out --target mcu.",
        )
    board = Board(found.flash.size_bytes, found.flash.erase_bytes, found.ram_bytes)
    return McuTarget(found.name, board, room)


def require_memory(
    forward: Forward, classes: tuple[str, ...], width: int, target: McuTarget
) -> Fit:
    """What a network needs of a board that holds it.

    Args:
        forward: the folded network.
        classes: their names.
        width: channels of its first block.
        target: the board.

    Raises:
        BundleError: the network has what microcontrollers cannot compute.
        ConfigError: it does not fit; the error says by how much, and which width would.
    """
    network = steps_of(forward)
    room = room_for(len(classes), target.room)
    need = need_of(network, classes, room)
    board = target.board
    if board.holds(need):
        return Fit(target, need)
    raise ConfigError(
        f"The network needs {board.flash_for(need):,} bytes of flash (image {need.image:,}, two "
        f"overlay areas of {board.area(need):,}, the rest for the firmware) and {need.ram:,} of "
        f"memory (arena {need.arena:,}, channel table {need.table:,}, frame {need.frame:,}, the "
        f"rest for the firmware).",
        f"{target.profile} has {board.flash:,} bytes of flash and {board.ram:,} of memory.",
        _proposal(network, classes, room, width, board),
    )


def _proposal(network: Steps, classes: tuple[str, ...], room: int, width: int, board: Board) -> str:
    """The widest of the same networks that fits, half as wide again and again."""
    factor = 0.5
    while width * factor >= LEAST_WIDTH:
        need = need_of(narrowed(network, factor), classes, room)
        if board.holds(need):
            return (
                f"Pretrain with --width {round(width * factor)}: the largest that fits, with an "
                f"image of {need.image:,} bytes and an arena of {need.arena:,}."
            )
        factor /= 2
    return "Choose a board with more of it, or smaller frames: no width of this network fits."


def report_on(
    image: Image,
    fit: Fit,
    preprocessing: Preprocessing,
    frames: Frames,
    logits: NDArray[np.float32],
) -> McuReport:
    """Compare an image with the network that it was made of.

    Args:
        image: of the network.
        fit: of the network on its board.
        preprocessing: of the bundle.
        frames: anchors.
        logits: the network's, float32 [n, K].
    """
    need, board = fit.need, fit.target.board
    answers = infer(running(image), device_frames(image, preprocessing, frames))
    return McuReport(
        image_bytes=len(image.content),
        arena_bytes=image.arena_bytes,
        ram_bytes=need.ram,
        area_bytes=board.area(need),
        flash_bytes=board.flash_for(need),
        room=image.most_classes,
        agreement=float((answers.labels == logits.argmax(axis=1)).mean()),
    )


def device_frames(image: Image, preprocessing: Preprocessing, frames: Frames) -> NDArray[np.uint8]:
    """Frames as a board takes them, uint8 [n, height, width, channels]."""
    if isinstance(preprocessing, ImagePreprocessing):
        return frames.astype(np.uint8, copy=False)
    return image.quantize_signals(Preprocessor(preprocessing)(frames))


def described(report: McuReport, classes: Sequence[str]) -> str:
    """A report in one sentence."""
    return (
        f"Model image: {report.image_bytes:,} bytes, arena {report.arena_bytes:,} bytes, two "
        f"overlay areas of {report.area_bytes:,} bytes, {report.room - len(classes)} classes may "
        f"be added; it answers {report.agreement:.1%} of the anchors like the network."
    )
