"""What the int8 forward graph loses and gains against the fp32 one it is made of.

Accuracy on the test split, for several draws of calibration images from the training split; then
milliseconds of both graphs in turn in one process, so that a drifting machine hurts both alike. The
bar: at most 0.5 points of accuracy lost.

    python tools/bench_int8.py --data cifar10:PATH [--zoo NAME | --run RUN] [--quick]

Prints one JSON object as its last line.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from sel_edge import zoo
from sel_edge.compile.export import torch_model
from sel_edge.compile.fold import fold
from sel_edge.compile.graph import to_model
from sel_edge.compile.load import load_graph
from sel_edge.compile.quantize import quantize
from sel_edge.core import provenance
from sel_edge.core.rng import generator
from sel_edge.data.dataset import Dataset, Splits, class_numbers, keep_classes
from sel_edge.data.sources import load_splits
from sel_edge.pretrain.batches import Normalization
from sel_edge.pretrain.trained import Trained, load_trained

WARM_UP = 3
ONLY_ERRORS = 3
EVALUATION_BATCH = 64
LATENCY_BATCHES = (1, 32)

Images = NDArray[np.float32]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", required=True)
    network = parser.add_mutually_exclusive_group()
    network.add_argument("--run", type=Path)
    network.add_argument("--zoo", default="cifar10-8-dense")
    parser.add_argument("--calibration", type=int, default=256, help="Images per draw.")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args()
    run = options.run or Path(zoo.__file__).parent / options.zoo
    draws, rounds, most = (2, 20, 1000) if options.quick else (5, 100, 10**6)
    result = measure(run, options.data, options.calibration, options.threads, draws, rounds, most)
    print(json.dumps(result))


def measure(
    run: Path, data: str, calibration: int, threads: int, draws: int, rounds: int, most: int
) -> dict[str, Any]:
    """Quantize once per draw, compare each with fp32, and time the first.

    Args:
        run: directory of a finished run.
        data: SPEC of the run's data; classes that the run does not know are left out.
        calibration: images per draw.
        threads: of onnxruntime.
        draws: independent sets of calibration images.
        rounds: timed runs per graph and batch size.
        most: test images to evaluate, evenly spread over the split.
    """
    trained = load_trained(run)
    splits = known_classes(load_splits(data), trained.run.classes)
    test = splits.test.subset(
        np.unique(np.linspace(0, len(splits.test) - 1, most).astype(np.int64))
    )
    height, width, channels = trained.run.info["data"]["image_shape"]
    graph = fold(load_graph(torch_model(trained.model, (channels, height, width)), "n")).graph
    fp32_file = to_model(graph).SerializeToString()
    int8_files = [
        quantize(fp32_file, calibration_images(trained, splits.train, calibration, draw))
        for draw in range(draws)
    ]
    fp32 = open_session(fp32_file, threads)
    int8 = [open_session(file, threads) for file in int8_files]
    images = preprocess(trained, test)
    expected = logits(fp32, images)
    compared = [compare(expected, logits(session, images), test.labels) for session in int8]
    return {
        "data": data,
        "note": splits.note,
        "network": trained.run.info["model"],
        "calibration_images": calibration,
        "test_images": len(test),
        "accuracy_fp32": float((expected.argmax(1) == test.labels).mean()),
        "accuracy_int8": statistics.median(row["accuracy"] for row in compared),
        "loss_points": statistics.median(row["loss_points"] for row in compared),
        "agreement": statistics.median(row["agreement"] for row in compared),
        "draws": compared,
        "bytes_fp32": len(fp32_file),
        "bytes_int8": len(int8_files[0]),
        "latency_ms": {
            f"batch_{batch}": latency(
                {"fp32": fp32, "int8": int8[0]},
                np.resize(images, (batch, *images.shape[1:])),
                rounds,
            )
            for batch in LATENCY_BATCHES
        },
        "threads": threads,
        "machine": provenance.machine(),
        "versions": provenance.versions(),
        "commit": provenance.commit(),
    }


def known_classes(splits: Splits, classes: tuple[str, ...]) -> Splits:
    """Only the classes of a run, in its order of labels."""
    numbers = class_numbers(splits.train.classes, classes, splits.source)
    train, test = (keep_classes(split, numbers) for split in (splits.train, splits.test))
    return Splits(train, test, splits.source, splits.sha256, splits.note)


def calibration_images(trained: Trained, train: Dataset, count: int, draw: int) -> Images:
    """Training images, preprocessed; every draw is another sample."""
    chosen = generator(draw, "calibration").choice(len(train), min(count, len(train)), False)
    return preprocess(trained, train.subset(chosen))


def preprocess(trained: Trained, data: Dataset) -> Images:
    """Images as the network takes them, float32 [N, C, H, W]."""
    info = trained.run.info["data"]
    normalize = Normalization(tuple(info["mean"]), tuple(info["std"]))
    pixels: Images = normalize.of_arrays(data.images).numpy()
    return pixels


def open_session(file: bytes, threads: int) -> onnxruntime.InferenceSession:
    """An ONNX file in onnxruntime, as on a device."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = ONLY_ERRORS
    options.intra_op_num_threads = threads
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return onnxruntime.InferenceSession(file, options, ["CPUExecutionProvider"])


def logits(session: onnxruntime.InferenceSession, images: Images) -> Images:
    """Logits float32 [N, K]."""
    parts = [
        session.run(["logits"], {"image": images[start : start + EVALUATION_BATCH]})[0]
        for start in range(0, len(images), EVALUATION_BATCH)
    ]
    return np.concatenate(parts)


def compare(fp32: Images, int8: Images, labels: NDArray[np.int64]) -> dict[str, float]:
    """Accuracy, what of it was lost with its standard error, and how often both say the same.

    The standard error is that of a paired difference: of the images that one of the two gets right.
    """
    right_fp32, right_int8 = fp32.argmax(1) == labels, int8.argmax(1) == labels
    difference = right_fp32.astype(np.float64) - right_int8
    return {
        "accuracy": float(right_int8.mean()),
        "loss_points": 100 * float(difference.mean()),
        "standard_error_points": 100 * float(difference.std() / len(labels) ** 0.5),
        "agreement": float((fp32.argmax(1) == int8.argmax(1)).mean()),
    }


def latency(
    sessions: dict[str, onnxruntime.InferenceSession], images: Images, rounds: int
) -> dict[str, Any]:
    """Milliseconds of a run with quartiles and count, the sessions taking turns."""
    times: dict[str, list[float]] = {name: [] for name in sessions}
    for _ in range(rounds + WARM_UP):
        for name, session in sessions.items():
            start = time.perf_counter()
            session.run(["features", "logits"], {"image": images})
            times[name].append(1e3 * (time.perf_counter() - start))
    rows: dict[str, Any] = {}
    for name, values in times.items():
        low, median, high = statistics.quantiles(values[WARM_UP:], n=4)
        rows[name] = {"median_ms": median, "q1_ms": low, "q3_ms": high, "n": rounds}
    rows["int8_over_fp32"] = rows["int8"]["median_ms"] / rows["fp32"]["median_ms"]
    return rows


if __name__ == "__main__":
    main()
