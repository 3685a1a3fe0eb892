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
from sel_edge.core.files import require_free, write_atomic
from sel_edge.link.client import Client
from sel_edge.link.messages.hello import Hello
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
    for line in _in_words(hello, status):
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
@click.option("--json", "as_json", is_flag=True, help="Print the result as one JSON line.")
def rollback_command(
    port: str, to: str, key_file: Path, baud: int, timeout_s: float, as_json: bool
) -> int:
    """Have the board at PORT run an earlier network.

    `sel-edge gateway` sends the later one again, unless `sel-edge rollback` undoes it there, too.
    """
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
        before, counter = status.network.hex(), status.next_counter
        manifest = rollback_manifest(before, after.hex(), counter, depth)
        status = client.rollback(manifest, key_of(client, key_file))
        name = client.hello().device_id.hex()
    network = status.network.hex()
    if as_json:
        click.echo(json.dumps({"device": name, "network": network, "image": status.image.hex()}))
    elif status.network == status.image:
        click.echo(f"The board {name} runs the network of its model image {network[:12]} again.")
    else:
        click.echo(f"The board {name} runs the network {network[:12]} again.")
    return 0


@command.command("samples")
@click.argument("port")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    required=True,
    help="A new directory for them: an .npy each with the bytes as the board has them, uint8, and "
    "samples.json, which says what they are.",
)
@line_options
@click.option("--json", "as_json", is_flag=True, help="Print samples.json as one JSON line.")
def samples_command(port: str, out: Path, baud: int, timeout_s: float, as_json: bool) -> int:
    """Take the samples that wait on the board at PORT.

    The board forgets a sample once the next one is asked for. `sel-edge gateway` takes them by
    itself, and learns from them.
    """
    require_free(out)
    with open_client(port, baud, timeout_s) as client:
        found = _take(client, out)
    if as_json:
        click.echo(json.dumps(found))
    else:
        taken = f"Took {counted(len(found), 'sample')} to {out}."
        click.echo(taken if found else "No samples wait.")
    return 0


def _take(client: Client, out: Path) -> list[dict[str, Any]]:
    """Store the samples that wait. What was stored is told of even if it ends in the middle: the
    board has forgotten it."""
    found: list[dict[str, Any]] = []
    try:
        for sample in client.samples(client.status().samples_waiting):
            write_atomic(out / f"{sample.sample}.npy", _npy(sample))
            found.append(_as_dict(sample))
    finally:
        if found:
            write_atomic(out / "samples.json", json.dumps(found, indent=1).encode())
    return found


def _npy(sample: Sample) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, np.frombuffer(sample.content, np.uint8), allow_pickle=False)
    return buffer.getvalue()


def _as_dict(sample: Sample) -> dict[str, Any]:
    fields = asdict(sample)
    del fields["content"], fields["waiting"]
    return fields


def _in_words(hello: Hello, status: Status) -> list[str]:
    name, firmware = hello.device_id.hex(), f"{hello.firmware_major}.{hello.firmware_minor}"
    faults = [text for fault, text in FAULTS.items() if status.faults & fault]
    lines = [f"Board {name}, firmware {firmware}, up {duration(status.uptime_ms / 1000)}."]
    if status.has_network:
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
