"""Options that several commands have."""

from __future__ import annotations

from pathlib import Path

import click

from sel_edge.bundle.rungs import RUNGS
from sel_edge.core.errors import ConfigError
from sel_edge.energy.profile import profile_names

budget_option = click.option(
    "--budget",
    type=click.Path(path_type=Path),
    help="What learning may cost: a .toml; default: no limits.",
)
profile_option = click.option(
    "--profile",
    help="Board for estimated joules and for predictions; default: this machine's. "
    f"One of {', '.join(profile_names())}, or a .toml.",
)
threads_option = click.option(
    "--threads", type=click.IntRange(1, 256), help="Threads of the engine; default: all cores."
)
boards_option = click.option(
    "--state",
    type=click.Path(path_type=Path),
    help="Where each board has a directory, named by the board; default: BUNDLE.boards.",
)


def chosen_rungs(names: str) -> tuple[str, ...]:
    """The rungs in a list with commas.

    Raises:
        ConfigError: there is no such rung.
    """
    chosen = tuple(name.strip() for name in names.split(","))
    if unknown := [name for name in chosen if name not in RUNGS]:
        raise ConfigError(
            f"There is no rung {unknown[0]!r}.",
            f"Some of {', '.join(RUNGS)} are expected, separated by commas.",
            "Correct --rungs.",
        )
    return chosen
