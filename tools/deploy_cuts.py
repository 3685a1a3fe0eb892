"""Deploys to Pis of loopback that are cut off at every step, and counts what is left broken.

    python -m tools.deploy_cuts [--cuts 100] [--seed 0] [--jobs 3] [--keep DIR]

Each cut has a Pi of its own: a real sshd, a user and a supervisor stand-in (tests/deploy/pi.py),
with a stand-in of sel-edge that is installed in a second. The line is closed, or falls silent, or
every agent is killed, or the power goes, at a random moment of each step; then the Pi must run a
whole release by itself, and the same command must bring the new one. Needs root for namespaces.
Prints a line for each cut and one JSON object as its last line; the exit code is 1 if a Pi was
left broken.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from pathlib import Path

from tests.deploy.cuts import Found, make_all, plan_cuts, summary
from tests.deploy.workstation import ssh_for


def main() -> int:
    """Make the cuts that the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--cuts", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=3)
    parser.add_argument("--keep", type=Path, help="an empty folder that keeps broken Pis")
    asked = parser.parse_args()
    begun_s = time.monotonic()
    with tempfile.TemporaryDirectory() as scratch:
        place = asked.keep or Path(scratch)
        os.environ["SEL_EDGE_SSH"] = ssh_for(place)
        found = make_all(plan_cuts(asked.cuts, asked.seed), place, asked.jobs, _tell)
    numbers = summary(found)
    seconds = round(time.monotonic() - begun_s, 1)
    print(json.dumps({**numbers, "seed": asked.seed, "seconds": seconds}))
    return 1 if numbers["left_broken"] else 0


def _tell(found: Found) -> None:
    cut = found.cut
    print(
        f"{cut.number:3} {cut.way:5} at {found.hit:8} {'first' if cut.is_first else 'next':5} "
        f"-> {found.ran:4} {found.broken or 'ok'}",
        flush=True,
    )


if __name__ == "__main__":
    sys.exit(main())
