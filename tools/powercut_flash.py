"""Cut the power of a simulated board at and inside every operation on its flash.

    python -m tools.powercut_flash [--cuts N | --quick] [--seed N]

The firmware's own C, on a flash whose programs clear bits only, whose bytes may be torn and whose
erases may end half-done. After every cut, and a second one while the step is repeated, the board
must run the network before or after the step, and must be able to finish the step, or to take
another one instead. Prints one JSON object as the last line: `power_cuts`, `bricks` (neither
network, or not finished), `corrupted_executed` (something else than the network in use), `replays`
(an old step done again), `violations` (of the rules of NOR flash), `seconds`, `seed`,
machine and commit. Needs gcc.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from sel_edge.core import provenance
from sel_edge.mcu.running import Running
from tools.powercut_scenarios import (
    Action,
    Host,
    Scenario,
    Step,
    board_image,
    board_input,
    content_of,
    logits_of,
    scenarios,
)

FIRMWARE = Path(__file__).resolve().parents[1] / "devices" / "firmware"
HOST_FILES = ("sel_flash_sim.c", "sel_rig.c", "sel_cuts.c")
CUTS, QUICK_CUTS = 120_000, 4_000
PARTITION_BYTES = 16384
COUNTS = ("operations", "cuts", "bricks", "corrupted", "replays", "violations")


class CStep(ctypes.Structure):
    """As sel_step_t."""

    _fields_ = (
        ("action", ctypes.c_uint32),
        ("bytes", ctypes.c_uint32),
        ("manifest", ctypes.c_char_p),
        ("content", ctypes.c_char_p),
    )


class CExpected(ctypes.Structure):
    """As sel_expected_t."""

    _fields_ = (
        ("hash", ctypes.c_char_p),
        ("content", ctypes.c_char_p),
        ("content_bytes", ctypes.c_uint32),
        ("classes", ctypes.c_uint32),
        ("logits", ctypes.c_char_p),
    )


class CScenario(ctypes.Structure):
    """As sel_scenario_t."""

    _fields_ = (
        ("image", ctypes.c_char_p),
        ("image_bytes", ctypes.c_uint32),
        ("area_bytes", ctypes.c_uint32),
        ("partition_bytes", ctypes.c_uint32),
        ("step_count", ctypes.c_uint32),
        ("steps", ctypes.POINTER(CStep)),
        ("input", ctypes.c_char_p),
        ("other", CStep),
        ("before", CExpected),
        ("after", CExpected),
        ("after_other", CExpected),
    )


class CCuts(ctypes.Structure):
    """As sel_cuts_t."""

    _fields_ = (
        ("operations", ctypes.c_uint64),
        ("cuts", ctypes.c_uint64),
        ("bricks", ctypes.c_uint64),
        ("corrupted", ctypes.c_uint64),
        ("replays", ctypes.c_uint64),
        ("violations", ctypes.c_uint64),
    )


def build_library(directory: Path) -> Path:
    """Compile the core and its flash simulation to a shared library in a directory."""
    host = FIRMWARE / "ports" / "host"
    sources = [*sorted((FIRMWARE / "core").glob("*.c")), *(host / name for name in HOST_FILES)]
    target = directory / "powercut_flash.so"
    includes = [f"-I{FIRMWARE / 'core'}", f"-I{host}"]
    command = ["gcc", "-std=c99", "-O2", "-fPIC", "-shared", *includes, *map(str, sources)]
    subprocess.run([*command, "-o", str(target)], check=True)
    return target


def c_step(step: Step) -> CStep:
    """A step for the C side, which keeps the Python bytes alive."""
    return CStep(step.action, step.sent, step.manifest, step.content)


def run(
    library: Path, cuts: int, seed: int, say: Callable[[str], None] = lambda _: None
) -> dict[str, float]:
    """Cut all scenarios about as often, in all at least `cuts` times.

    Args:
        library: from `build_library`.
        cuts: wanted.
        seed: of torn bits, half-done erases and second cuts.
        say: gets a line per scenario.

    Returns:
        The JSON object of this tool.
    """
    run_scenario = ctypes.CDLL(str(library)).sel_cuts_run
    began = time.monotonic()
    prepared = [(s.name, _overlay_scenario(s)) for s in scenarios()]
    prepared.append(("image", _installation()))
    dry = [_counted(run_scenario, name, scenario, 1, seed) for name, scenario in prepared]
    ways = -(-cuts // sum(count.operations for count in dry))
    total = dict.fromkeys(COUNTS, 0)
    for name, scenario in prepared:
        found = _counted(run_scenario, name, scenario, ways, seed)
        say(" ".join([f"{name}:", *(f"{key} {getattr(found, key)}" for key in total)]))
        for key in total:
            total[key] += getattr(found, key)
    return {
        "power_cuts": total["cuts"],
        "bricks": total["bricks"],
        "corrupted_executed": total["corrupted"],
        "replays": total["replays"],
        "violations": total["violations"],
        "seconds": round(time.monotonic() - began, 1),
        "seed": seed,
    }


def _counted(
    run_scenario: Callable[..., int], name: str, scenario: CScenario, ways: int, seed: int
) -> CCuts:
    cuts = CCuts()
    if run_scenario(ctypes.byref(scenario), ways, seed, ctypes.byref(cuts)) != 0:
        raise RuntimeError(f"The steps of {name!r} do not work even without a power cut.")
    return cuts


def _overlay_scenario(scenario: Scenario) -> CScenario:
    host, other = scenario.host, scenario.host.instead()
    networks = [*host.networks[-2:], other.networks[-1]]
    expected = [_expected_network(*network) for network in networks]
    return _c_scenario(host, [*host.steps, other.steps[-1]], scenario.area_bytes, expected)


def _installation() -> CScenario:
    """Another image in place of an installed one."""
    images = [board_image(seed).content for seed in (1, 2, 3)]
    steps = [Step(Action.INSTALL, b"", image, len(image)) for image in images]
    expected = [CExpected(image[16:48], image, len(image), 0, b"") for image in images]
    return _c_scenario(Host(board_image()), steps, 8192, expected)


def _c_scenario(
    host: Host, steps: list[Step], area_bytes: int, expected: list[CExpected]
) -> CScenario:
    """The last step is the other one; networks before, after and after that one are expected."""
    image = host.image.content
    *first, other = map(c_step, steps)
    return CScenario(
        image,
        len(image),
        area_bytes,
        PARTITION_BYTES,
        len(first),
        (CStep * len(first))(*first),
        board_input().tobytes(),
        other,
        *expected,
    )


def _expected_network(network_hash: str, network: Running) -> CExpected:
    content = content_of(network)
    logits = logits_of(network).astype(np.int16).tobytes()
    classes = len(network.classes)
    return CExpected(bytes.fromhex(network_hash), content, len(content), classes, logits)


def main() -> None:
    """Read the options, cut, print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--cuts", type=int, default=CUTS, help="at least so many")
    parser.add_argument("--quick", action="store_true", help=f"{QUICK_CUTS} cuts")
    parser.add_argument("--seed", type=int, default=0)
    options, commit = parser.parse_args(), provenance.commit()
    with tempfile.TemporaryDirectory() as directory:
        library = build_library(Path(directory))
        cuts = QUICK_CUTS if options.quick else options.cuts
        found = run(library, cuts, options.seed, lambda line: print(line, file=sys.stderr))
    print(json.dumps({**found, "machine": provenance.machine(), "commit": commit}))


if __name__ == "__main__":
    main()
