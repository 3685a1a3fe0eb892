"""How `sel-edge rollback` has a machine over SSH run an earlier release."""

from __future__ import annotations

from typing import Any

import click

from sel_edge.cli.remote import speaker
from sel_edge.core.errors import DeployError
from sel_edge.deploy.ssh import Conversation
from sel_edge.deploy.trial import follow
from sel_edge.report.wording import printable


def roll_back_host(host: str, to: str | None, is_dry: bool, ssh_options: tuple[str, ...]) -> int:
    """Switch a machine to the release that ran before, or to another one that is still there.

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
    with Conversation(host, ssh_options) as board:
        if is_dry:
            click.echo(f"{host} would run release {_earlier(board.ask('state'), to)[:12]}.")
            return 0
        trial = str(board.ask("rollback", to=to).get("trial"))
        verdict = follow(board, trial, ssh_options, speaker("", True))
    if verdict.result != "good":
        raise DeployError(
            f"The earlier release is no good on {host}: {verdict.reason}",
            "The machine has gone back to what it ran before.",
            f"`sel-edge logs {host}` shows what it said.",
        )
    click.echo(f"{host} runs the earlier release.")
    return 0


def _earlier(state: dict[str, Any], to: str | None) -> str:
    """Which release would be switched to, by what the machine says it has."""
    releases = state.get("releases") if to else [{"hash": state.get("previous")}]
    entries = releases if isinstance(releases, list) else []
    hashes = [printable(str(e["hash"])) for e in entries if isinstance(e, dict) and e.get("hash")]
    found = [name for name in hashes if name.startswith(to or "")]
    if len(found) != 1:
        raise DeployError(
            f"{len(found)} releases can be meant.",
            "One that ran before, or one that begins with these digits, is expected.",
            "`sel-edge status` shows what there is.",
        )
    return found[0]
