"""Record a dense and a sel-paper run on one data set: both logs, both tables, all plots.

    python tools/record_pretrain.py --data cifar10:PATH --out docs/records/NAME [--width 16]
        [--dense-scale 0.4] [--sel-scale 0.7] [--holdout 0] [--reference DIR] [--runs DIR]

The runs themselves stay in --runs (with their weights); the record keeps run.json, history.csv, the
tables, the plots and the commands. Prints one JSON object as its last line.
"""

from __future__ import annotations

import argparse
import json
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

from sel_edge.core.files import write_atomic
from sel_edge.core.runlog import HISTORY_FILE, RUN_FILE, read_run
from sel_edge.report.compare import write_compare

PROGRAM = [sys.executable, "-c", "from sel_edge.cli.main import main; main()"]


def main() -> None:
    """Train both, compare, keep the record."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--width", default="16")
    parser.add_argument("--dense-scale", default="0.4")
    parser.add_argument("--sel-scale", default="0.7")
    parser.add_argument("--holdout", default="0")
    parser.add_argument("--seed", default="0")
    parser.add_argument("--reference", type=Path)
    parser.add_argument("--runs", type=Path, default=Path("runs/record"))
    options = parser.parse_args()
    commands = []
    for recipe, scale in (("dense", options.dense_scale), ("sel-paper", options.sel_scale)):
        run = options.runs / recipe
        arguments = ["pretrain", "--data", options.data, "--width", options.width]
        arguments += ["--recipe", recipe, "--epochs-scale", scale, "--holdout", options.holdout]
        arguments += ["--seed", options.seed, "--out", str(run)]
        shown = [*arguments[:-1], f"runs/{recipe}"]
        commands.append(shlex.join(["sel-edge", *shown]))
        subprocess.run([*PROGRAM, *arguments], check=True)
        keep = options.out / recipe
        keep.mkdir(parents=True, exist_ok=True)
        for name in (RUN_FILE, HISTORY_FILE):
            shutil.copyfile(run / name, keep / name)
    dense, sel = (options.runs / recipe for recipe in ("dense", "sel-paper"))
    numbers = write_compare(dense, sel, options.out, options.reference)
    note = read_run(dense).info["data"]["note"]
    write_atomic(options.out / "README.md", readme(commands, note).encode())
    print(json.dumps({"out": str(options.out), **numbers["savings"]}))


def readme(commands: list[str], note: str) -> str:
    """How the record was made."""
    lines = ["# A dense and a sel-paper run", ""]
    lines += [f"Data: {note}.", ""] if note else []
    lines += ["Machine, versions and commit are in each `run.json`. Made with:", ""]
    return "\n".join([*lines, *(f"    {command}" for command in commands), ""])


if __name__ == "__main__":
    main()
