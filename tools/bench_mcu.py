"""What a microcontroller's network costs, and whether everything that answers for it agrees.

Two trained ResNet-18, of width 8 with ten classes and of width 16 with eight, are exported for an
ESP32-C3. Counted on an emulated RV32IMC core: instructions of one inference, per layer and kernel.
Compared on test images, every logit: the Python reference, the C on this machine with both kernels,
and the emulated core. Timed: an image that goes over a paced serial line to a simulated board.

    python tools/bench_mcu.py [--data SPEC] [--quick] [--json] [--out FILE]
        [--power-cuts FILE] [--fuzz FILE]

SPEC names CIFAR-10 (default: cifar10-jpeg.tar.gz in the directory SEL_EDGE_TEST_DATA, or
../shared/data). The two FILEs are what tools/powercut_flash.py and tools/fuzz_firmware.py printed;
they are run where none is named. Numbers without a width are of width 8. Prints one JSON object as
its last line, and nothing else with --json. Run it on a quiet machine: the line is paced in time.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from sel_edge.core import provenance
from tools.bench_adapt import without_folders
from tools.bench_step import judged
from tools.mcu_bench.network import Say, Sizes, code_sizes, of_network
from tools.mcu_bench.speed import BAUDS, link_speed
from tools.mcu_bench.subject import RUNS, make_subject
from tools.publish import publish

ROOT = Path(__file__).resolve().parents[1]
ARCHIVE = "cifar10-jpeg.tar.gz"
MAIN = 8
"""The width that numbers without a width are of."""
PER_WIDTH = ("inference_instructions", "arena_bytes")
"""Numbers that are told for every width at once."""
AT_MOST = {
    "instructions_per_mac": 2.5,
    "code_bytes": 24 * 1024,
    "arena_bytes_16": 100 * 1000,
    "delta_share_norm": 0.03,
    "delta_share_head": 0.01,
    "accuracy_loss": 0.01,
    "mismatches": 0,
    "bricks": 0,
    "fuzz_accepted": 0,
    "link_rate_left": 0.05,
}
"""Goals; `link_rate_left` is what the slower of the transfers leaves of its line's rate."""

QUICK = Sizes({8: 1000, 16: 100}, 2000, 1)
WHOLE = Sizes({8: 10_000, 16: 1000}, 10_000, 5)


def main() -> None:
    """Measure and print."""
    options = _options()
    say = silent if options.json else progress
    size = ["--quick"] if options.quick else []
    cuts = outcome(options.power_cuts, "tools.powercut_flash", size, say)
    fuzz = outcome(options.fuzz, "tools.fuzz_firmware", size, say)
    found = measure(options.data, QUICK if options.quick else WHOLE, cuts, fuzz, say)
    publish(found, options.out)


def measure(
    data: str, sizes: Sizes, cuts: dict[str, Any], fuzz: dict[str, Any], say: Say
) -> dict[str, Any]:
    """Measure everything.

    Args:
        data: SPEC of CIFAR-10.
        sizes: how much.
        cuts, fuzz: what tools/powercut_flash.py and tools/fuzz_firmware.py printed.
        say: told what comes next.

    Raises:
        MissingDependencyError: a compiler or the emulator is missing.
        SelEdgeError: the data or the disk is at fault.
    """
    commit = provenance.commit()
    with TemporaryDirectory(prefix="sel-edge-") as folder:
        say("exporting")
        subjects = {width: make_subject(width, data, Path(folder)) for width in RUNS}
        networks = {width: of_network(width, subjects[width], sizes, say) for width in RUNS}
    image, note = subjects[MAIN].image.content, subjects[MAIN].note
    say("transfers")
    links = [link_speed(image, baud, sizes.rounds) for baud in BAUDS]
    main_network = {name: value for name, value in networks[MAIN].items() if name != "layers"}
    found = {
        **main_network,
        **{name: {str(w): networks[w][name] for w in RUNS} for name in PER_WIDTH},
        **code_sizes(),
        "mismatches": sum(network["mismatches"] for network in networks.values()),
        "link_efficiency": {str(link["baud"]): link["efficiency"] for link in links},
        **{name: cuts[name] for name in ("power_cuts", "bricks")},
        **{name: fuzz[name] for name in ("fuzz_inputs", "fuzz_accepted")},
        "networks": {str(width): network for width, network in networks.items()},
        "links": links,
        "power_cut_run": cuts,
        "fuzz_run": fuzz,
        "data": without_folders(data),
        "note": note,
        "machine": provenance.machine(),
        "versions": provenance.versions(),
        "commit": commit,
    }
    return {**found, "goals": judged(AT_MOST, {**found, **_for_goals(found)})}


def outcome(file: Path | None, tool: str, arguments: list[str], say: Say) -> dict[str, Any]:
    """What a tool printed as its last line, or prints now.

    Args:
        file: where that was kept; None to run it.
        tool: its module.
        arguments: of its command line.
        say: told when it is run.

    Raises:
        RuntimeError: it printed nothing.
    """
    if file is not None:
        text = file.read_text()
    else:
        say(f"running {tool}")
        command = [sys.executable, "-m", tool, *arguments]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
        text = done.stdout
        if not text:
            raise RuntimeError(f"{tool} ended with {done.returncode}: {done.stderr[-500:]}")
    found: dict[str, Any] = json.loads(text.splitlines()[-1])
    return found


def _for_goals(found: dict[str, Any]) -> dict[str, Any]:
    """Numbers of goals that are not told as such."""
    return {
        "arena_bytes_16": found["arena_bytes"]["16"],
        "accuracy_loss": max(
            network["accuracy_fp32"] - network["accuracy_device"]
            for network in found["networks"].values()
        ),
        "link_rate_left": 1 - min(found["link_efficiency"].values()),
    }


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    folder = Path(os.environ.get("SEL_EDGE_TEST_DATA", ROOT / "../shared/data"))
    parser.add_argument("--data", default=f"cifar10:{folder / ARCHIVE}")
    parser.add_argument("--quick", action="store_true", help="fewer of everything")
    parser.add_argument("--json", action="store_true", help="nothing but the result")
    parser.add_argument("--out", type=Path, help="file for the same object, indented")
    parser.add_argument("--power-cuts", type=Path, help="what tools/powercut_flash.py printed")
    parser.add_argument("--fuzz", type=Path, help="what tools/fuzz_firmware.py printed")
    return parser.parse_args()


def progress(line: str) -> None:
    """Say on stderr what comes next."""
    print(line, file=sys.stderr, flush=True)


def silent(line: str) -> None:
    """With --json nothing is said."""


if __name__ == "__main__":
    main()
