"""What every command does that talks to a microcontroller: open its port, know its key."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TimeRemainingColumn

from sel_edge.cli.finite import FiniteRange
from sel_edge.link.client import TIMEOUT_S, Client
from sel_edge.link.keys import open_host_key
from sel_edge.link.transport import BAUD, LineTransport
from sel_edge.mcu.keys import device_key

KEY_FILE = Path(click.get_app_dir("sel-edge")) / "host.key"

baud_option = click.option(
    "--baud", type=click.IntRange(9600), default=BAUD, show_default=True, help="Of a serial port."
)
timeout_option = click.option(
    "--timeout",
    "timeout_s",
    type=FiniteRange(0.1, 3600),
    default=TIMEOUT_S,
    show_default=True,
    help="Seconds without any answer.",
)
key_option = click.option(
    "--key",
    "key_file",
    type=click.Path(path_type=Path),
    default=KEY_FILE,
    help="This host's key, from which each board's is made; made at first use. Default: host.key "
    "in the folder for this program's settings.",
)


def line_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options of a port."""
    return baud_option(timeout_option(command))


@contextmanager
def open_client(port: str, baud: int, timeout_s: float) -> Iterator[Client]:
    """The board at a port.

    Args:
        port: of a serial line, a pty's path, or socket://HOST:PORT.
        baud: of a serial line.
        timeout_s: longest time without any answer.

    Raises:
        LinkError: the port cannot be opened.
    """
    transport = LineTransport(port, baud)
    try:
        yield Client(transport, timeout_s)
    finally:
        transport.close()


def key_of(client: Client, key_file: Path) -> bytes:
    """The key of a board, 32 bytes, made of the host's."""
    return device_key(open_host_key(key_file), client.hello().device_id)


@contextmanager
def transfer_bar(what: str) -> Iterator[Callable[[int, int], None]]:
    """A progress bar on stderr that a transfer tells how far it is, if that is a terminal."""
    console = Console(stderr=True)
    columns = ("{task.description}", BarColumn(), DownloadColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task(what, total=None)
        yield lambda arrived, total: bar.update(task, completed=arrived, total=total)
