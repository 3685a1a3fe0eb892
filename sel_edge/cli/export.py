"""`sel-edge export`: make a bundle that an edge device can run and train."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from sel_edge.bundle.bundle import Bundle
from sel_edge.bundle.rungs import MAX_BATCH, RUNGS
from sel_edge.cli.export_bundle import Exported, make_bundle
from sel_edge.cli.export_mcu import McuTarget, described, target_of
from sel_edge.cli.export_onnx import from_onnx
from sel_edge.cli.export_source import from_run
from sel_edge.cli.finite import FiniteRange
from sel_edge.cli.options import chosen_rungs
from sel_edge.compile.ladder import LadderOptions
from sel_edge.compile.optimizers import Adam, Sgd
from sel_edge.core.errors import ConfigError
from sel_edge.core.files import require_free
from sel_edge.core.frames import MAX_LEVEL, MIN_STD
from sel_edge.mcu.image import MAX_CLASSES

OPTIMIZERS = {"sgd": Sgd, "adam": Adam}
RUN_NOTE = (
    "Note: the anchors are samples that training saw, so what is calibrated on them is too "
    "confident. Pretrain with --holdout 20 for a network that is to be deployed."
)
ONNX_NOTE = (
    "Note: the anchors may be samples that training saw, so what is calibrated on them may be too "
    "confident. Say --held-out if training never saw the samples of --data."
)


@click.command("export")
@click.argument("run", type=click.Path(path_type=Path), required=False)
@click.option("--out", type=click.Path(path_type=Path), required=True, help="The bundle directory.")
@click.option("--onnx", type=click.Path(path_type=Path), help="A network of your own, not a RUN.")
@click.option("--classes", type=click.Path(path_type=Path), help="Its class names, one a line.")
@click.option("--data", help="Of the network with --onnx, or where the run's data are now.")
@click.option(
    "--mean", default="0", show_default=True, help="Its preprocessing, as 0.49,0.48,0.45."
)
@click.option("--std", default="1", show_default=True, help="Its preprocessing, likewise.")
@click.option("--held-out", is_flag=True, help="Its training never saw the samples of --data.")
@click.option("--rungs", default=",".join(RUNGS), show_default=True, help="Ways of learning.")
@click.option(
    "--batch",
    type=click.IntRange(1, MAX_BATCH),
    default=32,
    show_default=True,
    help="Samples per training step.",
)
@click.option(
    "--frames",
    type=click.IntRange(2, MAX_BATCH),
    default=32,
    show_default=True,
    help="Frames per estimate of norm.",
)
@click.option(
    "--share",
    type=FiniteRange(0.0, 1.0, min_open=True),
    default=0.1,
    show_default=True,
    help="Of each layer's channels, for tail and deep.",
)
@click.option("--deep-from", help="Weight of the first layer of deep; default: the last half.")
@click.option(
    "--optimizer",
    type=click.Choice(list(OPTIMIZERS)),
    default="sgd",
    show_default=True,
    help="Of every training step.",
)
@click.option(
    "--int8/--no-int8", "with_int8", default=True, help="With or without an int8 forward graph."
)
@click.option(
    "--target",
    type=click.Choice(["linux", "mcu"]),
    default="linux",
    show_default=True,
    help="mcu: with a model image for a microcontroller.",
)
@click.option("--profile", help="The microcontroller, as esp32c3 or a .toml file; with mcu.")
@click.option(
    "--class-room",
    type=click.IntRange(2, MAX_CLASSES),
    help="Classes that the model image has room for; default: 8 more than there are.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the result as one JSON line.")
def command(
    run: Path | None,
    out: Path,
    onnx: Path | None,
    classes: Path | None,
    data: str | None,
    mean: str,
    std: str,
    held_out: bool,
    with_int8: bool,
    target: str,
    profile: str | None,
    class_room: int | None,
    as_json: bool,
    **settings: Any,
) -> int:
    """Make a bundle of the finished run in directory RUN, or of an ONNX file.

    Before the bundle is left behind, its forward graph is compared with the network itself on every
    anchor, and every other graph has run once.
    """
    require_free(out)
    options = _options(**settings)
    board = _target(target, profile, class_room)
    if run is not None and onnx is None and classes is None and not held_out:
        source, note = from_run(run, data), RUN_NOTE
    elif onnx is not None and run is None and classes is not None and data is not None:
        numbers = _numbers(mean, -MAX_LEVEL), _numbers(std, MIN_STD)
        source, note = from_onnx(onnx, classes, data, *numbers, held_out), ONNX_NOTE
    else:
        raise ConfigError(
            "It is not clear what to export.",
            "Either the directory of a run is expected, or --onnx with --classes and --data.",
            "Name one of them with all it needs, and nothing of the other.",
        )
    _report(make_bundle(source, out, options, with_int8, board), as_json, note)
    return 0


def export_run(run_path: Path, out: Path, data: str | None = None) -> tuple[Bundle, float]:
    """Export a finished run with the default settings.

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
    exported = make_bundle(from_run(run_path, data), out, LadderOptions(), with_int8=True)
    return exported.bundle, exported.max_difference


def _options(
    rungs: str, batch: int, frames: int, share: float, deep_from: str | None, optimizer: str
) -> LadderOptions:
    chosen = chosen_rungs(rungs)
    if deep_from is not None and "deep" not in chosen:
        raise ConfigError(
            f"The rung deep, which would begin at {deep_from}, is not among {', '.join(chosen)}.",
            "--deep-from is of use to that rung only.",
            "Add deep to --rungs, or leave --deep-from out.",
        )
    return LadderOptions(chosen, batch, frames, share, deep_from, OPTIMIZERS[optimizer]())


def _target(target: str, profile: str | None, class_room: int | None) -> McuTarget | None:
    """The microcontroller to export for, if any."""
    if target == "mcu" and profile is not None:
        return target_of(profile, class_room)
    if target == "mcu" or profile is not None or class_room is not None:
        raise ConfigError(
            "It is not clear which board the bundle is for.",
            "A model image needs --target mcu and --profile; --class-room goes with them.",
            "Name both, such as --target mcu --profile esp32c3, or none of the three.",
        )
    return None


def _numbers(text: str, at_least: float) -> tuple[float, ...]:
    """Numbers up to MAX_LEVEL."""
    try:
        numbers = tuple(float(part) for part in text.split(","))
    except ValueError:
        numbers = (float("nan"),)
    if not all(at_least <= number <= MAX_LEVEL for number in numbers):
        raise ConfigError(
            f"{text!r} is no list of numbers that frames can be normalized by.",
            f"Numbers from {at_least:g} to {MAX_LEVEL:g} are expected, separated by commas, such "
            "as 0.49,0.48,0.45.",
            "Correct --mean or --std.",
        )
    return numbers


def _report(exported: Exported, as_json: bool, note: str) -> None:
    manifest = exported.bundle.manifest
    if as_json:
        result = {
            "bundle": str(exported.bundle.path),
            "bundle_hash": manifest.bundle_hash,
            "max_difference": exported.max_difference,
            "int8_agreement": exported.int8_agreement,
            "rungs": list(manifest.rungs),
            "absent": exported.absent,
            "untrained": exported.untrained,
            "mcu": None if exported.mcu is None else asdict(exported.mcu),
            "bytes": sum(member.bytes for member in manifest.members.values()),
        }
        click.echo(json.dumps(result))
    else:
        click.echo(
            f"Wrote {exported.bundle.path}: {len(manifest.classes)} classes, within "
            f"{exported.max_difference:.1e} of the network on all anchors; it can learn by "
            f"{', '.join(manifest.rungs) or 'no rung'}."
        )
        if exported.mcu is not None:
            click.echo(described(exported.mcu, manifest.classes))
    for rung, reason in exported.absent.items():
        click.echo(f"Note: there is no rung {rung}: {reason}.", err=True)
    if exported.untrained:
        names = ", ".join(exported.untrained)
        click.echo(f"Note: no layer has {names}: the rung full leaves them as they are.", err=True)
    if not manifest.anchors_held_out:
        click.echo(note, err=True)
