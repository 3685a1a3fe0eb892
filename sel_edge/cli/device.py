"""`sel-edge device`: look at a microcontroller, undo what it was sent, take its samples."""

from __future__ import annotations

import io
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
import numpy as np

from sel_edge.cli.line import key_of, key_option, line_options, open_client
from sel_edge.core.errors import LinkError
from sel_edge.core.files import new_directory, require_free, write_atomic
from sel_edge.link.messages.sample import Sample
from sel_edge.link.messages.status import Fault, Status
from sel_edge.mcu.manifest import TO_IMAGE, rollback_manifest
from sel_edge.report.wording import counted, duration, printable

NOTHING = bytes(32)
FAULTS = {
    Fault.NO_IMAGE: "it has no model image",
    Fault.IMAGE_DAMAGED: "its model image is damaged",
    Fault.OVERLAY_DAMAGED: "what it was sent is damaged in part, and not used",
    Fault.FLASH: "its flash has failed",
}


@click.group("device")
def command() -> None:
    """Look at a microcontroller, undo what it was sent, take its samples.

    PORT is a serial port, such as /dev/ttyUSB0, the path of a pty, or socket://HOST:PORT.
    """


@command.command("status")
@click.argument("port")
@line_options
@click.option("--log", "with_log", is_flag=True, help="The board's own log as well.")
@click.option("--json", "as_json", is_flag=True, help="Print everything as one JSON line.")
def status_command(port: str, baud: int, timeout_s: float, with_log: bool, as_json: bool) -> int:
    """Say what the board at PORT runs and how it is."""
    with open_client(port, baud, timeout_s) as client:
        hello, status = client.hello(), client.status()
        log = client.log() if with_log else ""
    if as_json:
        fields = {**asdict(hello), **asdict(status)}
        told = {name: v.hex() if isinstance(v, bytes) else v for name, v in fields.items()}
        click.echo(json.dumps({**told, **({"log": log} if with_log else {})}))
        return 0
    for line in _in_words(hello.device_id.hex(), status):
        click.echo(line)
    for line in log.splitlines():
        click.echo(f"  {printable(line)}")
    return 0


@command.command("rollback")
@click.argument("port")
@click.option(
    "--to",
    type=click.Choice(["previous", "image"]),
    default="previous",
    show_default=True,
    help="The network before, or that of the model image alone.",
)
@key_option
@line_options
def rollback_command(port: str, to: str, key_file: Path, baud: int, timeout_s: float) -> int:
    """Have the board at PORT run an earlier network."""
    with open_client(port, baud, timeout_s) as client:
        status = client.status()
        after = status.image if to == "image" else status.previous
        if after == NOTHING or status.network == status.image:
            raise LinkError(
                "The board knows no network before the one that it runs.",
                "",
                "There is nothing to undo."
                if status.network == status.image
                else "Say --to image to go back to the model image.",
            )
        depth = TO_IMAGE if to == "image" else 1
        manifest = rollback_manifest(status.network.hex(), after.hex(), status.counter + 1, depth)
        status = client.rollback(manifest, key_of(client, key_file))
    click.echo(f"The board runs the network {status.network.hex()[:12]}.")
    return 0


@command.command("samples")
@click.argument("port")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    required=True,
    help="A new directory for them: an .npy each, and samples.json.",
)
@line_options
def samples_command(port: str, out: Path, baud: int, timeout_s: float) -> int:
    """Take the samples that wait on the board at PORT.

    The board forgets a sample once the next one is asked for.
    """
    require_free(out)
    with open_client(port, baud, timeout_s) as client, new_directory(out) as folder:
        found = []
        for sample in client.samples():
            write_atomic(folder / f"{sample.sample}.npy", _npy(sample))
            found.append(_as_dict(sample))
        write_atomic(folder / "samples.json", json.dumps(found, indent=1).encode())
    click.echo(f"Took {counted(len(found), 'sample')} to {out}.")
    return 0


def _npy(sample: Sample) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, np.frombuffer(sample.content, np.uint8), allow_pickle=False)
    return buffer.getvalue()


def _as_dict(sample: Sample) -> dict[str, Any]:
    fields = asdict(sample)
    del fields["content"], fields["waiting"]
    return fields


def _in_words(name: str, status: Status) -> list[str]:
    faults = [text for fault, text in FAULTS.items() if status.faults & fault]
    lines = [f"Board {name}, up {duration(status.uptime_ms / 1000)}."]
    if not status.faults & (Fault.NO_IMAGE | Fault.IMAGE_DAMAGED):
        changed = "as it was installed"
        if status.network != status.image:
            changed = f"changed, network {status.network.hex()[:12]} (delta {status.counter})"
        lines += [
            f"  network   image {status.image.hex()[:12]}, {status.classes} classes, {changed}",
            f"  frames    {status.frames:,}; {counted(status.samples_waiting, 'sample')} waiting, "
            f"{status.samples_lost:,} lost",
            f"  overlay   {status.overlay_used:,} of {status.overlay_bytes:,} bytes, "
            f"{counted(status.erases, 'erasure')} so far",
        ]
    lines += [f"  fault     {text}" for text in faults]
    if status.frames_dropped:
        lines.append(f"  link      {status.frames_dropped:,} frames were damaged on the line")
    return lines
