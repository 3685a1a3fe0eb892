"""`sel-edge deploy`: bring a bundle to a machine over SSH, or to a microcontroller."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from sel_edge.cli.deploy_board import BOARD_OPTIONS, deploy_to_board
from sel_edge.cli.deploy_host import HOST_OPTIONS, deploy_to_hosts
from sel_edge.deploy.target import destination, is_port, read_hosts


def _options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Those of hosts, then those of boards."""
    for option in reversed([*HOST_OPTIONS.values(), *BOARD_OPTIONS.values()]):
        command = option(command)
    return command


@click.command("deploy")
@click.argument("target", required=False)
@click.option(
    "--bundle",
    type=click.Path(path_type=Path),
    required=True,
    help="What to bring; for a microcontroller, one that was exported with --target mcu.",
)
@_options
@click.option("--json", "as_json", is_flag=True, help="Print the result as one JSON line a host.")
@click.pass_context
def command(
    context: click.Context, /, target: str | None, bundle: Path, as_json: bool, **options: Any
) -> int:
    """Bring a bundle to TARGET: a machine over SSH, or a microcontroller at a port.

    A machine is USER@HOST, ssh://USER@HOST:PORT or a host of ~/.ssh/config, reached by your own
    OpenSSH without passwords. It gets a release: bundle, program and options together, signed,
    in a folder and an environment of its own. The release is switched to at once and watched; one
    that does not get healthy is gone back from, whatever becomes of the connection. What the
    device has learned stays. Doing it again changes nothing. Paths in --source are the machine's.

    A port is a serial one, such as /dev/ttyUSB0, the path of a pty, or socket://HOST:PORT. The
    model image of the bundle is installed there; --flash, --provision, --key, --baud and --timeout
    are for it alone. What the board was sent before belongs to its old image, and is not used with
    another one. An interrupted installation goes on where it was when it is started again.
    """
    hosts: Path | None = options["hosts"]
    if (target is None) == (hosts is None):
        raise click.UsageError("Give either TARGET or --hosts.")
    if target is not None and is_port(target):
        _refuse(context, HOST_OPTIONS, "a machine over SSH")
        chosen = {name: options[name] for name in BOARD_OPTIONS}
        return deploy_to_board(target, bundle, as_json, **chosen)
    _refuse(context, BOARD_OPTIONS, "a microcontroller")
    targets = read_hosts(hosts) if hosts is not None else [destination(str(target))]
    return deploy_to_hosts(targets, bundle, as_json, {name: options[name] for name in HOST_OPTIONS})


def _refuse(context: click.Context, names: Iterable[str], kind: str) -> None:
    """Refuse options that are for another kind of target."""
    flags = {parameter.name: parameter.opts[0] for parameter in context.command.params}
    given = [
        str(flags[name])
        for name in names
        if context.get_parameter_source(name) == ParameterSource.COMMANDLINE
    ]
    if given:
        raise click.UsageError(f"{', '.join(given)}: for {kind} only.")
