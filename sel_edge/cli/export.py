"""`sel-edge export`: make a bundle that an edge device can run."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np
from numpy.typing import NDArray

from sel_edge.bundle.bundle import (
    MIN_ANCHORS_PER_CLASS,
    Anchors,
    Bundle,
    pack_anchors,
    write_bundle,
)
from sel_edge.bundle.manifest import (
    ANCHORS_FILE,
    GRAPH_FILE,
    WEIGHTS_FILE,
    Manifest,
    ModelInfo,
    Preprocessing,
)
from sel_edge.compile.export import ForwardGraph, export_forward
from sel_edge.core import provenance
from sel_edge.core.embarrassment import TEMPERATURE
from sel_edge.core.errors import BundleError, DataError
from sel_edge.core.files import require_free
from sel_edge.core.rng import generator
from sel_edge.core.runlog import RunLog
from sel_edge.core.standin import StandIn, fit_standin
from sel_edge.data.corruptions import corrupt
from sel_edge.data.sources import load_splits
from sel_edge.pretrain.trained import Trained, anchor_indices, load_trained
from sel_edge.runtime.engine import Engine

PARITY_TOLERANCE = 1e-4
ANCHORS_PER_CLASS = 20
# Half of the kinds: the others stay unforeseen, and rehearsals can show them.
CALIBRATION = (("gaussian_noise", 2), ("blur", 2), ("fog", 3), ("jpeg", 4))


@dataclass(frozen=True)
class ExportAnchors:
    """Anchors with what torch says of them.

    Attributes:
        samples: images, labels and features as the bundle keeps them.
        logits: float32 [A, K].
        held_out: whether training never saw them.
    """

    samples: Anchors
    logits: NDArray[np.float32]
    held_out: bool


@click.command("export")
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), required=True, help="The bundle directory.")
@click.option("--data", help="Where the training data are now, if not where the run found them.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as one JSON line.")
def command(run: Path, out: Path, data: str | None, as_json: bool) -> int:
    """Make a bundle of the finished run in directory RUN.

    The ONNX graph is checked against torch on every anchor before the bundle is left behind.
    """
    bundle, difference = export_run(run, out, data)
    if as_json:
        text = json.dumps(
            {
                "bundle": str(bundle.path),
                "bundle_hash": bundle.manifest.bundle_hash,
                "max_difference": difference,
                "bytes": sum(member.bytes for member in bundle.manifest.members.values()),
            }
        )
    else:
        text = (
            f"Wrote {bundle.path}: {len(bundle.manifest.classes)} classes, within "
            f"{difference:.1e} of torch on all anchors."
        )
    click.echo(text)
    if not bundle.manifest.anchors_held_out:
        click.echo(
            "Note: the anchors are images that training saw, so what is calibrated on them is too "
            "confident. Pretrain with --holdout 20 for a network that is to be deployed.",
            err=True,
        )
    return 0


def export_run(run_path: Path, out: Path, data: str | None = None) -> tuple[Bundle, float]:
    """Export a finished run.

    Args:
        run_path: directory of the run.
        out: the bundle directory to make.
        data: data SPEC to use in place of the one in the run log.

    Returns:
        The bundle, and the largest absolute difference between its logits and torch's.

    Raises:
        BundleError: the exported graph differs from torch by more than 1e-4.
        SelEdgeError: the run, its data or the disk is at fault.
    """
    require_free(out)
    trained = load_trained(run_path)
    anchors = _anchors(trained, data or trained.run.info["data"]["spec"])
    height, width, channels = trained.run.info["data"]["image_shape"]
    graph = export_forward(trained.model, (channels, height, width), WEIGHTS_FILE)
    manifest = _manifest(trained.run, graph, anchors, _calibrate(trained, anchors))
    members = {
        GRAPH_FILE: graph.graph,
        WEIGHTS_FILE: graph.weights,
        ANCHORS_FILE: pack_anchors(**vars(anchors.samples)),
    }
    differences: list[float] = []
    bundle = write_bundle(
        out, manifest, members, lambda bundle: differences.append(_check_parity(bundle, anchors))
    )
    return bundle, differences[0]


def _anchors(trained: Trained, spec: str) -> ExportAnchors:
    info = trained.run.info["data"]
    splits = load_splits(spec)
    found, expected = splits.train, (tuple(info["classes"]), tuple(info["image_shape"]))
    if (found.classes, found.images.shape[1:]) != expected:
        raise DataError(
            f"{spec} holds classes {', '.join(found.classes)} as images of shape "
            f"{found.images.shape[1:]}.",
            f"The run was trained on {', '.join(expected[0])}, shape {expected[1]}.",
            "Name the run's own data with --data.",
        )
    chosen = found.subset(anchor_indices(found, trained.run.info, ANCHORS_PER_CLASS))
    fewest = int(np.bincount(chosen.labels, minlength=len(found.classes)).min())
    if fewest < MIN_ANCHORS_PER_CLASS:
        raise DataError(
            f"A class of {spec} gives {fewest} anchors.",
            f"A bundle needs at least {MIN_ANCHORS_PER_CLASS} of every class.",
            "Use more training images of every class, and pretrain again.",
        )
    features, logits = trained.predict(chosen.images)
    held_out = info["holdout"] > 0 and splits.sha256 == info["sha256"]
    samples = Anchors(chosen.images, chosen.labels, features)
    return ExportAnchors(samples, logits, held_out)


def _calibrate(trained: Trained, anchors: ExportAnchors) -> StandIn:
    """Fit the stand-in on the anchors, clean and corrupted in some ways, to see low confidence."""
    rng = generator(trained.run.info["seed"], "standin")
    logits = [anchors.logits]
    for kind, severity in CALIBRATION:
        images = corrupt(anchors.samples.images, kind, severity, rng)
        logits.append(trained.predict(images)[1])
    return fit_standin(np.concatenate(logits), np.tile(anchors.samples.labels, len(logits)))


def _manifest(
    run: RunLog, graph: ForwardGraph, anchors: ExportAnchors, standin: StandIn
) -> Manifest:
    model, data, totals = run.info["model"], run.info["data"], run.info["totals"]
    height, width, channels = data["image_shape"]
    mean, std = tuple(data["mean"]), tuple(data["std"])
    return Manifest(
        model=ModelInfo(model["name"], model["width"], model["parameters"], model["forward_macs"]),
        classes=run.classes,
        preprocessing=Preprocessing(height, width, channels, mean, std),
        temperature=TEMPERATURE,
        head_weight=graph.head_weight,
        head_bias=graph.head_bias,
        features=anchors.samples.features.shape[1],
        standin=standin,
        anchors_held_out=anchors.held_out,
        accuracy={"test": totals["test_full_acc"], "test_first_100": totals["test_100_acc"]},
        provenance={
            "recipe": run.info["recipe"]["name"],
            "data": {key: data[key] for key in ("spec", "sha256", "note")},
            "standin_calibrated_on": ["clean", *(f"{kind}:{n}" for kind, n in CALIBRATION)],
            "trained_with": run.info["versions"],
            "exported_with": provenance.versions(),
            "commit": provenance.commit(),
        },
    )


def _check_parity(bundle: Bundle, anchors: ExportAnchors) -> float:
    features, logits = Engine(bundle).infer(anchors.samples.images)
    difference = max(
        float(np.abs(logits - anchors.logits).max()),
        float(np.abs(features - anchors.samples.features).max()),
    )
    if difference > PARITY_TOLERANCE:
        raise BundleError(
            f"The exported graph differs from torch by {difference:.2e} on the anchors.",
            f"At most {PARITY_TOLERANCE:.0e} is allowed; no bundle was left behind.",
            "Run `sel-edge doctor` and report the versions it prints.",
        )
    return difference
