"""What every command does that talks to a machine over SSH."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from sel_edge.deploy.target import destination
from sel_edge.report.wording import printable

KEY_FILE = Path(click.get_app_dir("sel-edge")) / "release.pem"
"""The private key that vouches for releases."""

ssh_option = click.option(
    "--ssh-option",
    "ssh_options",
    multiple=True,
    metavar="NAME=VALUE",
    help="An option of ssh, as in ~/.ssh/config, such as Port=2222.",
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON line a host.")
HOST_HELP = "USER@HOST, ssh://USER@HOST:PORT or a host of ~/.ssh/config"


def hosts_argument(command: Callable[..., Any]) -> Callable[..., Any]:
    """One host or more, each as ssh takes it."""
    return click.argument("hosts", nargs=-1, required=True, callback=_destinations)(command)


def host_argument(command: Callable[..., Any]) -> Callable[..., Any]:
    """One host, as ssh takes it."""
    return click.argument("host", callback=_destination)(command)


def speaker(host: str, is_aside: bool) -> Callable[[str], None]:
    """What says how far the work at a host is.

    Args:
        host: named before each line; "" for none.
        is_aside: standard output is kept for the result.
    """

    def say(line: str) -> None:
        # Leading spaces are a list's; everything else may come from the machine.
        indent = line[: len(line) - len(line.lstrip(" "))]
        click.echo(f"{host and f'{host}: '}{indent}{printable(line)}", err=is_aside)

    return say


def _destinations(context: object, option: object, hosts: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(destination(host) for host in hosts)


def _destination(context: object, option: object, host: str) -> str:
    return destination(host)
