"""How `sel-edge deploy` brings a release to machines over SSH."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from sel_edge.bundle.bundle import open_bundle
from sel_edge.bundle.keys import load_public_key, open_key, public_path
from sel_edge.cli.options import budget_option, chosen_rungs, threads_option
from sel_edge.cli.remote import KEY_FILE, speaker, ssh_option
from sel_edge.core.budget import load_budget
from sel_edge.core.errors import ConfigError, DeployError
from sel_edge.data.cache import cache_directory
from sel_edge.deploy.deployment import Deployment, Order, Outcome
from sel_edge.deploy.fleet import GOOD, deploy_fleet
from sel_edge.deploy.release import Health
from sel_edge.deploy.target import host_name
from sel_edge.deploy.unit import Service
from sel_edge.report.wording import printable
from sel_edge.serve.mqtt.settings import MqttSettings
from sel_edge.serve.sources.named import check_source

EVERYWHERE = ("0.0.0.0", "::")  # noqa: S104 - only compared with
_SECONDS = click.IntRange(1, 3600)

HOST_OPTIONS: dict[str, Callable[..., Any]] = {
    "source": click.option(
        "--source", help="Where frames come from, as `sel-edge serve --source` takes it; required."
    ),
    "port": click.option(
        "--port",
        type=click.IntRange(1, 65535),
        default=8765,
        show_default=True,
        help="Of the page, on the machine.",
    ),
    "listen": click.option(
        "--listen",
        metavar="ADDRESS",
        default="127.0.0.1",
        show_default=True,
        help="Where the page listens. All but loopback needs a token, which the machine makes.",
    ),
    "allow_host": click.option(
        "--allow-host",
        multiple=True,
        metavar="NAME",
        help="A name by which browsers may call the machine.",
    ),
    "name": click.option("--name", help="Of the device, on its page."),
    "budget": budget_option,
    "profile": click.option("--profile", metavar="NAME", help="Board profile; default: detected."),
    "threads": threads_option,
    "rungs": click.option("--rungs", help="As `sel-edge serve --rungs`."),
    "mqtt": click.option("--mqtt", metavar="URL", help="As `sel-edge serve --mqtt`."),
    "mqtt_password_file": click.option(
        "--mqtt-password-file", metavar="PATH", help="A file that is on the machine already."
    ),
    "memory": click.option(
        "--memory",
        default="75%",
        show_default=True,
        help="Most memory of the service: bytes with K, M or G, or a share.",
    ),
    "cpu": click.option(
        "--cpu",
        type=click.IntRange(1, 100_000),
        help="Most processor time in percent, 100 for each core; default: nine tenths of all.",
    ),
    "sign": click.option(
        "--sign",
        type=click.Path(path_type=Path),
        default=KEY_FILE,
        help="Private key that vouches for the release; made at first use. Default: release.pem in "
        "the folder for this program's settings.",
    ),
    "trust": click.option(
        "--trust",
        type=click.Path(path_type=Path),
        multiple=True,
        metavar="KEY.pub.pem",
        help="A public key whose releases the machine takes from now on. It takes the first ones "
        "from anybody, later ones from who has one of them.",
    ),
    "wheels": click.option(
        "--wheels",
        type=click.Path(path_type=Path, exists=True, file_okay=False),
        help="Folder of ready wheels, sel-edge's and pip's among them; default: they are chosen.",
    ),
    "index": click.option(
        "--index/--offline",
        default=None,
        help="Let the machine's pip ask its index, or send every wheel along; default: as before, "
        "at first by whether the machine has internet.",
    ),
    "system_packages": click.option(
        "--system-packages",
        is_flag=True,
        help="Let the service see the machine's own Python packages, as picamera2 is one.",
    ),
    "ready_within": click.option(
        "--ready-within",
        type=_SECONDS,
        default=Health.ready_s,
        show_default=True,
        help="Seconds until the service must be ready.",
    ),
    "watch_for": click.option(
        "--watch-for",
        type=_SECONDS,
        default=Health.watch_s,
        show_default=True,
        help="Seconds that it is watched from then on.",
    ),
    "hosts": click.option(
        "--hosts",
        type=click.Path(path_type=Path),
        help="File with a host on each line, instead of TARGET; the first one is the canary.",
    ),
    "jobs": click.option(
        "--jobs",
        type=click.IntRange(1, 100),
        default=4,
        show_default=True,
        help="Hosts at a time, after the canary.",
    ),
    "ssh_options": ssh_option,
    "dry_run": click.option("--dry-run", is_flag=True, help="Only say what would be changed."),
}
"""Parameter -> option, in the order of the help."""


def deploy_to_hosts(
    targets: Sequence[str], bundle: Path, as_json: bool, options: dict[str, Any]
) -> int:
    """Deploy to one host or several, and say what came of it.

    Args:
        targets: as ssh takes them, at least one.
        bundle: that is to run there.
        as_json: print the outcomes as JSON lines.
        options: values of `HOST_OPTIONS`.

    Returns:
        The exit code.

    Raises:
        SelEdgeError: one host was asked for, and it is not good.
    """
    order = _order(bundle, options)
    is_fleet = options["hosts"] is not None

    def deploy(host: str) -> Outcome:
        say = speaker(host if is_fleet else "", as_json)
        return Deployment(host, order, say).run(options["dry_run"])

    jobs = options["jobs"]
    outcomes = deploy_fleet(targets, jobs, deploy) if is_fleet else [deploy(targets[0])]
    if as_json:
        for outcome in outcomes:
            click.echo(json.dumps(_fields(outcome)))
    elif is_fleet:
        for line in _table(outcomes):
            click.echo(line)
    else:
        _say_result(outcomes[0], order.service)
    return 0 if all(outcome.result in GOOD for outcome in outcomes) else DeployError.exit_code


def _order(bundle: Path, options: dict[str, Any]) -> Order:
    if not options["source"]:
        raise click.UsageError("Missing option '--source': a host has to know its frames.")
    check_source(options["source"])
    return Order(
        bundle=open_bundle(bundle),
        key=open_key(options["sign"]),
        public_key=public_path(options["sign"]),
        service=Service(
            source=options["source"],
            host=options["listen"],
            port=options["port"],
            options=_serve_options(options),
            memory=options["memory"],
            cpu_percent=options["cpu"],
        ),
        cache=cache_directory() / "wheels",
        wheels=options["wheels"],
        index=options["index"],
        trust=tuple(load_public_key(path) for path in options["trust"]),
        budget=_whole_budget(options["budget"]),
        system_packages=options["system_packages"],
        health=Health(options["ready_within"], options["watch_for"]),
        ssh_options=options["ssh_options"],
    )


def _serve_options(options: dict[str, Any]) -> tuple[tuple[str, str], ...]:
    if options["rungs"]:
        chosen_rungs(options["rungs"])
    if options["mqtt"]:  # a password in it would be copied to many places
        MqttSettings(options["mqtt"], None, options["name"] or "device")
    given = [("allow-host", name) for name in options["allow_host"]]
    for name in ("name", "profile", "threads", "rungs", "mqtt", "mqtt_password_file"):
        if options[name] is not None:
            given.append((name.replace("_", "-"), str(options[name])))
    return tuple(given)


def _whole_budget(path: Path | None) -> Path | None:
    """A budget that can be read here and needs no other file there."""
    if path is None:
        return None
    load_budget(path)
    if tomllib.loads(path.read_text(encoding="utf-8")).get("refill", {}).get("kind") == "csv":
        raise ConfigError(
            f"The refill of {path} is in another file.",
            "A release holds one file for the budget.",
            "Describe the refill by another kind.",
        )
    return path


def _say_result(outcome: Outcome, service: Service) -> None:
    name = outcome.release[:12]
    if outcome.result == "unchanged":
        click.echo(f"{outcome.host} runs release {name} already; nothing was changed.")
    elif outcome.result == "good":
        click.echo(f"{outcome.host} runs release {name}, {outcome.seconds:.0f} s from the start.")
        for line in _ways_in(outcome.host, service):
            click.echo(line)
    elif outcome.result == "reverted":
        raise DeployError(
            f"Release {name} is no good on {outcome.host}: {outcome.reason}",
            "The machine has gone back to what it ran before.",
            f"`sel-edge logs {outcome.host}` shows what it said.",
        )


def _ways_in(host: str, service: Service) -> list[str]:
    """How to see the page."""
    if not service.needs_token:
        tunnel = f"ssh -L {service.port}:127.0.0.1:{service.port} {host}"
        return [f"Its page: http://127.0.0.1:{service.port} here, while `{tunnel}` runs."]
    name = host_name(host) if service.host in EVERYWHERE else host_name(service.host)
    token = f"ssh {host} cat .local/share/sel-edge/token"
    return [
        f"Its page: http://{name}:{service.port} in its network.",
        f"It asks for the token that `{token}` shows.",
    ]


def _fields(outcome: Outcome) -> dict[str, Any]:
    plan = outcome.plan.as_dict() if outcome.plan else None
    return {**asdict(outcome), "checks": [asdict(c) for c in outcome.checks], "plan": plan}


def _table(outcomes: Sequence[Outcome]) -> list[str]:
    """One line for each host."""
    rows = [("host", "result", "release", "seconds", "reason")]
    rows += [
        (o.host, o.result, o.release[:12] or "-", f"{o.seconds:.0f}", printable(o.reason))
        for o in outcomes
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    padded = [
        "  ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[4]])
        for row in rows
    ]
    good = sum(outcome.result in GOOD for outcome in outcomes)
    return [*(line.rstrip() for line in padded), f"{good} of {len(outcomes)} are good."]
