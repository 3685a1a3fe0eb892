"""Record the whole thread on one data set: pretrained network, bundle, stream, report.

    python tools/record_main_job.py --data cifar10:PATH --out docs/records/NAME [--work DIR]

Runs `sel-edge demo` and keeps its summary, its page and every number of the page with the machine,
versions and commit. Prints the summary as its last line.
"""

from __future__ import annotations

import argparse
import json
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

from sel_edge.core import provenance
from sel_edge.core.files import write_atomic
from sel_edge.report.numbers import collect

PROGRAM = [sys.executable, "-c", "from sel_edge.cli.main import main; main()"]


def main() -> None:
    """Run the demo, keep what it says."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--work", type=Path, default=Path("runs/main-job"))
    options = parser.parse_args()
    arguments = ["demo", "--data", options.data, "--out", str(options.work), "--replace"]
    commit = provenance.commit()  # before this record itself makes the checkout differ
    subprocess.run([*PROGRAM, *arguments], check=True)
    options.out.mkdir(parents=True, exist_ok=True)
    for name in ("summary.json", "report.html"):
        shutil.copyfile(options.work / name, options.out / name)
    command = shlex.join(["sel-edge", *arguments])
    record = {
        "command": command,
        "machine": provenance.machine(),
        "versions": provenance.versions(),
        "commit": commit,
        "device": collect(options.work / "device"),
    }
    write_atomic(options.out / "record.json", json.dumps(record, indent=1).encode() + b"\n")
    write_atomic(options.out / "README.md", readme(command).encode())
    print((options.work / "summary.json").read_text().strip())


def readme(command: str) -> str:
    """How the record was made and what is in it."""
    return "\n".join(
        [
            "# The main job on one data set",
            "",
            "`summary.json` holds the numbers, `record.json` all that the ledger says with machine",
            "and versions, `report.html` is the page. Made with:",
            "",
            f"    {command}",
            "",
        ]
    )


if __name__ == "__main__":
    main()
