"""`sel-edge gateway`: learn on this host for the microcontrollers at its ports."""

from __future__ import annotations

import json
import time
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path

import click
from rich.console import Console

from sel_edge.bundle.bundle import Bundle, open_bundle
from sel_edge.cli.line import key_of, key_option, line_options, open_client
from sel_edge.cli.machine import NamedSource, given_budget, named_board, open_runtime
from sel_edge.cli.options import budget_option, chosen_rungs, profile_option, threads_option
from sel_edge.cli.signals import stop_on_signal
from sel_edge.core.budget import Budget
from sel_edge.core.errors import ConfigError, LinkError
from sel_edge.core.ledger import LEDGER_FILE, LedgerWriter
from sel_edge.gateway.courier import Courier
from sel_edge.gateway.gateway import Gateway, Step
from sel_edge.gateway.shelf import Shelf
from sel_edge.mcu.image import Image
from sel_edge.report.wording import printable
from sel_edge.runtime.board import Board
from sel_edge.runtime.config import RuntimeConfig
from sel_edge.runtime.session import spare_memory

SENT = "sent"
"""Folder of what a board was sent, in its state directory."""
LONGEST_PAUSE_S = 60.0
"""Between two attempts to reach a board that does not answer."""


@dataclass(frozen=True)
class Settings:
    """What holds for every board.

    Attributes:
        bundle, image: that the boards were given.
        state: where the directory of each board is made.
        key_file: of this host.
        baud, timeout_s: of the lines.
        budget: what learning for one board may cost.
        machine: this one.
        config: of the runtimes.
        threads: of the engines.
        least_embarrassment: of a sample, 1/256 nat.
        per_minute: samples that a board may take.
    """

    bundle: Bundle
    image: Image
    state: Path
    key_file: Path
    baud: int
    timeout_s: float
    budget: Budget
    machine: Board
    config: RuntimeConfig
    threads: int | None
    least_embarrassment: int
    per_minute: int


class Post:
    """One port. A board that goes away is served again once it is back.

    Args:
        port: of the board.
        settings: that hold for every board.
    """

    def __init__(self, port: str, settings: Settings) -> None:
        self.port, self._settings = port, settings
        self.name = ""
        self._stack = ExitStack()
        self._gateway: Gateway | None = None
        self._pause_s, self._not_before_s = 1.0, 0.0

    def serve(self) -> Step | None:
        """Look at the board once; None while it is left alone because it did not answer.

        Raises:
            LinkError: it does not answer, or refuses; it is left alone for a while.
        """
        if time.monotonic() < self._not_before_s:
            return None
        try:
            if self._gateway is None:
                self._gateway = self._open()
            step = self._gateway.step()
        except LinkError:
            self.close()
            self._not_before_s = time.monotonic() + self._pause_s
            self._pause_s = min(2 * self._pause_s, LONGEST_PAUSE_S)
            raise
        self._pause_s = 1.0
        return step

    def close(self) -> None:
        """Let the board and its state directory go."""
        self._gateway = None
        stack, self._stack = self._stack, ExitStack()
        stack.close()

    def _open(self) -> Gateway:
        own = self._settings
        client = self._stack.enter_context(open_client(self.port, own.baud, own.timeout_s))
        self.name = client.hello().device_id.hex()
        folder = own.state / self.name
        _require_image(self.port, client.status().image.hex(), own.image.hash)
        ledger = self._stack.enter_context(LedgerWriter(folder / LEDGER_FILE))
        source = NamedSource(f"board {self.name}")
        runtime = self._stack.enter_context(
            open_runtime(
                own.bundle, ledger, own.machine, source, own.budget, own.threads, own.config
            )
        )
        client.set_time()
        client.set_sampling(own.least_embarrassment, own.per_minute)
        key = key_of(client, own.key_file)
        courier = Courier(client, key, own.image, Shelf(folder / SENT, own.image))
        return Gateway(own.bundle, own.image, runtime, client, courier)


@click.command("gateway")
@click.argument("ports", nargs=-1, required=True)
@click.option(
    "--bundle", type=click.Path(path_type=Path), required=True, help="That the boards were given."
)
@click.option(
    "--state",
    type=click.Path(path_type=Path),
    required=True,
    help="A state directory for each board is made in it, named by the board; `sel-edge label`, "
    "`history` and `report` take them.",
)
@click.option(
    "--least",
    "least_nats",
    type=click.FloatRange(0.0, 255.0),
    default=0.5,
    show_default=True,
    help="Embarrassment in nats from which on a board keeps a frame for a label.",
)
@click.option(
    "--per-minute",
    type=click.IntRange(0, 65535),
    default=60,
    show_default=True,
    help="Samples that a board may take.",
)
@click.option(
    "--every",
    "every_s",
    type=click.FloatRange(0.01, 3600),
    default=1.0,
    show_default=True,
    help="Seconds between two looks at a board that had nothing new.",
)
@click.option("--for", "for_s", type=click.FloatRange(0.0), help="Seconds to run; default: on.")
@click.option("--rungs", default=",".join(RuntimeConfig.rungs), show_default=True, help="To use.")
@key_option
@line_options
@budget_option
@profile_option
@threads_option
@click.option("--json", "as_json", is_flag=True, help="Print what happens as JSON lines.")
def command(
    ports: tuple[str, ...],
    bundle: Path,
    state: Path,
    least_nats: float,
    per_minute: int,
    every_s: float,
    for_s: float | None,
    rungs: str,
    key_file: Path,
    baud: int,
    timeout_s: float,
    budget: Path | None,
    profile: str | None,
    threads: int | None,
    as_json: bool,
) -> int:
    """Serve the microcontrollers at PORTS: samples up, learning here, changed channels down.

    Takes the frames that embarrass a board, learns from them and from the labels that
    `sel-edge label STATE/BOARD` brings, and sends the board what differs once an update was kept.
    Each board has a ledger of its own. A board that is gone is served again when it is back.
    """
    spare_memory()
    network = open_bundle(bundle)
    settings = Settings(
        bundle=network,
        image=network.mcu_image(),
        state=state,
        key_file=key_file,
        baud=baud,
        timeout_s=timeout_s,
        budget=given_budget(budget),
        machine=named_board(profile),
        # A microcontroller cannot filter its frames.
        config=RuntimeConfig(rungs=chosen_rungs(rungs), lenses=False),
        threads=threads,
        least_embarrassment=round(256 * least_nats),
        per_minute=per_minute,
    )
    end_s = None if for_s is None else time.monotonic() + for_s
    posts = [Post(port, settings) for port in ports]
    with stop_on_signal() as stop, ExitStack() as stack:
        for post in posts:
            stack.callback(post.close)
        while not stop() and (end_s is None or time.monotonic() < end_s):
            served = [_served(post, as_json) for post in posts]
            if not any(served):
                time.sleep(every_s)
    return 0


def _served(post: Post, as_json: bool) -> bool:
    """Serve a board and say what happened; whether anything did."""
    try:
        step = post.serve()
    except LinkError as error:
        _say(post, {"error": str(error)}, [str(error)], as_json)
        return False
    if step is None or step == Step():
        return False
    _say(post, asdict(step), _in_words(step), as_json)
    return True


def _say(post: Post, fields: dict[str, object], lines: list[str], as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps({"board": post.name, "port": post.port, **fields}))
        return
    for line in lines:
        text = printable(f"{post.name or post.port}  {line}")
        Console(stderr=True).print(text, highlight=False, markup=False, soft_wrap=True)


def _in_words(step: Step) -> list[str]:
    lines = [f"{decision.kind}: {decision.reason}" for decision in step.decisions]
    if step.delivery is not None:
        lines.append(
            f"sent: {step.delivery.payload_bytes:,} bytes; the board runs "
            f"{step.delivery.network[:12]}"
        )
    return [*lines, step.note] if step.note else lines


def _require_image(port: str, found: str, expected: str) -> None:
    if found != expected:
        raise ConfigError(
            f"The board at {port} has the model image {found[:12]}.",
            f"The bundle's is {expected[:12]}.",
            "Name the bundle that the board was given, or install this one with `sel-edge deploy`.",
        )
