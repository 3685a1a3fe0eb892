"""`sel-edge compare`: put a dense and a staged run side by side."""

from __future__ import annotations

import json
from pathlib import Path

import click

from sel_edge.report.compare import MARKDOWN_FILE, write_compare


@click.command("compare")
@click.argument("dense", type=click.Path(path_type=Path))
@click.argument("sel", type=click.Path(path_type=Path))
@click.option(
    "--out", type=click.Path(path_type=Path), help="Where to write; default: SEL/compare."
)
@click.option(
    "--reference",
    type=click.Path(path_type=Path),
    help="Directory with the published baseline_hist.csv and staged_hist.csv, drawn under ours.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the numbers as one JSON line.")
def command(dense: Path, sel: Path, out: Path | None, reference: Path | None, as_json: bool) -> int:
    """Compare the finished runs in directories DENSE and SEL: two tables and all plots."""
    target = out or sel / "compare"
    numbers = write_compare(dense, sel, target, reference)
    if as_json:
        click.echo(json.dumps(numbers))
    else:
        click.echo((target / MARKDOWN_FILE).read_text())
        click.echo(f"Tables and {len(numbers['plots'])} plots are in {target}.")
    return 0
