"""Put the networks of the benchmarks into the repository, small: weights as fp16.

    python -m tools.make_bench_networks ten=RUN eight=RUN ten-w8=RUN [--out FOLDER]

Each becomes a folder that loads like the finished run it comes from; those that are there already
and are not named stay. Prints one JSON object as its last line.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from sel_edge.core.files import write_atomic
from sel_edge.core.runlog import read_run, write_info
from sel_edge.data.spec import parse_data
from sel_edge.pretrain.checkpoint import MODEL_FILE, read_tensors, write_tensors
from tools.adapt_bench.subject import NETWORKS
from tools.make_zoo import check_rounding

MAX_BYTES = 6_000_000


def main() -> None:
    """Copy the runs and say how they were made."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("runs", nargs="+", metavar="NAME=RUN", help="ten, eight or ten-w8")
    parser.add_argument("--out", type=Path, default=NETWORKS)
    options = parser.parse_args()
    for text in options.runs:
        name, _, run = text.partition("=")
        keep(Path(run), options.out / name)
    folders = [folder for folder in options.out.iterdir() if (folder / MODEL_FILE).is_file()]
    infos = {folder.name: dict(read_run(folder).info) for folder in sorted(folders)}
    write_atomic(options.out / "README.md", readme(infos).encode())
    sizes = {name: (options.out / name / MODEL_FILE).stat().st_size for name in infos}
    tests = {name: info["totals"]["test_full_acc"] for name, info in infos.items()}
    print(json.dumps({"bytes": sizes, "test": tests}))


def keep(run: Path, out: Path) -> dict[str, Any]:
    """Write a run's weights as fp16 and its run.json without this machine's paths.

    Returns:
        What run.json says now.
    """
    out.mkdir(parents=True, exist_ok=True)
    log, stored = read_run(run), read_tensors(run / MODEL_FILE)
    spec = parse_data(log.info["data"]["spec"])
    named = replace(spec, path=Path(spec.path).name if spec.path else None)
    info = log.info | {"data": log.info["data"] | {"spec": str(named)}}
    half = {
        name: tensor.half() if tensor.is_floating_point() else tensor
        for name, tensor in stored.tensors.items()
    }
    write_info(out, info)
    write_tensors(out / MODEL_FILE, half, stored.state)
    check_rounding(out, log)
    if (size := (out / MODEL_FILE).stat().st_size) > MAX_BYTES:
        raise SystemExit(f"{out / MODEL_FILE} has {size} bytes, more than {MAX_BYTES}.")
    return info


def readme(infos: dict[str, dict[str, Any]]) -> str:
    """How the networks were made."""
    lines = ["# The networks of the benchmarks", ""]
    lines += ["Weights as fp16; each `run.json` has the run's data, machine, versions and commit."]
    for name, info in infos.items():
        data = info["data"]
        note = f" ({data['note']})" if data["note"] else ""
        accuracy = info["totals"]["test_full_acc"]
        lines += ["", f"`{name}`: {accuracy:.1%} of {data['n_test']:,} test images{note}.", ""]
        lines += [f"    {command(info)} --out runs/{name}"]
    return "\n".join([*lines, ""])


def command(info: dict[str, Any]) -> str:
    """The command that makes such a run, wherever it is to be written."""
    data = info["data"]
    return (
        f"sel-edge pretrain --data '{data['spec']}' --width {info['model']['width']} "
        f"--recipe {info['recipe']['name']} --epochs-scale {info['epochs_scale']} "
        f"--holdout {data['holdout']} --precision {info['precision']}"
    )


if __name__ == "__main__":
    main()
