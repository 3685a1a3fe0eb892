"""`sel-edge logs`: what the service on a machine says."""

from __future__ import annotations

import click

from sel_edge.cli.remote import host_argument, ssh_option
from sel_edge.deploy.ssh import Conversation
from sel_edge.report.wording import printable


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
    with Conversation(host, ssh_options) as board:
        board.ask("logs", lines=lines, follow=follow)
        for line in board.lines():
            click.echo(printable(line))
    return 0
