"""`sel-edge adapt`: learn now from the labels that a device has."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import click

from sel_edge.bundle.bundle import open_bundle
from sel_edge.cli.machine import given_budget, named_board
from sel_edge.cli.options import budget_option, profile_option, threads_option
from sel_edge.core.errors import RunDirectoryError
from sel_edge.core.files import storage_errors
from sel_edge.core.ledger import LEDGER_FILE, LedgerWriter
from sel_edge.report.costs import of_updates
from sel_edge.report.story import cost_words
from sel_edge.report.wording import changed, counted, duration, printable, scaled
from sel_edge.runtime.learn_now import NOTHING, Step, learn_now, price
from sel_edge.runtime.loop import Runtime
from sel_edge.runtime.opening import NamedSource, begin_session

SOURCE = "sel-edge adapt"
"""In place of a stream: of such a session the frames are those that were there before."""


@click.command("adapt")
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option(
    "--state",
    type=click.Path(path_type=Path),
    required=True,
    help="The state directory of `sel-edge run`, which must be stopped.",
)
@budget_option
@profile_option
@threads_option
@click.option("--dry-run", is_flag=True, help="Only say what would be learned, and its price.")
@click.option("--json", "as_json", is_flag=True, help="Print everything as one JSON line.")
def command(
    bundle: Path,
    state: Path,
    budget: Path | None,
    profile: str | None,
    threads: int | None,
    dry_run: bool,
    as_json: bool,
) -> int:
    """Learn now from all labels in a state directory, whatever the triggers say.

    The labels are those that came with frames and the answers given with `sel-edge label`. Says
    what is planned, what it is predicted to take and what the wallet says; then does it, judges it
    and says what it took. What does not help is not kept, as always.
    """
    network, limits, board = open_bundle(bundle), given_budget(budget), named_board(profile)
    with (
        _opened(state, dry_run) as folder,
        LedgerWriter(folder / LEDGER_FILE) as ledger,
        Runtime(network, ledger, board, limits, threads=threads) as runtime,
    ):
        notes = [printable(note) for note in runtime.notes]
        begin = partial(begin_session, ledger, board, NamedSource(SOURCE))
        steps = price(runtime) if dry_run else learn_now(runtime, begin)
    if as_json:
        plans = [_as_dict(step) for step in steps]
        click.echo(json.dumps({"dry_run": dry_run, "notes": notes, "plans": plans}))
        return 0
    for note in notes:
        click.echo(note, err=True)
    click.echo("\n".join(line for step in steps for line in _in_words(step)) or NOTHING)
    return 0


@contextmanager
def _opened(state: Path, dry_run: bool) -> Iterator[Path]:
    """The state directory; for a dry run a copy of it, made while no device runs on it.

    Raises:
        RunDirectoryError: there is none, or it is in use.
    """
    if not (state / LEDGER_FILE).is_file():
        raise RunDirectoryError(
            f"{state} holds no {LEDGER_FILE}.",
            "The state directory of a device that has seen frames is expected.",
            "Check the path: `sel-edge run` names it at its end.",
        )
    if not dry_run:
        yield state
        return
    with tempfile.TemporaryDirectory(prefix="sel-edge-") as folder:
        copy = Path(folder) / "state"
        with LedgerWriter(state / LEDGER_FILE), storage_errors(copy):
            shutil.copytree(state, copy)
        yield copy


def _as_dict(step: Step) -> dict[str, Any]:
    proposal, cost = step.plan.proposal, step.plan.cost
    return {
        "rung": proposal.rung,
        "domain": proposal.domain,
        "classes": proposal.classes,
        "frames": proposal.frames,
        "labels": proposal.labels,
        "steps": proposal.steps,
        "predicted_flops": cost.flops,
        "predicted_energy_j": cost.energy_j,
        "predicted_seconds": cost.seconds,
        "peak_bytes": cost.peak_bytes,
        "flash_writes": cost.flash_writes,
        "wallet": None if step.shortfall is None else str(step.shortfall),
        "decisions": [asdict(decision) for decision in step.decisions],
        "updates": [asdict(update) for update in step.updates],
    }


def _in_words(step: Step) -> list[str]:
    proposal, cost = step.plan.proposal, step.plan.cost
    what = changed(proposal.rung, proposal.domain, proposal.classes, is_new_domain=False)
    material = [counted(proposal.labels, "label")] if proposal.labels else []
    material += [counted(proposal.frames, "frame")] if proposal.frames else []
    lines = [
        f"{proposal.rung}: {what}; {', '.join(material)}, {counted(proposal.steps, 'step')}",
        f"  predicted  {scaled(cost.flops, 'FLOP')}, {scaled(cost.energy_j, 'J')} estimated, "
        f"{duration(cost.seconds)}, {scaled(cost.peak_bytes, 'B')} of memory",
        f"  wallet     {step.shortfall or 'can pay for twice that, the worst case'}",
    ]
    lines += [
        f"  {decision.kind:<9}  {printable(decision.reason)}"
        for decision in step.decisions
        if decision.kind not in ("fire", "defer")  # the labels are why; the wallet says it above
    ]
    if step.updates:
        taken = of_updates(step.updates)
        lines.append(
            f"  took       {scaled(taken.executed_flops, 'FLOP')}, {cost_words(taken.joules)}, "
            f"{duration(taken.seconds)}"
        )
    return lines
