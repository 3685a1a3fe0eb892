"""`sel-edge gateway`: learn on this host for the microcontrollers at its ports."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path

import click
from rich.console import Console

from sel_edge.bundle.bundle import Bundle, open_bundle
from sel_edge.cli.finite import FiniteRange
from sel_edge.cli.line import key_of, key_option, line_options, open_client
from sel_edge.cli.machine import boards_folder, given_budget, named_board
from sel_edge.cli.options import (
    boards_option,
    budget_option,
    chosen_rungs,
    profile_option,
    threads_option,
)
from sel_edge.cli.signals import stop_on_signal
from sel_edge.core.budget import Budget
from sel_edge.core.errors import SelEdgeError
from sel_edge.core.ledger import LEDGER_FILE, LedgerWriter
from sel_edge.gateway.courier import Courier, require_image
from sel_edge.gateway.gateway import Gateway, Sampling, Step
from sel_edge.gateway.shelf import Shelf
from sel_edge.link.keys import open_host_key
from sel_edge.mcu.image import Image
from sel_edge.report.wording import printable
from sel_edge.runtime.board import Board
from sel_edge.runtime.config import RuntimeConfig
from sel_edge.runtime.opening import NamedSource, open_runtime
from sel_edge.runtime.session import spare_memory

LONGEST_PAUSE_S = 60.0
"""Between two attempts to serve a board that cannot be served."""
NAP_S = 0.1
"""Longest time in which nobody asks whether it is to stop."""


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
    """One port. A board that cannot be served, whatever the reason, is tried again and again.

    Args:
        port: of the board.
        settings: that hold for every board.

    Attributes:
        name: of the board that was there last; "" before the first.
        trouble: why it cannot be served just now; None if it can.
        news: full sentences that nobody was told yet.
    """

    def __init__(self, port: str, settings: Settings) -> None:
        self.port, self._settings = port, settings
        self.name = ""
        self.trouble: SelEdgeError | None = None
        self.news: list[str] = []
        self._stack = ExitStack()
        self._gateway: Gateway | None = None
        self._pause_s, self._not_before_s = 1.0, 0.0

    def serve(self) -> Step | None:
        """Look at the board once; None while it is left alone because of its trouble.

        Raises:
            SelEdgeError: it cannot be served, and is left alone for a while.
        """
        if time.monotonic() < self._not_before_s:
            return None
        try:
            if self._gateway is None:
                self._gateway = self._open()
            step = self._gateway.step()
        except SelEdgeError as error:
            self.trouble = error
            self._not_before_s = time.monotonic() + self._pause_s
            self._pause_s = min(2 * self._pause_s, LONGEST_PAUSE_S)
            self.close()
            raise
        self.trouble, self._pause_s = None, 1.0
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
        require_image(client.status(), own.image)
        folder = own.state / self.name
        ledger = self._stack.enter_context(LedgerWriter(folder / LEDGER_FILE))
        source = NamedSource(f"board {self.name}")
        runtime = self._stack.enter_context(
            open_runtime(
                own.bundle, ledger, own.machine, source, own.budget, own.threads, own.config
            )
        )
        courier = Courier(client, key_of(client, own.key_file), own.image, Shelf(folder, own.image))
        how = f"The board is served; answer for its frames with `sel-edge label {folder}`."
        self.news += [how, *runtime.notes]
        sampling = Sampling(own.least_embarrassment, own.per_minute)
        return Gateway(own.bundle, runtime, client, courier, sampling)


@click.command("gateway")
@click.argument("ports", nargs=-1, required=True)
@click.option(
    "--bundle", type=click.Path(path_type=Path), required=True, help="That the boards were given."
)
@boards_option
@click.option(
    "--least",
    "least_nats",
    type=FiniteRange(0.0, 255.0),
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
    type=FiniteRange(0.01, 3600),
    default=1.0,
    show_default=True,
    help="Seconds between two looks at a board that had nothing new.",
)
@click.option(
    "--for", "for_s", type=FiniteRange(0.0), help="Seconds to run; default: until Ctrl-C."
)
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
    state: Path | None,
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

    Takes the frames that embarrass a board, learns from them and from the labels that `sel-edge
    label` brings, and sends the board what differs once an update was kept. Each board has a
    state directory of its own, STATE/BOARD, which `sel-edge label`, `history` and `report` take. A
    board that does not answer is tried again until it is back. Ctrl-C stops after the work under
    way.
    """
    spare_memory()
    network = open_bundle(bundle)
    open_host_key(key_file)  # one that cannot be used is said at once
    settings = Settings(
        bundle=network,
        image=network.mcu_image(),
        state=boards_folder(network, state),
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
    end_s = math.inf if for_s is None else time.monotonic() + for_s
    posts = [Post(port, settings) for port in ports]
    with stop_on_signal() as stop, ExitStack() as stack:
        for post in posts:
            stack.callback(post.close)

        def is_over() -> bool:
            return stop() or time.monotonic() >= end_s

        while not is_over():
            served = [_served(post, as_json) for post in posts if not stop()]
            if not any(served):
                _rest(every_s, is_over)
    return next((post.trouble.exit_code for post in posts if post.trouble), 0)


def _rest(seconds: float, is_over: Callable[[], bool]) -> None:
    until_s = time.monotonic() + seconds
    while not is_over() and (left_s := until_s - time.monotonic()) > 0:
        time.sleep(min(left_s, NAP_S))


def _served(post: Post, as_json: bool) -> bool:
    """Serve a board and say what happened; whether anything did."""
    try:
        step = post.serve()
    except SelEdgeError as error:
        _say(post, {"error": str(error)}, [str(error)], as_json)
        return False
    for sentence in post.news:
        _say(post, {"news": sentence}, [sentence], as_json)
    post.news.clear()
    if step is None or step == Step():
        return False
    _say(post, asdict(step), _in_words(step), as_json)
    return True


def _say(post: Post, fields: dict[str, object], lines: list[str], as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps({"board": post.name, "port": post.port, **fields}))
        return
    for line in lines:
        text = printable(f"{post.name or post.port}: {line}")
        Console(stderr=True).print(text, highlight=False, markup=False, soft_wrap=True)


def _in_words(step: Step) -> list[str]:
    lines = [f"{decision.kind}: {decision.reason}" for decision in step.decisions]
    if step.delivery is not None:
        lines.append(
            f"sent: {step.delivery.payload_bytes:,} bytes; the board runs "
            f"{step.delivery.network[:12]}"
        )
    return [*lines, step.note] if step.note else lines
