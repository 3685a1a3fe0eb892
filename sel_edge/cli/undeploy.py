"""`sel-edge undeploy`: take a machine back what was deployed to it."""

from __future__ import annotations

import click

from sel_edge.cli.remote import host_argument, ssh_option
from sel_edge.deploy.ssh import Conversation


@click.command("undeploy")
@host_argument
@click.option(
    "--purge",
    is_flag=True,
    help="Remove what the device has learned and the keys it trusts as well.",
)
@ssh_option
def command(host: str, purge: bool, ssh_options: tuple[str, ...]) -> int:
    """Stop the service on HOST and remove every release.

    What the device has learned stays, so that a later deployment goes on from there; so do the
    keys that it trusts.
    """
    with Conversation(host, ssh_options) as board:
        board.ask("undeploy", purge=purge)
    left = "nothing" if purge else "what it has learned and the keys it trusts"
    click.echo(f"{host} runs no release any more; {left} is left.")
    return 0
