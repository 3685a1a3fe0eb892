"""`sel-edge push`: send what was learned elsewhere to a microcontroller."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import click

from sel_edge.bundle.bundle import open_bundle
from sel_edge.bundle.domain import OWN
from sel_edge.bundle.keys import PublicKey, load_public_key, public_path
from sel_edge.cli.line import key_of, key_option, line_options, open_client, transfer_bar
from sel_edge.cli.machine import boards_folder
from sel_edge.cli.options import boards_option
from sel_edge.core.errors import ConfigError
from sel_edge.gateway.courier import Courier
from sel_edge.gateway.shelf import Shelf
from sel_edge.gateway.target import board_network, network_after
from sel_edge.runtime.network import Network
from sel_edge.runtime.slots import KEY_FILE


@click.command("push")
@click.argument("delta", type=click.Path(path_type=Path))
@click.argument("port")
@click.option(
    "--bundle", type=click.Path(path_type=Path), required=True, help="That the board was given."
)
@click.option(
    "--domain",
    type=click.IntRange(OWN),
    help="Where the board is, needed if the network knows several domains; 0 is the bundle's own.",
)
@click.option(
    "--signed-by",
    type=click.Path(path_type=Path),
    help="Public key of whoever made the delta; default: that of the state directory it lies in.",
)
@boards_option
@key_option
@line_options
@click.option("--json", "as_json", is_flag=True, help="Print the result as one JSON line.")
def command(
    delta: Path,
    port: str,
    bundle: Path,
    domain: int | None,
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
    folder = boards_folder(network, state)
    signer = _signer(delta, signed_by)
    learned = network_after(network, delta, {signer})
    target = board_network(image, learned, _chosen(domain, learned))
    with open_client(port, baud, timeout_s) as client:
        name = client.hello().device_id.hex()
        key = key_of(client, key_file)
        courier = Courier(client, key, image, Shelf(folder / name, image))
        with transfer_bar("delta") as progress:
            delivery = courier.deliver(target, progress)
    if as_json:
        told = None if delivery is None else asdict(delivery)
        click.echo(json.dumps({"device": name, "delivery": told}))
    elif delivery is None:
        click.echo(f"The board {name} runs that network already.")
    else:
        click.echo(
            f"The board {name} runs the network {delivery.network[:12]} "
            f"({delivery.payload_bytes:,} bytes were sent)."
        )
    return 0


def _chosen(domain: int | None, network: Network) -> int:
    """The domain in which a board is to run a network."""
    if domain is None and network.domains:
        known = ", ".join(map(str, (OWN, *network.domains)))
        raise ConfigError(
            f"The network knows the domains {known}.",
            "A microcontroller runs it in one of them; 0 is the bundle's own.",
            "Say with --domain where the board is.",
        )
    return OWN if domain is None else domain


def _signer(delta: Path, signed_by: Path | None) -> PublicKey:
    """Whose deltas are taken."""
    if not delta.is_file():
        raise ConfigError(
            f"There is no delta {delta}.",
            "A file in the slots/deltas of a state directory is expected.",
            "Check the path.",
        )
    beside = public_path(delta.resolve().parent.parent.parent / KEY_FILE)
    if signed_by is None and not beside.is_file():
        raise ConfigError(
            f"Who has signed {delta} is not known: there is no key {beside}.",
            "A delta in the slots/deltas of a state directory is expected, or a key.",
            "Name the public key of the device that made it with --signed-by.",
        )
    return load_public_key(signed_by or beside)
