"""Following a trial on a board until its verdict, whatever the connection does."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

from sel_edge.core.errors import DeployError
from sel_edge.deploy.ssh import Conversation, LostError

PAUSE_S = 0.5
LONGEST_S = 7 * 3600.0
"""Three cut attempts and the way back, each with the longest window."""
PATIENCE_S = 180.0
"""For a connection that broke to be there again."""


@dataclass(frozen=True)
class Verdict:
    """What came of a trial: `good` or `reverted`, or what made one unnecessary."""

    result: str
    reason: str = ""


def undecided(state: dict[str, Any]) -> dict[str, Any] | None:
    """The trial in a board's answer to `state`, if it has no verdict yet."""
    trial, last = state.get("trial"), state.get("last")
    if not isinstance(trial, dict):
        return None
    is_decided = isinstance(last, dict) and last.get("id") == trial.get("id")
    return None if is_decided else trial


def follow(
    board: Conversation, trial: str, options: Sequence[str], say: Callable[[str], None]
) -> Verdict:
    """Wait for the verdict.

    Args:
        board: the conversation in which the trial was begun.
        trial: its id.
        options: for ssh, to reach the board anew.
        say: takes what happens meanwhile.

    Raises:
        DeployError: the board is gone, or knows nothing of the trial. It decides all the same.
    """
    until_s = time.monotonic() + LONGEST_S
    with ExitStack() as stack:
        while time.monotonic() < until_s:
            try:
                verdict = _verdict(board.ask("trial"), trial)
            except LostError:
                say("the connection broke; the board decides by itself")
                board = stack.enter_context(_again(board.host, options))
                continue
            if verdict is not None:
                return verdict
            time.sleep(PAUSE_S)
    raise _unknown(board.host)


def _verdict(answer: dict[str, Any], trial: str) -> Verdict | None:
    last, open_ = answer.get("last"), answer.get("trial")
    if isinstance(last, dict) and last.get("id") == trial:
        result = "good" if last.get("outcome") == "good" else "reverted"
        reason = str(last.get("reason") or "")
        if last.get("restored") is False:
            reason += " The release before was switched back to, and is not ready either."
        return Verdict(result, reason)
    if isinstance(open_, dict) and open_.get("id") == trial:
        return None
    raise _unknown("The board")


def _again(host: str, options: Sequence[str]) -> Conversation:
    until_s = time.monotonic() + PATIENCE_S
    while True:
        try:
            return Conversation(host, options)
        except LostError:
            if time.monotonic() > until_s:
                raise
        time.sleep(PAUSE_S)


def _unknown(host: str) -> DeployError:
    return DeployError(
        f"{host} does not tell what came of the release.",
        "A verdict is expected within the health window.",
        "Look at it with `sel-edge status`.",
    )
