"""How `sel-edge deploy` brings a model image to a microcontroller."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import click

from sel_edge.bundle.bundle import open_bundle
from sel_edge.cli.line import (
    baud_option,
    key_of,
    key_option,
    open_client,
    timeout_option,
    transfer_bar,
)
from sel_edge.core.errors import ConfigError, LinkError, MissingDependencyError
from sel_edge.link.client import Client
from sel_edge.link.messages.hello import Ability

ESPTOOL = "esptool"

flash_option = click.option(
    "--flash",
    "firmware",
    type=click.Path(path_type=Path),
    help="First write this built firmware, one merged file, with esptool.",
)
provision_option = click.option(
    "--provision",
    is_flag=True,
    help="Give a board that has no key yet the one made for it. It crosses the line as it is: do "
    "this on a cable of your own.",
)
BOARD_OPTIONS = {
    "firmware": flash_option,
    "provision": provision_option,
    "key_file": key_option,
    "baud": baud_option,
    "timeout_s": timeout_option,
}
"""Parameter -> option, in the order of the help."""


def deploy_to_board(
    port: str,
    bundle: Path,
    as_json: bool,
    *,
    firmware: Path | None,
    provision: bool,
    key_file: Path,
    baud: int,
    timeout_s: float,
) -> int:
    """Install the model image of a bundle on the microcontroller at a port.

    Args:
        port: of a serial line, a pty's path, or socket://HOST:PORT.
        bundle: that was exported with --target mcu.
        as_json: print the result as one JSON line.
        firmware: to write first.
        provision: give a board without a key the one made for it.
        key_file: of this host.
        baud, timeout_s: of the line.

    Returns:
        The exit code.
    """
    image = open_bundle(bundle).mcu_image()
    if firmware is not None:
        _flash(firmware, port)
    with open_client(port, baud, timeout_s) as client:
        key = key_of(client, key_file)
        if not client.hello().abilities & Ability.HAS_KEY:
            _provision(client, key, provision)
        client.set_time()
        with transfer_bar("model image") as progress:
            status = client.install(image.content, key, progress)
        name = client.hello().device_id.hex()
    result = {"device": name, "image": status.image.hex(), "bytes": len(image.content)}
    if as_json:
        click.echo(json.dumps(result))
    else:
        click.echo(
            f"The board {name} runs the model image {status.image.hex()[:12]} of {bundle} "
            f"({len(image.content):,} bytes)."
        )
    return 0


def _provision(client: Client, key: bytes, wanted: bool) -> None:
    if not wanted:
        raise LinkError(
            "The board has no key yet.",
            "A board takes a network from whoever shows its key.",
            "Add --provision to give it one, on a cable that nobody else reads.",
        )
    if not client.hello().abilities & Ability.TAKES_KEY:
        raise LinkError(
            "The board has no key, and none can be set over the link.",
            "Its key is burned into an eFuse.",
            "Follow the README of its port of the firmware.",
        )
    client.provision(key)


def _flash(firmware: Path, port: str) -> None:
    tool = shutil.which(ESPTOOL) or shutil.which(f"{ESPTOOL}.py")
    if tool is None:
        raise MissingDependencyError(
            "esptool is not installed, which writes firmware to a board.",
            "",
            "Install it with `pip install esptool`, or write the firmware by other means and leave "
            "out --flash.",
        )
    if not firmware.is_file():
        raise ConfigError(
            f"There is no firmware {firmware}.",
            "A merged file, as `idf.py merge-bin` writes it, is expected.",
            "Build it first, or check the path.",
        )
    written = subprocess.run(  # noqa: S603 - a tool of the user's, found on the path
        [tool, "--port", port, "write_flash", "0x0", str(firmware)], check=False
    )
    if written.returncode:
        raise LinkError(
            f"esptool could not write {firmware} ({port}).",
            "",
            "Read above what it says; most boards want the BOOT button to be held.",
        )
