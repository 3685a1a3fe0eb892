"""Try versions of onnxruntime on emulated boards. `tools/arm64.sh --probe` calls it on its root.

Every version is tried twice on every board: with the /proc and /sys files of that board, as on the
board itself, and with those of this machine, which an emulator shows unless it is told otherwise.
Prints one JSON object as its last line.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from sel_edge.bundle.bundle import open_bundle
from sel_edge.core import provenance
from sel_edge.core.files import write_atomic
from tools import agree

PROJECT = Path(__file__).resolve().parents[1]
EMULATOR = "qemu-aarch64-static"
LIMIT_S = 600
SEED = 0


@dataclass(frozen=True)
class Attempt:
    """How one version did on one board.

    Attributes:
        onnxruntime: the version.
        board: the emulated processor.
        files: whose /proc and /sys it saw, "board" or "host".
        result: "ok", or the step that failed and how, e.g. "import: SIGSEGV".
        largest_difference: from what this machine computed; None where nothing could be compared.
    """

    onnxruntime: str
    board: str
    files: str
    result: str
    largest_difference: float | None = None


def main() -> None:
    """Try all, print and record."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("versions", help="separated by commas")
    parser.add_argument("--root", type=Path, required=True)
    parser.add_argument("--boards", required=True, help="separated by commas")
    parser.add_argument("--bundle", type=Path, required=True)
    parser.add_argument("--record", type=Path)
    options = parser.parse_args()
    commit = provenance.commit()  # before the record itself makes the checkout differ
    ours = agree.run(open_bundle(options.bundle), SEED)
    attempts = []
    with tempfile.TemporaryDirectory() as scratch:
        for version in options.versions.split(","):
            wheel = Path(scratch) / version
            fetch(version, wheel, python_version(options.root))
            for board in options.boards.split(","):
                for files in ("board", "host"):
                    guest = Guest(options.root, board, files, wheel)
                    attempts.append(attempt(guest, version, options.bundle, ours))
                    print(*asdict(attempts[-1]).values(), flush=True)
            shutil.rmtree(wheel)
    record = {
        "attempts": [asdict(each) for each in attempts],
        "passed": passed(attempts),
        "bundle": options.bundle.name,
        "emulator": version_of_emulator(),
        "python": python_version(options.root),
        "date": datetime.now(UTC).date().isoformat(),
        "machine": provenance.machine(),
        "versions": provenance.versions(),
        "commit": commit,
    }
    if options.record:
        write_atomic(options.record, json.dumps(record, indent=1).encode() + b"\n")
    print(json.dumps(record))


class Guest:
    """Python on an emulated board, with one version of onnxruntime before all other packages."""

    def __init__(self, root: Path, board: str, files: str, wheel: Path) -> None:
        self.board, self.files = board, files
        prefix = root / "boards" / board if files == "board" else root / "debian"
        self._command = [EMULATOR, "-L", str(prefix), "-cpu", board]
        self._command.append(str(root / "debian" / "usr" / "bin" / "python3"))
        self._environment = {
            "PATH": os.defpath,
            "OMP_NUM_THREADS": "1",
            "PYTHONDONTWRITEBYTECODE": "1",
            "PYTHONPATH": os.pathsep.join(map(str, (wheel, root / "site", PROJECT))),
        }

    def call(self, *arguments: str) -> str:
        """Run Python; "" if it ended well, else how it ended: a signal's name or an exit code."""
        done = subprocess.run(
            [*self._command, *arguments],
            env=self._environment,
            cwd=PROJECT,
            capture_output=True,
            timeout=LIMIT_S,
        )
        if done.returncode < 0:
            return signal.Signals(-done.returncode).name
        return f"exit code {done.returncode}" if done.returncode else ""


def attempt(guest: Guest, version: str, bundle: Path, ours: agree.Outputs) -> Attempt:
    """Import onnxruntime, run the bundle, compare."""
    if ending := guest.call("-c", "import onnxruntime"):
        return Attempt(version, guest.board, guest.files, f"import: {ending}")
    with tempfile.TemporaryDirectory() as scratch:
        out = Path(scratch) / "outputs.npz"
        run = ("-m", "tools.agree", "run", str(bundle), "--seed", str(SEED), "--out", str(out))
        if ending := guest.call(*run):
            return Attempt(version, guest.board, guest.files, f"run: {ending}")
        verdict = agree.compare(ours, agree.read(out))
    result = "ok" if verdict["agree"] else "compare: differs"
    return Attempt(version, guest.board, guest.files, result, verdict["largest"])


def passed(attempts: list[Attempt]) -> dict[str, list[str]]:
    """Versions that were ok on every board, with the board's files and with the host's."""
    return {
        files: [
            version
            for version in dict.fromkeys(each.onnxruntime for each in attempts)
            if all(
                each.result == "ok"
                for each in attempts
                if (each.onnxruntime, each.files) == (version, files)
            )
        ]
        for files in ("board", "host")
    }


def fetch(version: str, folder: Path, python: str) -> None:
    """The wheel of one version for aarch64, without what it depends on."""
    platforms = [f"--platform=manylinux_2_{glibc}_aarch64" for glibc in (17, 26, 27, 28)]
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    target = ["--target", str(folder), "--no-deps", "--no-compile", "--only-binary=:all:"]
    wanted = [f"--python-version={python}", f"onnxruntime=={version}"]
    subprocess.run([*pip, "--root-user-action=ignore", *target, *platforms, *wanted], check=True)


def python_version(root: Path) -> str:
    """Of the Debian root, e.g. "3.11"."""
    return (root / "debian" / "usr" / "bin" / "python3").readlink().name.removeprefix("python")


def version_of_emulator() -> str:
    """The first line of what it says of itself."""
    done = subprocess.run([EMULATOR, "--version"], check=True, capture_output=True, text=True)
    return done.stdout.splitlines()[0]


if __name__ == "__main__":
    main()
