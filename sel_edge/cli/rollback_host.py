"""How `sel-edge rollback` has a machine over SSH run an earlier release."""

from __future__ import annotations

from typing import Any

import click

from sel_edge.cli.remote import speaker
from sel_edge.core.errors import DeployError
from sel_edge.deploy.patience import patiently, settled
from sel_edge.deploy.ssh import Conversation
from sel_edge.deploy.trial import follow, undecided
from sel_edge.report.wording import printable


def roll_back_host(host: str, to: str | None, is_dry: bool, ssh_options: tuple[str, ...]) -> int:
    """Switch a machine to the release that ran before, or to another one that is still there.

    While another release is on trial, that is the one that ran before the trial, whatever this one
    comes to.

    Args:
        host: as ssh takes it.
        to: first digits of the release's hash; None is the one before.
        is_dry: only say what would be switched to.
        ssh_options: for ssh.

    Returns:
        The exit code.

    Raises:
        DeployError: there is no such release, or it is no good any more.
    """
    say = speaker("", True)
    with Conversation(host, ssh_options) as board:
        name = _earlier(host, board.ask("state"), to)
        if is_dry:
            click.echo(f"{host} would run release {name[:12]}.")
            return 0
        if settled(board, say).get("current") == name:
            click.echo(f"{host} runs release {name[:12]} already.")
            return 0
        started = patiently(lambda: board.ask("rollback", to=name), say)
        verdict = follow(board, str(started.get("trial")), ssh_options, say)
    if verdict.result != "good":
        raise DeployError(
            f"The earlier release is no good on {host}: {verdict.reason}",
            "The machine has gone back to what it ran before.",
            f"`sel-edge logs {host}` shows what it said.",
        )
    click.echo(f"{host} runs release {name[:12]}.")
    return 0


def _earlier(host: str, state: dict[str, Any], to: str | None) -> str:
    """Which release is meant, by what the machine says it has."""
    trial = undecided(state)
    if to is None:
        previous = trial.get("previous") if trial else state.get("previous")
        if previous:
            return printable(str(previous))
        is_bare = state.get("current") is None
        raise _not_one(
            f"Nothing is deployed on {host}." if is_bare else f"No other release ran on {host} yet."
        )
    releases = state.get("releases")
    entries = releases if isinstance(releases, list) else []
    hashes = [printable(str(e["hash"])) for e in entries if isinstance(e, dict) and e.get("hash")]
    found = [name for name in hashes if name.startswith(to)]
    if len(found) != 1 or not to:
        raise _not_one(f"{len(found)} releases on {host} begin with {to!r}.")
    return found[0]


def _not_one(found: str) -> DeployError:
    return DeployError(
        found,
        "One that ran before, or one that begins with the digits of --to, is expected.",
        "`sel-edge status` shows what there is.",
    )
