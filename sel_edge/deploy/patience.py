"""Waiting for a board that is busy with another deployment."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, TypeVar

from sel_edge.deploy.ssh import Conversation, RefusedByBoardError

PATIENCE_S = 600.0
PAUSE_S = 1.0

Say = Callable[[str], None]
Answer = TypeVar("Answer")


def settled(board: Conversation, say: Say) -> dict[str, Any]:
    """The state of a board, once no release is on trial any more.

    Args:
        board: to ask.
        say: takes what is waited for.
    """
    until_s, state = time.monotonic() + PATIENCE_S, board.ask("state")
    if state.get("trial"):
        say("a release is on trial; waiting for its end")
    while state.get("trial") and time.monotonic() < until_s:
        time.sleep(PAUSE_S)
        state = board.ask("state")
    return state


def patiently(ask: Callable[[], Answer], say: Say) -> Answer:
    """Ask again while the board is busy with another deployment.

    Args:
        ask: asks once.
        say: takes what is waited for.

    Raises:
        RefusedByBoardError: the answer is no, or it is busy for too long.
    """
    until_s, is_told = time.monotonic() + PATIENCE_S, False
    while True:
        try:
            return ask()
        except RefusedByBoardError as error:
            if error.reason != "busy" or time.monotonic() > until_s:
                raise
            if not is_told:
                say(f"{error.found} Waiting for it to end.")
                is_told = True
        time.sleep(PAUSE_S)
