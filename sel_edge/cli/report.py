"""`sel-edge report`: write one HTML page about runs and adaptations."""

from __future__ import annotations

import json
from pathlib import Path

import click

from sel_edge.report.numbers import collect
from sel_edge.report.page import write_report


@click.command("report")
@click.argument("directory", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), help="Default: DIRECTORY/report.html.")
@click.option("--json", "as_json", is_flag=True, help="Print the page's numbers instead.")
def command(directory: Path, out: Path | None, as_json: bool) -> int:
    """Write one self-contained HTML page about all ledgers, comparisons and runs in DIRECTORY."""
    if as_json:
        click.echo(json.dumps(collect(directory)))
    else:
        click.echo(f"Wrote {write_report(directory, out)}.")
    return 0
