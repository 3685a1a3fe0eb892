"""One pretraining run in its directory: start it, interrupt it, resume it, finish it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from sel_edge.core import provenance, runlog
from sel_edge.core.embarrassment import softmax
from sel_edge.core.errors import ConfigError, DataError, RunDirectoryError
from sel_edge.core.measurement import Meter
from sel_edge.core.runlog import RunLog, Samples, history_columns, read_run
from sel_edge.data.anchors import choose_anchors
from sel_edge.data.dataset import Dataset, Splits
from sel_edge.data.sources import load_splits
from sel_edge.pretrain.batches import Normalization, fit_normalization
from sel_edge.pretrain.checkpoint import (
    CHECKPOINT_FILE,
    MODEL_FILE,
    pack,
    read_tensors,
    unpack,
    write_tensors,
)
from sel_edge.pretrain.evaluate import first_of_each_class, predict
from sel_edge.pretrain.flops import count_flops, torch_training_flops
from sel_edge.pretrain.initialize import Init, build_model
from sel_edge.pretrain.loop import Observer, Setup, Trainer, TrainState, new_optimizer
from sel_edge.pretrain.model import parameter_count
from sel_edge.pretrain.precision import Arithmetic, choose_device, choose_precision
from sel_edge.pretrain.progress import EpochSums, Position, Spent
from sel_edge.pretrain.recipe import Recipe, recipe_from_dict

SAMPLES_PER_CLASS = 20


@dataclass(frozen=True)
class RunOptions:
    """What a user asks for.

    Attributes:
        data: a data SPEC, see `sel_edge.data.sources.load_splits`.
        recipe: already scaled to the wanted epochs.
        width: channels of the first stage, one of 64, 32, 16, 8.
        init: "scratch" or "imagenet".
        device: "auto", "cpu", "cuda" or "cuda:N".
        precision: "auto", "fp32" or "bf16".
        seed: fixes initial weights, order, augmentation and anchors.
        holdout: training images per class kept out of training as anchors for the device.
        epochs_scale: what `recipe` was scaled by, for the log.
    """

    data: str
    recipe: Recipe
    width: int = 64
    init: Init = "scratch"
    device: str = "auto"
    precision: str = "auto"
    seed: int = 0
    holdout: int = 0
    epochs_scale: float = 1.0


def start_run(
    out: Path,
    options: RunOptions,
    meter: Meter,
    observer: Observer,
    stop_requested: Callable[[], bool],
) -> RunLog:
    """Train from the first weights into a new directory.

    Raises:
        RunDirectoryError: `out` already holds something.
        SelEdgeError: whatever data, recipe, device or disk is at fault.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        held = "a run" if (out / runlog.RUN_FILE).exists() else "something else"
        raise RunDirectoryError(
            f"{out} already holds {held}.",
            "A new run needs a directory of its own.",
            "Choose another --out, or add --resume to go on with an interrupted run.",
        )
    splits = load_splits(options.data)
    info = _new_info(options, splits, meter)
    runlog.write_info(out, info)
    return _train(out, info, splits, meter, observer, stop_requested)


def resume_run(
    out: Path, meter: Meter, observer: Observer, stop_requested: Callable[[], bool]
) -> RunLog:
    """Go on with an interrupted run, to the result it would have had.

    Raises:
        RunDirectoryError: no run, a finished one, or a damaged checkpoint.
        DataError: the data are not those the run began with.
    """
    info = read_run(out).info
    if info["finished"]:
        raise RunDirectoryError(
            f"The run in {out} is finished.",
            "Only an interrupted run can be resumed.",
            "Use it as it is, or start another one in a new directory.",
        )
    splits = load_splits(info["data"]["spec"])
    if splits.sha256 != info["data"]["sha256"]:
        raise DataError(
            f"The data {info['data']['spec']!r} have changed since this run began.",
            f"Content with SHA-256 {info['data']['sha256'][:16]}... is expected.",
            "Put the original data back, or start a new run.",
        )
    return _train(out, info, splits, meter, observer, stop_requested)


def _new_info(options: RunOptions, splits: Splits, meter: Meter) -> dict[str, Any]:
    """Everything about the run that is known before its first step, measured where it must be."""
    kept = _without_anchors(splits.train, options.holdout, options.seed)
    height, width, channels = splits.train.images.shape[1:]
    shape = (channels, height, width)
    device = choose_device(options.device)
    model = build_model(
        len(splits.train.classes), options.width, channels, options.init, options.seed
    ).to(device)
    precision, timing = options.precision, dict[str, float]()
    if precision == "auto":
        precision, timing = choose_precision(model, shape, options.recipe.batch_size, device)
    normalization = fit_normalization(kept)
    flops = count_flops(model, shape)
    return {
        "schema": runlog.SCHEMA,
        "finished": False,
        "recipe": options.recipe.as_dict(),
        "epochs_scale": options.epochs_scale,
        "data": {
            "spec": splits.source,
            "sha256": splits.sha256,
            "note": splits.note,
            "classes": list(splits.train.classes),
            "n_train": len(kept.labels),
            "n_test": len(splits.test.labels),
            "holdout": options.holdout,
            "image_shape": [height, width, channels],
            "mean": list(normalization.mean),
            "std": list(normalization.std),
        },
        "model": {
            "name": "resnet18",
            "width": options.width,
            "channels": channels,
            "parameters": parameter_count(model),
            "forward_macs": flops.forward // 2,
            "training_flops": flops.training,
            "torch_training_flops": torch_training_flops(model, shape),
        },
        "init": options.init,
        "seed": options.seed,
        "device": str(device),
        "precision": precision,
        "precision_timing": timing,
        "threads": torch.get_num_threads(),
        "machine": provenance.machine(),
        "versions": provenance.versions(),
        "commit": provenance.commit(),
        "energy": {"meter": meter.name, "origin": meter.origin},
        "totals": {},
    }


def _train(
    out: Path,
    info: dict[str, Any],
    splits: Splits,
    meter: Meter,
    observer: Observer,
    stop_requested: Callable[[], bool],
) -> RunLog:
    """Run to the end from whatever `out` holds, then write what a finished run holds."""
    setup, state = _restore(out, info, splits, meter)
    columns = history_columns(setup.train.classes, setup.recipe.staged)

    def save() -> None:
        _write_checkpoint(out, state)
        runlog.write_history(out, columns, state.history)

    Trainer(setup, state, observer, save, stop_requested).run()
    _finish(out, info, setup, state)
    return read_run(out)


def _restore(
    out: Path, info: dict[str, Any], splits: Splits, meter: Meter
) -> tuple[Setup, TrainState]:
    recipe = recipe_from_dict(info["recipe"])
    data, shape = info["data"], info["data"]["image_shape"]
    device = choose_device(info["device"])
    torch.set_num_threads(info["threads"])  # sums in another order would not be the same bits
    begun = (out / CHECKPOINT_FILE).exists()
    init: Init = "scratch" if begun else info["init"]
    model = build_model(
        len(data["classes"]), info["model"]["width"], shape[2], init, info["seed"]
    ).to(device)
    setup = Setup(
        recipe=recipe,
        train=_without_anchors(splits.train, data["holdout"], info["seed"]),
        test=splits.test,
        normalization=Normalization(tuple(data["mean"]), tuple(data["std"])),
        arithmetic=Arithmetic(device, info["precision"]),
        flops=count_flops(model, (shape[2], shape[0], shape[1])),
        meter=meter,
        seed=info["seed"],
    )
    state = TrainState(model, new_optimizer(model, recipe))
    if begun:
        _read_checkpoint(out, state)
    return setup, state


def _write_checkpoint(out: Path, state: TrainState) -> None:
    scores = np.zeros(0, dtype=np.float32) if state.scores is None else state.scores
    tensors = pack(state.model, state.optimizer) | {"curriculum.scores": torch.from_numpy(scores)}
    plain = {
        "position": asdict(state.position),
        "spent": asdict(state.spent),
        "sums": state.sums and state.sums.as_dict(),
        "history": state.history,
        "gamma_0": state.gamma_0,
    }
    write_tensors(out / CHECKPOINT_FILE, tensors, plain)


def _read_checkpoint(out: Path, state: TrainState) -> None:
    checkpoint = read_tensors(out / CHECKPOINT_FILE)
    plain = checkpoint.state
    try:
        unpack(checkpoint.tensors, state.model, state.optimizer)
        state.scores = checkpoint.tensors["curriculum.scores"].numpy()
        state.position = Position(**plain["position"])
        state.spent = Spent(**plain["spent"])
        state.sums = plain["sums"] and EpochSums.from_dict(plain["sums"])
        state.history = plain["history"]
        state.gamma_0 = plain["gamma_0"]
    except (KeyError, TypeError, RuntimeError) as error:
        raise RunDirectoryError(
            f"{out / CHECKPOINT_FILE} does not belong to the run that run.json describes.",
            "The checkpoint of this very run is expected.",
            "Restore the directory or start the run again in a new one.",
        ) from error


def _finish(out: Path, info: dict[str, Any], setup: Setup, state: TrainState) -> None:
    chosen = first_of_each_class(setup.test.labels, SAMPLES_PER_CLASS)
    shown = setup.test.subset(chosen)
    logits = predict(state.model, shown, setup.normalization, setup.arithmetic)
    probabilities = softmax(logits).astype(np.float32)
    runlog.write_samples(out, Samples(shown.images, shown.labels, probabilities))
    write_tensors(out / MODEL_FILE, state.model.state_dict(), info["model"])
    last = state.history[-1]
    info["totals"] = {
        "epochs": state.position.epoch,
        "test_full_acc": last["test_full_acc"],
        "test_100_acc": last["test_100_acc"],
        "gamma_0": state.gamma_0,
        **asdict(state.spent),
    }
    info["finished"] = True
    runlog.write_info(out, info)


def _without_anchors(train: Dataset, per_class: int, seed: int) -> Dataset:
    """The training split less its held-out anchors.

    Raises:
        ConfigError: a class would have fewer than two images left.
    """
    if per_class == 0:
        return train
    smallest = int(np.bincount(train.labels).min())
    if smallest < per_class + 2:
        raise ConfigError(
            f"--holdout {per_class} was asked for, and the smallest class has {smallest} training "
            "images.",
            "At least two images of every class must remain for training.",
            "Use a smaller --holdout.",
        )
    keep = np.ones(len(train.labels), dtype=bool)
    keep[choose_anchors(train.labels, per_class, seed)] = False
    return train.subset(np.flatnonzero(keep))
