"""What a trained network is good for: every class, int8, and telling what it never saw."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sel_edge.compile.export import torch_model
from sel_edge.compile.fold import fold
from sel_edge.compile.graph import to_model
from sel_edge.compile.load import load_graph
from sel_edge.compile.quantize import quantize
from sel_edge.core.frames import channels_first
from sel_edge.core.runlog import RunLog, frame_shape
from sel_edge.data.dataset import Dataset, Splits
from sel_edge.pretrain.evaluate import accuracy
from sel_edge.pretrain.trained import load_trained
from sel_edge.runtime.engine import Engine
from sel_edge.runtime.novelty import DEFAULT, calibrate
from tools.bench_int8 import calibration_images, logits, open_session, preprocess
from tools.bench_novelty import export
from tools.novelty_bench import auroc

CALIBRATION_IMAGES = 256
INT8_THREADS = 2


def class_accuracies(run: RunLog, test: Dataset) -> NDArray[np.float64]:
    """Share of each class's test images that a run gets right, float64 [K]."""
    _, answers = load_trained(run.path).predict(test.frames)
    right = answers.argmax(axis=1) == test.labels
    return np.array([right[test.labels == label].mean() for label in range(len(test.classes))])


def int8_accuracy(run: RunLog, splits: Splits) -> float:
    """Of the int8 graph on the whole test split."""
    network = load_trained(run.path)
    shape = channels_first(frame_shape(network.run.info))
    graph = fold(load_graph(torch_model(network.model, shape), "n")).graph
    images = calibration_images(network, splits.train, CALIBRATION_IMAGES, 0)
    session = open_session(quantize(to_model(graph).SerializeToString(), images), INT8_THREADS)
    found = logits(session, preprocess(network, splits.test))
    return accuracy(found, splits.test.labels).full


def near_auroc(run: RunLog, spec: str, test: Dataset, folder: Path) -> float:
    """How well the test frames of classes that a run never saw are told from those it knows.

    Args:
        run: of some of the classes.
        spec: data SPEC of all classes.
        test: the test split of all classes.
        folder: a new one, for the bundle.
    """
    bundle = export(run.path, spec, folder)
    features, answers = Engine(bundle, INT8_THREADS).infer(test.frames)
    detector = calibrate(DEFAULT, bundle.anchors().features, *bundle.head()).novelty
    scores = detector.score(features, answers)
    known = np.isin(np.array(test.classes)[test.labels], run.classes)
    return auroc(scores[known], scores[~known])
