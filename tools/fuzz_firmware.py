"""Fuzz the firmware's readers under the address and undefined-behaviour sanitizers.

The harnesses are those of devices/firmware/fuzz. With clang and its runtime they are driven by
libFuzzer, else by gcc and a small program that mutates seeds.

    python -m tools.fuzz_firmware [--inputs 1000000] [--quick] [--seed 1] [--jobs 1] [--standalone]

The last line is one JSON object: `fuzz_inputs`, `fuzz_accepted` (inputs that were accepted though
they are no image, area or delta that was made), `crashes`, `driver`, in `per_target` the
numbers of each, machine and commit.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import struct
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

from sel_edge.core import provenance
from sel_edge.link.frames import Kind, Packet
from sel_edge.mcu.image import Image
from sel_edge.mcu.payload import difference
from sel_edge.mcu.running import running
from tools.small_network import changed, grown, small_image, varied_image

FIRMWARE = Path(__file__).resolve().parents[1] / "devices" / "firmware"
INPUTS, QUICK_INPUTS = 1_000_000, 40_000
LIBFUZZER, STANDALONE = "libFuzzer", "standalone"
_COMPILERS = {
    LIBFUZZER: ("clang", "-fsanitize=fuzzer-no-link,address,undefined"),
    STANDALONE: ("gcc", "-fsanitize=address,undefined"),
}
FLAGS = ("-std=c99", "-g", "-O1", "-fno-omit-frame-pointer", "-fno-sanitize-recover=all")
SHARES = {"frames": 0.4, "image": 0.2, "payload": 0.2, "device": 0.2}
"""Of the inputs; those of a whole board take longest."""
LONGEST = {"frames": 2560, "image": 2048, "payload": 1024, "device": 256}
"""Bytes of an input."""
SHOWN_LINES = 15
"""Of what a harness wrote before it ended too early."""


@dataclass(frozen=True)
class Outcome:
    """What came of one target.

    Attributes:
        inputs: that were tried.
        accepted, crashes: inputs that were wrong in this way. A process ends at the first.
    """

    inputs: int
    accepted: int
    crashes: int


def main() -> int:
    """Returns the exit code: 0 if nothing was found."""
    arguments, commit = _arguments(), provenance.commit()
    total = QUICK_INPUTS if arguments.quick else arguments.inputs
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        driver = STANDALONE if arguments.standalone else _driver(folder)
        _write_seeds(folder)
        _build_core(driver, folder)

        parts = arguments.jobs

        def work(target: str, part: int) -> Outcome:
            inputs = round(total * SHARES[target])
            own = inputs * (part + 1) // parts - inputs * part // parts
            return _fuzz(target, own, arguments.seed + part, folder)

        with ThreadPoolExecutor(parts) as pool:
            list(pool.map(lambda target: _build(target, driver, folder), SHARES))
            futures = {t: [pool.submit(work, t, part) for part in range(parts)] for t in SHARES}
            outcomes = {target: _sum(f.result() for f in fs) for target, fs in futures.items()}
    found = {
        "fuzz_inputs": sum(outcome.inputs for outcome in outcomes.values()),
        "fuzz_accepted": sum(outcome.accepted for outcome in outcomes.values()),
        "crashes": sum(outcome.crashes for outcome in outcomes.values()),
        "driver": driver,
        "per_target": {target: asdict(outcome) for target, outcome in outcomes.items()},
        "machine": provenance.machine(),
        "commit": commit,
    }
    print(json.dumps(found))
    return 1 if found["fuzz_accepted"] or found["crashes"] else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--inputs", type=int, default=INPUTS, help="in all")
    parser.add_argument("--quick", action="store_true", help=f"{QUICK_INPUTS} inputs")
    parser.add_argument("--seed", type=int, default=1, help="1 or more")
    parser.add_argument("--standalone", action="store_true", help="gcc even if clang is there")
    parser.add_argument("--jobs", type=int, default=1, help="processes that share the inputs")
    return parser.parse_args()


def _driver(folder: Path) -> str:
    """libFuzzer if clang can link it."""
    probe = folder / "probe.c"
    probe.write_text(
        "#include <stddef.h>\n#include <stdint.h>\n"
        "int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)\n"
        "{ (void)data; (void)size; return 0; }\n"
    )
    command = ["clang", "-fsanitize=fuzzer,address", str(probe), "-o", str(folder / "probe")]
    if shutil.which("clang") is None or subprocess.run(command, capture_output=True).returncode:
        return STANDALONE
    return LIBFUZZER


def _sum(parts: Iterable[Outcome]) -> Outcome:
    """What came of all parts of a target."""
    rows = [(part.inputs, part.accepted, part.crashes) for part in parts]
    return Outcome(*map(sum, zip(*rows, strict=True)))


def _fuzz(target: str, inputs: int, seed: int, folder: Path) -> Outcome:
    """Run a harness; what it says when it ends too early goes to stderr."""
    harness = folder / f"fuzz_{target}"
    corpus = folder / f"{target}-corpus-{seed}"
    corpus.mkdir()
    for number, content in enumerate(_corpus(target)):
        (corpus / str(number)).write_bytes(content)
    command = [str(harness), f"-runs={inputs}", f"-seed={seed}", f"-max_len={LONGEST[target]}"]
    command += [f"-artifact_prefix={folder}/", "-print_final_stats=1", str(corpus)]
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", cwd=folder)
    if done.returncode == 0:
        return Outcome(_count(r"Done (\d+)", done.stderr, inputs), 0, 0)
    print(target, *done.stderr.splitlines()[-SHOWN_LINES:], sep="\n", file=sys.stderr)
    accepted = int("fuzz accepted:" in done.stderr)
    tried = _count(r"number_of_executed_units: (\d+)", done.stderr, 1)
    return Outcome(tried, accepted, 1 - accepted)


def _count(pattern: str, text: str, otherwise: int) -> int:
    found = re.findall(pattern, text)
    return int(found[-1]) if found else otherwise


def _build_core(driver: str, folder: Path) -> None:
    """The core as objects in the folder, which all harnesses are linked with."""
    sources = sorted((FIRMWARE / "core").glob("*.c"))
    compiler = _COMPILERS[driver]
    subprocess.run([*compiler, *FLAGS, "-c", *map(str, sources)], check=True, cwd=folder)


def _build(target: str, driver: str, folder: Path) -> None:
    """A harness, in the folder."""
    here, harness = FIRMWARE / "fuzz", folder / f"fuzz_{target}"
    sources = [here / f"fuzz_{target}.c", here / "fuzz.c", *folder.glob("sel_*.o")]
    if target == "device":
        sources.append(here / "fuzz_board.c")
    if driver == STANDALONE:
        sources.append(here / "standalone.c")
    main = ["-fsanitize=fuzzer"] if driver == LIBFUZZER else []
    includes = [f"-I{place}" for place in (FIRMWARE / "core", here, folder)]
    command = [*_COMPILERS[driver], *FLAGS, *main, *includes, *map(str, sources)]
    subprocess.run([*command, "-o", str(harness)], check=True)


def _networks() -> tuple[Image, Image, bytes, bytes]:
    """An image, another one, and payloads of deltas on the first: the second brings a class."""
    image = small_image()
    start = running(image)
    first = difference(start, changed(start, 1))
    return image, varied_image(), first, difference(start, grown(start, 2))


def _write_seeds(folder: Path) -> None:
    """seeds.h, which the harnesses include."""
    image, other, first, second = _networks()
    arrays = {
        "seed_image": image.content,
        "other_image": other.content,
        "first_payload": first,
        "second_payload": second,
    }
    lines = [
        f"static const uint8_t {name}[{len(content)}] __attribute__((aligned(16), unused)) = "
        f"{{{','.join(map(str, content))}}};\n"
        for name, content in arrays.items()
    ]
    (folder / "seeds.h").write_text("#include <stdint.h>\n" + "".join(lines))


def _corpus(target: str) -> Iterable[bytes]:
    """Inputs to begin with, as the harness reads them."""
    image, other, first, second = _networks()
    if target == "frames":
        lines = [Packet(Kind.REQUEST, size, bytes(range(1, 256)) * 9).encode() for size in range(3)]
        edits = struct.pack("<BHB", 1, 20, 4)
        return [
            bytes((room,)) + b"\x3f" + head + line[:size]
            for line, room, size in zip(lines, (255, 10, 80), (2300, 1100, 2300), strict=True)
            for head in (b"\0", edits)
        ]
    if target == "image":
        return [bytes((how,)) + each.content for how in (0, 1, 3) for each in (image, other)]
    if target == "payload":
        edits = b"".join(struct.pack("<HB", 256 * i + 8, 1) for i in range(8))
        return [b"\0" + first, b"\0" + second, b"\1" + edits, b"\2" + edits]
    return list(_scripts())


def _scripts() -> Iterable[bytes]:
    """Conversations for the device's harness: steps of what, how and edits."""
    begin, data, commit, back, image_begin, image_data, image_commit = range(1, 8)
    questions = bytes(byte for number in range(9) for byte in (8 * number, 0))
    delta = bytes((begin, 0, data, 0, commit, 0))
    other = bytes((begin, 128, data, 128, commit, 128))
    install = bytes((image_begin, 128, image_data, 128, image_data, 128, image_commit, 128))
    yield questions
    for field in (6, 20, 40, 70, 100):
        yield bytes((begin, 9, field, 0, 1, data, 0, commit, 0))
    sampling, infer, sample = 8 * 7, 8 * 6, 8 * 8
    yield bytes(
        (sampling, 0, infer, 0, infer, 0, infer, 0, infer, 0, sample, 0, sample, 0, infer, 0)
    )
    yield delta + bytes((commit, 0, back, 0, back, 0))
    yield delta + other + delta + bytes((back, 0))
    yield install + other + questions
    yield delta * 8
    yield bytes((begin, 1, 20, 0, 1, data, 1, 9, 0, 4, commit, 9, 40, 0, 2)) + delta
    yield bytes((begin, 17, 20, 0, 1, begin, 0, data, 0, begin, 64, data, 0, commit, 0))


if __name__ == "__main__":
    sys.exit(main())
