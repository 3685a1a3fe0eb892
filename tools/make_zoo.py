"""Put finished runs into the package, small: weights as fp16, five test images per class.

    python tools/make_zoo.py RUN NAME [--spec SPEC] [--no-weights]

NAME is the folder in sel_edge/zoo/. Prints one JSON object as its last line.
"""

from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path

import torch

from sel_edge import zoo
from sel_edge.core.runlog import (
    HISTORY_FILE,
    RUN_FILE,
    RunLog,
    Samples,
    read_run,
    read_samples,
    write_info,
    write_samples,
)
from sel_edge.data.sources import load_splits
from sel_edge.pretrain.checkpoint import MODEL_FILE, read_tensors, write_tensors
from sel_edge.pretrain.evaluate import first_of_each_class
from sel_edge.pretrain.trained import load_trained

SAMPLES_PER_CLASS = 5


def main() -> None:
    """Copy one run."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("name")
    parser.add_argument("--spec", help="the data as users name them, without this machine's paths")
    parser.add_argument("--no-weights", action="store_true")
    options = parser.parse_args()
    out = Path(zoo.__file__).parent / options.name
    out.mkdir(parents=True, exist_ok=True)
    run = read_run(options.run)
    for name in (RUN_FILE, HISTORY_FILE):
        shutil.copyfile(run.path / name, out / name)
    if options.spec:
        info = run.info | {"data": run.info["data"] | {"spec": options.spec}}
        write_info(out, info)
    samples = read_samples(run.path)
    if samples is not None:
        few = first_of_each_class(samples.labels, SAMPLES_PER_CLASS)
        images, labels, shares = samples.images, samples.labels, samples.probabilities
        write_samples(out, Samples(images[few], labels[few], shares[few]))
    if not options.no_weights:
        stored = read_tensors(run.path / MODEL_FILE)
        half = {
            name: tensor.half() if tensor.dtype == torch.float32 else tensor
            for name, tensor in stored.tensors.items()
        }
        write_tensors(out / MODEL_FILE, half, stored.state)
        check_rounding(out, run)
    size = sum(file.stat().st_size for file in out.iterdir())
    print(json.dumps({"out": options.name, "bytes": size, "test": run.info["totals"]}))


def check_rounding(out: Path, run: RunLog) -> None:
    """The rounded network must be as good as its run log says, within 0.1 points."""
    trained, expected = load_trained(out), run.info["totals"]["test_full_acc"]
    test = load_splits(run.info["data"]["spec"]).test
    reached = float((trained.predict(test.images)[1].argmax(axis=1) == test.labels).mean())
    if abs(reached - expected) > 1e-3:
        raise SystemExit(f"fp16 weights reach {reached:.4f}, the run log says {expected:.4f}")


if __name__ == "__main__":
    main()
