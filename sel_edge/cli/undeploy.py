"""`sel-edge undeploy`: take a machine back what was deployed to it."""

from __future__ import annotations

from pathlib import Path

import click

from sel_edge.bundle.keys import load_private_key
from sel_edge.cli.remote import KEY_FILE, host_argument, speaker, ssh_option
from sel_edge.deploy.patience import patiently, settled
from sel_edge.deploy.ssh import Conversation


@click.command("undeploy")
@host_argument
@click.option(
    "--purge",
    is_flag=True,
    help="Remove what the device has learned and the keys it trusts as well.",
)
@click.option(
    "--sign",
    type=click.Path(path_type=Path),
    default=KEY_FILE,
    help="Private key that the device trusts; for --purge. Default: the one of `sel-edge deploy`.",
)
@ssh_option
def command(host: str, purge: bool, sign: Path, ssh_options: tuple[str, ...]) -> int:
    """Stop the service on HOST and remove every release.

    What the device has learned stays, so that a later deployment goes on from there; so do the
    keys that it trusts: without any, it takes the next ones from anybody.
    """
    key = load_private_key(sign) if purge else None
    say = speaker("", True)
    with Conversation(host, ssh_options) as board:
        has_run = settled(board, say).get("current") is not None
        signature = board.signed(key, purge=True) if key else None
        patiently(lambda: board.ask("undeploy", purge=purge, signature=signature), say)
    if has_run:
        left = "nothing" if purge else "what it has learned and the keys it trusts"
        click.echo(f"{host} runs no release any more; {left} is left.")
    else:
        left = ", and nothing is left there" if purge else ""
        click.echo(f"Nothing is deployed on {host}{left}.")
    return 0
