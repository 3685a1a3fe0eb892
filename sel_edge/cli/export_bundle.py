"""From a network to a bundle: compile, calibrate, and check against the network itself."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import cast

import numpy as np
from numpy.typing import NDArray

from sel_edge.bundle.bundle import Bundle, pack_anchors, write_bundle
from sel_edge.bundle.manifest import (
    ANCHORS_FILE,
    GRAPH_FILE,
    INT8_FILE,
    MCU_FILE,
    MOMENTS_FILE,
    WEIGHTS_FILE,
    Manifest,
    Mcu,
    ModelInfo,
)
from sel_edge.cli.export_check import check
from sel_edge.cli.export_mcu import McuReport, McuTarget, report_on, require_memory
from sel_edge.cli.export_source import Source
from sel_edge.compile.ladder import LadderOptions
from sel_edge.compile.mcu import ImageSettings, compile_image
from sel_edge.compile.package import Package, package
from sel_edge.core import provenance
from sel_edge.core.embarrassment import TEMPERATURE
from sel_edge.core.errors import BundleError
from sel_edge.core.files import require_free, sha256_bytes, storage_errors
from sel_edge.core.frames import Frames, noun
from sel_edge.core.rng import generator
from sel_edge.core.standin import StandIn, fit_standin
from sel_edge.data.corruptions import corrupt
from sel_edge.data.disturbances import DISTURBANCES
from sel_edge.mcu.image import Image
from sel_edge.runtime.preprocess import Preprocessor
from sel_edge.runtime.session import Session

PARITY_TOLERANCE = 1e-4
"""Of the network's largest answer, or of 1 if that is more."""
# Of images, half of the kinds: the others stay unforeseen, and rehearsals can show them.
CALIBRATION = (("gaussian_noise", 2), ("blur", 2), ("fog", 3), ("jpeg", 4))

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Exported:
    """A new bundle.

    Attributes:
        bundle: opened and checked.
        max_difference: largest difference between its answers and the network's, on all anchors.
        int8_agreement: share of the anchors on which the int8 graph gives the same answer; None
            without one.
        absent: rung that was asked for and that the network has no use for -> why.
        untrained: parameters that the rung full leaves as they are.
        mcu: what is said of the model image; None without one.
    """

    bundle: Bundle
    max_difference: float
    int8_agreement: float | None
    absent: Mapping[str, str]
    untrained: tuple[str, ...]
    mcu: McuReport | None


def make_bundle(
    source: Source,
    out: Path,
    options: LadderOptions,
    with_int8: bool,
    target: McuTarget | None = None,
) -> Exported:
    """Make a bundle.

    Args:
        source: the network.
        out: the bundle directory to make.
        options: which rungs, and for what.
        with_int8: whether it gets an int8 forward graph.
        target: the microcontroller that it gets a model image for, if any.

    Raises:
        BundleError: the network cannot be compiled, or a graph differs from it by more than
            `PARITY_TOLERANCE`.
        ConfigError: the microcontroller cannot hold the network.
        SelEdgeError: the options, the data or the disk is at fault.
    """
    require_free(out)
    preprocess = Preprocessor(source.preprocessing)
    calibration = preprocess(source.calibration)
    compiled = package(source.model, options, calibration if with_int8 else None)
    _require_fit(source, compiled)
    width = source.width or compiled.width
    fit = None
    if target is not None:
        fit = require_memory(compiled.forward, source.classes, width, target)
    frames = source.anchors.frames
    with TemporaryDirectory(prefix="sel-edge-") as folder, storage_errors(Path(folder)):
        forward = _Forward(Path(folder), compiled, preprocess)
        features, logits = forward(frames)
        standin, disturbed = _calibrate(source, forward, logits)
        agreement = forward.int8_agreement(frames, logits)
        moments = forward.moments(frames)
    manifest = _manifest(source, compiled, standin, disturbed, agreement)
    members = dict(compiled.members)
    report = None
    if fit is not None:
        image = _image(source, compiled, standin, fit.target, calibration)
        members[MCU_FILE] = image.content
        report = report_on(image, fit, source.preprocessing, frames, logits)
        manifest = _with_image(manifest, fit.target, report)
    anchors = pack_anchors(frames, source.anchors.labels, features, moments)
    expected, differences = source.predict(frames), list[float]()
    bundle = write_bundle(
        out,
        manifest,
        {**members, ANCHORS_FILE: anchors},
        lambda bundle: differences.append(
            check(bundle, frames, expected, source.last_function, PARITY_TOLERANCE)
        ),
    )
    return Exported(bundle, differences[0], agreement, compiled.absent, compiled.untrained, report)


class _Forward:
    """The compiled forward graphs, before there is a bundle."""

    def __init__(self, folder: Path, compiled: Package, preprocess: Preprocessor) -> None:
        self._preprocess = preprocess
        for name in (GRAPH_FILE, MOMENTS_FILE, WEIGHTS_FILE, INT8_FILE):
            if name in compiled.members:
                (folder / name).write_bytes(compiled.members[name])
        self._session = Session(folder / GRAPH_FILE, None)
        self._int8, self._stem = (
            Session(folder / name, None) if name in compiled.members else None
            for name in (INT8_FILE, MOMENTS_FILE)
        )

    def __call__(self, frames: Frames) -> tuple[Floats, Floats]:
        """Features and logits."""
        found = self._session.run({"image": self._preprocess(frames)}, ["features", "logits"])
        return found["features"], found["logits"]

    def moments(self, frames: Frames) -> Floats | None:
        """Moments of the first layer, where there is a graph that gives them."""
        if self._stem is None:
            return None
        return self._stem.run({"image": self._preprocess(frames)})["moments"]

    def int8_agreement(self, frames: Frames, logits: Floats) -> float | None:
        if self._int8 is None:
            return None
        found = self._int8.run({"image": self._preprocess(frames)}, ["logits"])["logits"]
        return float((found.argmax(axis=1) == logits.argmax(axis=1)).mean())


def _require_fit(source: Source, compiled: Package) -> None:
    shape = source.preprocessing.input_shape
    if compiled.input_shape != shape or compiled.classes != len(source.classes):
        raise BundleError(
            f"The network takes samples of shape {compiled.input_shape} and tells "
            f"{compiled.classes} classes apart.",
            f"The data have the shape {shape} and {len(source.classes)} classes.",
            "Name data and class names that the network was trained for; ?size= and ?mode= convert "
            "folders of images.",
        )


def _image(
    source: Source, compiled: Package, standin: StandIn, target: McuTarget, calibration: Floats
) -> Image:
    settings = ImageSettings(
        source.classes,
        source.preprocessing,
        standin,
        sha256_bytes(compiled.members[WEIGHTS_FILE]),
        target.room,
    )
    return compile_image(compiled.forward, settings, calibration)


def _with_image(manifest: Manifest, target: McuTarget, report: McuReport) -> Manifest:
    """The manifest, with what it says of the model image."""
    agreement = {"mcu_agreement_on_anchors": report.agreement}
    return replace(
        manifest,
        mcu=Mcu(MCU_FILE, target.profile, report.arena_bytes),
        provenance={**manifest.provenance, **agreement},
    )


def _calibrate(source: Source, forward: _Forward, clean: Floats) -> tuple[StandIn, list[str]]:
    """Fit the stand-in on the anchors, clean and disturbed in some ways, to see low confidence.

    Returns:
        The stand-in, and what was done to the anchors.
    """
    logits = {"clean": clean}
    for name, frames in _disturbed(source.anchors.frames, generator(source.seed, "standin")):
        logits[name] = forward(frames)[1]
    labels = np.tile(source.anchors.labels, len(logits))
    return fit_standin(np.concatenate(list(logits.values())), labels), list(logits)


def _disturbed(frames: Frames, rng: np.random.Generator) -> Iterator[tuple[str, Frames]]:
    if noun(frames.shape[1:]) == "signal":
        signals = cast(Floats, frames)
        yield from ((name, disturb(signals, rng)) for name, disturb in DISTURBANCES.items())
    else:
        for kind, severity in CALIBRATION:
            yield f"{kind}:{severity}", corrupt(frames, kind, severity, rng)


def _manifest(
    source: Source,
    compiled: Package,
    standin: StandIn,
    disturbed: list[str],
    int8_agreement: float | None,
) -> Manifest:
    int8 = {} if int8_agreement is None else {"int8_agreement_on_anchors": int8_agreement}
    return Manifest(
        model=ModelInfo(
            source.name,
            source.width or compiled.width,
            compiled.parameters,
            compiled.forward_macs,
        ),
        classes=source.classes,
        preprocessing=source.preprocessing,
        temperature=TEMPERATURE,
        head_weight=compiled.head_weight,
        head_bias=compiled.head_bias,
        features=compiled.features,
        standin=standin,
        anchors_held_out=source.held_out,
        accuracy=source.accuracy,
        provenance={
            **source.provenance,
            **int8,
            "standin_calibrated_on": disturbed,
            "exported_with": provenance.versions(),
            "commit": provenance.commit(),
        },
        rungs=compiled.rungs,
        int8=INT8_FILE if INT8_FILE in compiled.members else None,
        moments=compiled.moments,
    )
