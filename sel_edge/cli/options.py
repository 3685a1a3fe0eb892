"""Options that several commands have."""

from __future__ import annotations

from pathlib import Path

import click

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
