"""One pretraining run in its directory: start it, interrupt it, resume it, finish it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch

from sel_edge.core import runlog
from sel_edge.core.embarrassment import softmax
from sel_edge.core.errors import ConfigError, DataError, RunDirectoryError
from sel_edge.core.files import exclusive, require_free, storage_errors
from sel_edge.core.frames import channels_first, noun
from sel_edge.core.measurement import Meter
from sel_edge.core.runlog import RunLog, Samples, frame_shape, history_columns, read_run
from sel_edge.data.dataset import Splits
from sel_edge.data.sources import load_splits
from sel_edge.pretrain.batches import Normalization
from sel_edge.pretrain.checkpoint import (
    CHECKPOINT_FILE,
    MODEL_FILE,
    pack,
    read_tensors,
    unpack,
    write_tensors,
)
from sel_edge.pretrain.describe import RunOptions, describe_run, without_anchors
from sel_edge.pretrain.evaluate import first_of_each_class, predict
from sel_edge.pretrain.flops import count_flops
from sel_edge.pretrain.initialize import Init, build_model
from sel_edge.pretrain.loop import Observer, Trainer, new_optimizer
from sel_edge.pretrain.precision import Arithmetic, choose_device
from sel_edge.pretrain.progress import EpochSums, Position, Spent
from sel_edge.pretrain.recipe import recipe_from_dict
from sel_edge.pretrain.state import Setup, TrainState

SAMPLES_PER_CLASS = 20


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
    with storage_errors(out):
        taken = (out / runlog.RUN_FILE).is_file()
    if taken:
        raise RunDirectoryError(
            f"{out} already holds a run.",
            "A new run needs a directory of its own.",
            "Choose another --out, or add --resume to go on with an interrupted run.",
        )
    require_free(out)
    splits = load_splits(options.data)
    with _memory_errors():
        info = describe_run(options, splits, meter)
    runlog.write_info(out, info)
    return _train(out, info, splits, meter, observer, stop_requested)


def resume_run(
    out: Path,
    meter: Meter,
    observer: Observer,
    stop_requested: Callable[[], bool],
    data: str | None = None,
) -> RunLog:
    """Go on with an interrupted run, to the result it would have had.

    Args:
        out: the run directory.
        meter: of the same kind as the one the run began with.
        observer: told of progress.
        stop_requested: asked after every step.
        data: data SPEC where the same data are now, if not where the run found them.

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
    if (meter.name, meter.origin) != (info["energy"]["meter"], info["energy"]["origin"]):
        raise RunDirectoryError(
            f"The run in {out} counted its joules with {info['energy']['meter']} "
            f"({info['energy']['origin']}), and here they would come from {meter.name} "
            f"({meter.origin}).",
            "Measured and estimated joules are never added up.",
            "Resume as the user and on the machine that began the run.",
        )
    spec = data or info["data"]["spec"]
    splits = load_splits(spec)
    if splits.sha256 != info["data"]["sha256"]:
        raise DataError(
            f"The data {spec!r} are not those that this run began with.",
            f"Content with SHA-256 {info['data']['sha256'][:16]}... is expected.",
            "Put the original data back, or start a new run.",
        )
    return _train(out, info, splits, meter, observer, stop_requested)


def _train(
    out: Path,
    info: dict[str, Any],
    splits: Splits,
    meter: Meter,
    observer: Observer,
    stop_requested: Callable[[], bool],
) -> RunLog:
    """Run to the end from whatever `out` holds, then write what a finished run holds."""
    with _memory_errors(), exclusive(out):
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
    data, shape = info["data"], channels_first(frame_shape(info))
    device = choose_device(info["device"])
    torch.set_num_threads(info["threads"])  # sums in another order would not be the same bits
    begun = (out / CHECKPOINT_FILE).exists()
    init: Init = "scratch" if begun else info["init"]
    width, name = info["model"]["width"], info["model"]["name"]
    model = build_model(len(data["classes"]), width, shape[0], init, info["seed"], name).to(device)
    setup = Setup(
        recipe=recipe,
        train=without_anchors(splits.train, data["holdout"], info["seed"]),
        test=splits.test,
        normalization=Normalization(tuple(data["mean"]), tuple(data["std"])),
        arithmetic=Arithmetic(device, info["precision"]),
        flops=count_flops(model, shape),
        meter=meter,
        seed=info["seed"],
    )
    state = TrainState(model, new_optimizer(model, recipe))
    if begun:
        _read_checkpoint(out, state)
    return setup, state


def _write_checkpoint(out: Path, state: TrainState) -> None:
    scores = np.zeros(0, dtype=np.float32) if state.scores is None else state.scores
    assert state.losses is not None  # noqa: S101 - the trainer made them
    tensors = pack(state.model, state.optimizer) | {
        "curriculum.scores": torch.from_numpy(scores),
        "curriculum.losses": torch.from_numpy(state.losses),
    }
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
        state.losses = checkpoint.tensors["curriculum.losses"].numpy()
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
    if noun(setup.test.frames.shape[1:]) == "image":
        _write_samples(out, setup, state)
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


def _write_samples(out: Path, setup: Setup, state: TrainState) -> None:
    """Some test images and what became of them, for the plots of a comparison."""
    chosen = first_of_each_class(setup.test.labels, SAMPLES_PER_CLASS)
    shown = setup.test.subset(chosen)
    logits = predict(state.model, shown, setup.normalization, setup.arithmetic)
    probabilities = softmax(logits).astype(np.float32)
    runlog.write_samples(out, Samples(shown.images, shown.labels, probabilities))


@contextmanager
def _memory_errors() -> Iterator[None]:
    """Say what to do when the network does not fit into memory."""
    try:
        yield
    except RuntimeError as error:
        exhausted = isinstance(error, torch.OutOfMemoryError) or "DefaultCPUAllocator" in str(error)
        if not exhausted:
            raise
        raise ConfigError(
            f"Memory ran out: {str(error).splitlines()[0]}",
            "The network with its images or signals and gradients must fit into memory.",
            "Use a smaller --width, smaller images (?size=32), shorter signals, or batch_size=16.",
        ) from error
