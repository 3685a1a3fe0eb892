"""`sel-edge status`: what machines over SSH run, and how they are."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import click

from sel_edge.cli.remote import hosts_argument, json_option, ssh_option
from sel_edge.core.errors import DeployError, SelEdgeError
from sel_edge.deploy.ssh import Conversation
from sel_edge.deploy.trial import undecided
from sel_edge.report.wording import printable


@click.command("status")
@hosts_argument
@ssh_option
@json_option
def command(hosts: tuple[str, ...], ssh_options: tuple[str, ...], as_json: bool) -> int:
    """Say which release HOSTS run, how the service is, and what the last deployment came to.

    The exit code is not 0 if a host cannot be reached, or if what was deployed to it is not ready.
    """
    code = 0
    for host in hosts:
        try:
            with Conversation(host, ssh_options) as board:
                state = board.ask("state")
        except SelEdgeError as error:
            code = error.exit_code
            told: dict[str, Any] = {"host": host, "error": str(error)}
        else:
            told = {"host": host, **_summary(state)}
            code = code if told["ready"] or told["release"] is None else DeployError.exit_code
        if as_json:
            click.echo(json.dumps(told))
        else:
            for line in _in_words(told):
                click.echo(printable(line))
    return code


def _summary(state: dict[str, Any]) -> dict[str, Any]:
    """What of an agent's answer to `state` a person wants to know; nothing in it is believed."""
    readyz, service, last = (_table(state.get(name)) for name in ("readyz", "service", "last"))
    releases = state.get("releases")
    entries = [_table(one) for one in releases] if isinstance(releases, list) else []
    trial = undecided(state) or {}
    return {
        "release": state.get("current"),
        "previous": state.get("previous"),
        "releases": [str(one.get("hash")) for one in entries],
        "reverted": [str(one.get("hash")) for one in entries if one.get("outcome") == "reverted"],
        "ready": readyz.get("ready") is True,
        "service": service.get("ActiveState"),
        "restarts": service.get("NRestarts"),
        "frames": readyz.get("frames"),
        "errors": readyz.get("errors"),
        "phase": readyz.get("phase"),
        "error": readyz.get("error"),
        "bundle": readyz.get("bundle"),
        "trial": trial.get("release"),
        "is_reverting": trial.get("phase") == "revert",
        "last": last or None,
        "keys": state.get("keys"),
    }


def _in_words(told: dict[str, Any]) -> list[str]:
    host = told["host"]
    if "ready" not in told:
        return [told["error"]]
    if told["release"] is None:
        lines = [f"{host}: nothing is deployed."]
    else:
        how = "ready" if told["ready"] else "not ready"
        lines = [
            f"{host}: release {str(told['release'])[:12]} is {how}; service {told['service']}, "
            f"{told['restarts']} restarts, {told['frames']} frames, {told['errors']} errors."
        ]
    others = [name for name in told["releases"] if name not in (told["release"], told["trial"])]
    if good := [name[:12] for name in others if name not in told["reverted"]]:
        lines.append(f"{host}: it can go back to {', '.join(good)}.")
    if bad := [name[:12] for name in others if name in told["reverted"]]:
        lines.append(f"{host}: it has gone back from {', '.join(bad)}.")
    if told["error"]:
        lines.append(f"{host}: it says: {told['error']}")
    if told["trial"]:
        how = "no good, and is gone back from" if told["is_reverting"] else "on trial"
        lines.append(f"{host}: release {str(told['trial'])[:12]} is {how}.")
    if told["last"]:
        lines.append(f"{host}: last deployment: {_last(told['last'])}")
    return lines


def _last(entry: dict[str, Any]) -> str:
    time = entry.get("time")
    when = ""
    if isinstance(time, int) and 0 <= time < 2**33:
        when = f", {datetime.fromtimestamp(time, UTC):%Y-%m-%d %H:%M} UTC"
    reason = f": {entry['reason']}" if entry.get("reason") else "."
    return f"release {str(entry.get('release'))[:12]}{when}, {entry.get('outcome')}{reason}"


def _table(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
