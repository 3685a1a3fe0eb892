"""`sel-edge push`: send what was learned elsewhere to a microcontroller."""

from __future__ import annotations

import json
from pathlib import Path

import click

from sel_edge.bundle.bundle import open_bundle
from sel_edge.bundle.domain import OWN
from sel_edge.bundle.keys import load_public_key, public_path
from sel_edge.cli.line import key_of, key_option, line_options, open_client, transfer_bar
from sel_edge.gateway.courier import Courier
from sel_edge.gateway.shelf import Shelf
from sel_edge.gateway.target import board_network, network_after
from sel_edge.runtime.slots import KEY_FILE


@click.command("push")
@click.argument("delta", type=click.Path(path_type=Path))
@click.argument("port")
@click.option(
    "--bundle", type=click.Path(path_type=Path), required=True, help="That the board was given."
)
@click.option(
    "--domain", type=click.IntRange(OWN), default=OWN, show_default=True, help="The board's."
)
@click.option(
    "--signed-by",
    type=click.Path(path_type=Path),
    help="Public key of whoever made the delta; default: that of the state directory it lies in.",
)
@click.option(
    "--state",
    type=click.Path(path_type=Path),
    help="Where to keep what the board was sent; default: BUNDLE.boards.",
)
@key_option
@line_options
@click.option("--json", "as_json", is_flag=True, help="Print the result as one JSON line.")
def command(
    delta: Path,
    port: str,
    bundle: Path,
    domain: int,
    signed_by: Path | None,
    state: Path | None,
    key_file: Path,
    baud: int,
    timeout_s: float,
    as_json: bool,
) -> int:
    """Have the microcontroller at PORT run the network that a DELTA file leads to.

    DELTA is one of those that a device has kept, in the slots/deltas of its state directory. Only
    what differs from what the board runs goes over the link.
    """
    network = open_bundle(bundle)
    image = network.mcu_image()
    signer = load_public_key(
        signed_by or public_path(delta.resolve().parent.parent.parent / KEY_FILE)
    )
    target = board_network(image, network_after(network, delta, {signer}), domain)
    folder = state or bundle.resolve().with_name(f"{bundle.resolve().name}.boards")
    with open_client(port, baud, timeout_s) as client:
        name = client.hello().device_id.hex()
        key = key_of(client, key_file)
        courier = Courier(client, key, image, Shelf(folder / name, image))
        with transfer_bar("delta") as progress:
            delivery = courier.deliver(target, progress)
    sent = 0 if delivery is None else delivery.payload_bytes
    if as_json:
        click.echo(json.dumps({"device": name, "bytes": sent}))
    elif delivery is None:
        click.echo(f"The board {name} runs that network already.")
    else:
        click.echo(f"The board {name} runs the network {delivery.network[:12]} ({sent:,} bytes).")
    return 0
