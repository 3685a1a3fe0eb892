"""`sel-edge logs`: what the service on a machine says."""

from __future__ import annotations

import click

from sel_edge.cli.remote import host_argument, ssh_option
from sel_edge.core.errors import DeployError
from sel_edge.deploy.ssh import Conversation
from sel_edge.report.wording import printable

NO_ENTRIES = "-- No entries --"
"""What journalctl prints instead of nothing."""


@click.command("logs")
@host_argument
@click.option(
    "-n",
    "--lines",
    type=click.IntRange(0, 100_000),
    default=100,
    show_default=True,
    help="The newest so many.",
)
@click.option("-f", "--follow", is_flag=True, help="Go on with new ones until Ctrl-C.")
@ssh_option
def command(host: str, lines: int, follow: bool, ssh_options: tuple[str, ...]) -> int:
    """Print the journal of the service on HOST."""
    is_empty = True
    with Conversation(host, ssh_options) as board:
        board.ask("logs", lines=lines, follow=follow)
        for line in board.lines():
            if line != NO_ENTRIES:
                click.echo(printable(line))
                is_empty = False
    if is_empty and lines and not follow:
        raise _nothing(host, ssh_options)
    return 0


def _nothing(host: str, ssh_options: tuple[str, ...]) -> DeployError:
    """Why there is no line: asked anew, because a broken connection looks the same."""
    with Conversation(host, ssh_options) as board:
        is_bare = board.ask("state").get("current") is None
    return DeployError(
        f"Nothing is deployed on {host}, and its journal has no line of an earlier release."
        if is_bare
        else f"The journal of {host} has no line of the service.",
        "",
        f"`sel-edge status {host}` shows what there is.",
    )
