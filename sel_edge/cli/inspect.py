"""`sel-edge inspect`: verify a bundle and say what is in it."""

from __future__ import annotations

import json
from pathlib import Path

import click

from sel_edge.bundle.bundle import Bundle, open_bundle
from sel_edge.bundle.manifest import Manifest
from sel_edge.bundle.preprocessing import Preprocessing, SignalPreprocessing
from sel_edge.core.frames import noun
from sel_edge.report.wording import names, printable

HEADING = (
    *("rung", "batch", "layers", "FLOP per step", "cache bytes per batch"),
    *("parameters", "delta bytes"),
)


@click.command("inspect")
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print the whole manifest as one JSON line.")
@click.option(
    "--answer", is_flag=True, help="Also let the network answer for one of the bundle's anchors."
)
def command(bundle: Path, as_json: bool, answer: bool) -> int:
    """Verify every hash of the bundle in directory BUNDLE and say what is in it."""
    opened = open_bundle(bundle)
    manifest = opened.manifest
    if as_json:
        click.echo(json.dumps(manifest.as_dict()))
        return 0
    rows = [*describe(opened), *([_answer(opened)] if answer else [])]
    width = max(len(name) for name, _ in rows)
    for name, value in rows:
        click.echo(f"{name:<{width}} {value}")
    for line in table(manifest):
        click.echo(line)
    return 0


def describe(bundle: Bundle) -> list[tuple[str, str]]:
    """A bundle in rows of name and value."""
    manifest, signer = bundle.manifest, bundle.signer
    model, view = manifest.model, manifest.preprocessing
    held_out = "never trained on" if manifest.anchors_held_out else "also trained on"
    rows = [
        ("bundle", manifest.bundle_hash),
        ("signed by", "nobody" if signer is None else f"key {signer.fingerprint}"),
        ("schema", str(manifest.schema)),
        ("model", f"{printable(model.name)}, width {model.width}, {model.parameters:,} parameters"),
        ("forward", f"{2 * model.forward_macs:,} FLOP per {noun(view.frame_shape)}"),
        ("int8", "none" if manifest.int8 is None else manifest.int8),
        *_mcu(manifest),
        ("classes", names(manifest.classes)),
        _frame(view),
        ("anchors", held_out),
    ]
    rows += [(printable(name), f"{value:.2%}") for name, value in manifest.accuracy.items()]
    rows += [
        (name, f"{member.bytes:,} bytes, sha256 {member.sha256}")
        for name, member in manifest.members.items()
    ]
    return [*rows, ("verified", "every hash is right")]


def _answer(bundle: Bundle) -> tuple[str, str]:
    """The row that says that the engine works on this machine."""
    from sel_edge.runtime.engine import Engine

    anchors, classes = bundle.anchors(), bundle.manifest.classes
    _, logits = Engine(bundle).infer(anchors.frames[:1])
    truth, given = classes[int(anchors.labels[0])], classes[int(logits[0].argmax())]
    return "answer", f"{printable(given)} for an anchor of {printable(truth)}"


def _mcu(manifest: Manifest) -> list[tuple[str, str]]:
    """The row that says what a microcontroller runs, if there is such a thing."""
    mcu = manifest.mcu
    if mcu is None:
        return []
    return [("mcu", f"{mcu.file} for {printable(mcu.profile)}, arena {mcu.arena_bytes:,} bytes")]


def _frame(view: Preprocessing) -> tuple[str, str]:
    """The row that says what the network looks at."""
    if isinstance(view, SignalPreprocessing):
        return "signal", f"{view.length:,} samples, {view.channels:,} channels"
    return "image", f"{view.height} x {view.width}, {view.channels} channels"


def table(manifest: Manifest) -> list[str]:
    """Lines of a table with a row per rung, and none where there is no rung."""
    rows = [
        (
            name,
            f"{rung.batch:,}",
            f"{len(rung.layers):,}",
            f"{rung.main.cost.executed_flops:,}",
            f"{rung.cache_bytes:,}",
            f"{rung.parameters:,}",
            f"{rung.delta_bytes:,}",
        )
        for name, rung in manifest.rungs.items()
    ]
    if not rows:
        return []
    widths = [max(map(len, column)) for column in zip(HEADING, *rows, strict=True)]
    lines = [
        "  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])])
        for row in (HEADING, *rows)
    ]
    return ["", *lines]
