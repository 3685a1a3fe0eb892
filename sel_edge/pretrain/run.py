"""One pretraining run in its directory: start it, interrupt it, resume it, finish it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch

from sel_edge.core import runlog
from sel_edge.core.embarrassment import softmax
from sel_edge.core.errors import DataError, RunDirectoryError
from sel_edge.core.files import (
    LOCK_FILE,
    exclusive,
    leftovers_of,
    remove_leftovers,
    require_free,
    storage_errors,
)
from sel_edge.core.frames import channels_first, noun
from sel_edge.core.measurement import Meter
from sel_edge.core.rng import generator
from sel_edge.core.runlog import RunLog, Samples, frame_shape, history_columns, read_run
from sel_edge.data.dataset import Splits
from sel_edge.data.sources import load_splits
from sel_edge.pretrain.batches import Normalization, Resident, evaluation_batch, share_of
from sel_edge.pretrain.checkpoint import (
    CHECKPOINT_FILE,
    MODEL_FILE,
    pack,
    read_tensors,
    unpack,
    write_tensors,
)
from sel_edge.pretrain.describe import (
    RunOptions,
    describe_run,
    is_same_data,
    require_shares,
    without_anchors,
)
from sel_edge.pretrain.evaluate import first_of_each_class, predict
from sel_edge.pretrain.flops import FlopsBySize
from sel_edge.pretrain.initialize import Init, build_model
from sel_edge.pretrain.loop import Observer, Trainer
from sel_edge.pretrain.losses import loudness
from sel_edge.pretrain.memory import memory_errors, trial_pass
from sel_edge.pretrain.model import ResNet18, in_evaluation
from sel_edge.pretrain.optimizer import new_optimizer
from sel_edge.pretrain.precision import Arithmetic, choose_device
from sel_edge.pretrain.progress import EpochSums, Position, Spent
from sel_edge.pretrain.ranks import Ranks, group_size, joined, leads
from sel_edge.pretrain.recipe import recipe_from_dict
from sel_edge.pretrain.remembered import Remembered
from sel_edge.pretrain.state import Setup, TrainState

NEEDED_TO_GO_ON = {
    "data": ("spec", "sha256", "n_train", "n_test", "holdout", "mean", "std"),
    "model": ("name", "width", "channels"),
    "energy": ("meter", "origin"),
}
"""What a run.json must say of these, beside what all readers need."""

SAMPLES, SAMPLES_PER_CLASS = 2000, 20
"""At most, for plots."""

LOUDNESS_FRAMES = 1000


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
    with joined(choose_device(options.device)) as ranks, ExitStack() as held:
        ranks.led(lambda: _require_new(out))
        splits = load_splits(options.data)

        def begin() -> None:
            info = describe_run(options, splits, meter, ranks.world)
            _hold(out, held)
            _require_new(out)
            runlog.write_info(out, info)

        ranks.led(begin)
        return _train(out, splits, meter, observer, stop_requested, ranks)


def _hold(out: Path, held: ExitStack) -> None:
    """Keep others out of the directory, and clear away what a killed process left of its files."""
    with storage_errors(out):
        out.mkdir(parents=True, exist_ok=True)
    held.enter_context(exclusive(out))
    for name in (*runlog.FILES, CHECKPOINT_FILE, MODEL_FILE):
        remove_leftovers(out / name)


def _require_new(out: Path) -> None:
    with storage_errors(out):
        taken = (out / runlog.RUN_FILE).is_file()
    if taken:
        raise RunDirectoryError(
            f"{out} already holds a run.",
            "A new run needs a directory of its own.",
            "Choose another --out, or add --resume to go on with an interrupted run.",
        )
    require_free(out, but=(LOCK_FILE, leftovers_of(runlog.RUN_FILE)))  # of a start that was killed


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
        stop_requested: asked between steps.
        data: data SPEC where the same data are now, if not where the run found them.

    Raises:
        RunDirectoryError: no run, a finished one, or a damaged checkpoint.
        DataError: the data are not those the run began with.
    """
    info = read_run(out).info
    _require_resumable(out, info, meter)
    spec = data or info["data"]["spec"]
    splits = load_splits(spec)
    if not is_same_data(splits, info):
        raise DataError(
            f"The data {spec!r} are not those that this run began with.",
            f"Content with SHA-256 {info['data']['sha256'][:16]}... is expected, and of it "
            f"{info['data']['n_train']:,} frames to train on and {info['data']['n_test']:,} to "
            "test with.",
            "Put the original data back (with bad=skip, the version of Pillow counts too), or "
            "start a new run.",
        )
    with joined(choose_device(info["device"])) as ranks, ExitStack() as held:
        require_shares(info["recipe"]["batch_size"], ranks.world)
        ranks.led(lambda: _hold(out, held))
        return _train(out, splits, meter, observer, stop_requested, ranks)


def _require_resumable(out: Path, info: dict[str, Any], meter: Meter) -> None:
    if info["finished"]:
        raise RunDirectoryError(
            f"The run in {out} is finished.",
            "Only an interrupted run can be resumed.",
            "Use it as it is, or start another one in a new directory.",
        )
    missing = [] if "threads" in info else ["threads"]
    for part, keys in NEEDED_TO_GO_ON.items():
        there = info[part] if isinstance(info[part], dict) else {}
        missing += [f"{part}.{key}" for key in keys if key not in there]
    if missing:
        raise RunDirectoryError(
            f"{out / runlog.RUN_FILE} has no {missing[0]}.",
            "All that `sel-edge pretrain` wrote into it is needed to go on.",
            "Restore it, or start another run in a new directory.",
        )
    # Of several processes, each has a meter of its own, and the leader's is on record.
    counted = (info["energy"]["meter"], info["energy"]["origin"])
    if leads() and (meter.name, meter.origin) != counted:
        raise RunDirectoryError(
            f"The run in {out} counted its joules with {info['energy']['meter']} "
            f"({info['energy']['origin']}), and here they would come from {meter.name} "
            f"({meter.origin}).",
            "Measured and estimated joules are never added up.",
            "Resume as the user and on the machine that began the run.",
        )
    begun_by, processes = info.get("processes", group_size()), group_size()
    if begun_by != processes:
        raise RunDirectoryError(
            f"The run in {out} is trained by {begun_by} processes together, and here there are "
            f"{processes}.",
            "Another number would share steps in another way, and end in another result.",
            f"Start as many: torchrun --nproc-per-node {begun_by} -m sel_edge pretrain --resume."
            if begun_by > 1
            else "Leave torchrun out.",
        )


def _train(
    out: Path,
    splits: Splits,
    meter: Meter,
    observer: Observer,
    stop_requested: Callable[[], bool],
    ranks: Ranks,
) -> RunLog:
    """Run to the end from whatever `out` holds, then write what a finished run holds."""
    if splits.skipped.count:
        observer.images_skipped(splits.skipped)
    info = read_run(out).info
    device = choose_device(info["device"])
    layout, compiled = info.get("layout", "contiguous"), info.get("compiled", False)
    arithmetic = Arithmetic(device, info["precision"], layout, compiled)
    recipe, shape = recipe_from_dict(info["recipe"]), channels_first(frame_shape(info))
    share = share_of(info["data"]["n_train"], recipe.batch_size, ranks.world)
    trial = trial_pass(lambda: _build(info, "scratch"), shape, arithmetic)
    with memory_errors(share, trial, ranks.world, recipe.part_size):
        setup, state = _restore(out, info, splits, meter, arithmetic, ranks)
        columns = history_columns(setup.train.data.classes, setup.recipe.staged)

        def save() -> None:
            # In this order: a checkpoint that says that all is done leaves nothing to be written.
            runlog.write_history(out, columns, state.history)
            _write_checkpoint(out, state)

        Trainer(setup, state, observer, save, stop_requested, ranks).run()
        ranks.led(lambda: _finish(out, info, setup, state))
    return read_run(out)


def _restore(
    out: Path,
    info: dict[str, Any],
    splits: Splits,
    meter: Meter,
    arithmetic: Arithmetic,
    ranks: Ranks,
) -> tuple[Setup, TrainState]:
    recipe = recipe_from_dict(info["recipe"])
    data = info["data"]
    torch.set_num_threads(info["threads"])  # sums in another order would not be the same bits
    begun = (out / CHECKPOINT_FILE).exists()
    model = _build(info, "scratch" if begun else info["init"])
    arithmetic.prepared(model)
    normalization = Normalization(tuple(data["mean"]), tuple(data["std"]))
    train = without_anchors(splits.train, data["holdout"], info["seed"])
    setup = Setup(
        recipe=recipe,
        train=Resident(train, normalization, arithmetic),
        test=Resident(splits.test, normalization, arithmetic),
        arithmetic=arithmetic,
        flops=FlopsBySize(model, channels_first(frame_shape(info))[0]),
        meter=meter,
        seed=info["seed"],
    )
    remembered = Remembered(recipe, len(train), len(data["classes"]), arithmetic.device)
    state = TrainState(model, new_optimizer(model, recipe), remembered)
    if begun:
        _read_checkpoint(out, state, ranks)
    return setup, state


def _build(info: dict[str, Any], init: Init) -> ResNet18:
    model, classes = info["model"], info["data"]["classes"]
    return build_model(
        len(classes), model["width"], model["channels"], init, info["seed"], model["name"]
    )


def _write_checkpoint(out: Path, state: TrainState) -> None:
    scores = np.zeros(0, dtype=np.float32) if state.scores is None else state.scores
    tensors = {
        **pack(state.model, state.optimizer),
        **state.remembered.tensors(),
        "curriculum.scores": torch.from_numpy(scores),
    }
    plain = {
        "position": asdict(state.position),
        "spent": asdict(state.spent),
        "sums": state.sums and state.sums.as_dict(),
        "history": state.history,
        "gamma_0": state.gamma_0,
        "curve": state.curve,
    }
    write_tensors(out / CHECKPOINT_FILE, tensors, plain)


def _read_checkpoint(out: Path, state: TrainState, ranks: Ranks) -> None:
    checkpoint = read_tensors(out / CHECKPOINT_FILE)
    plain = checkpoint.state
    try:
        unpack(checkpoint.tensors, state.model, state.optimizer)
        state.scores = checkpoint.tensors["curriculum.scores"].numpy()
        state.remembered.load(checkpoint.tensors)
        state.position = Position(**plain["position"])
        state.spent = Spent(**plain["spent"])
        sums = plain["sums"]
        state.sums = sums and EpochSums.from_dict(sums, state.remembered.losses.device, ranks)
        state.history = plain["history"]
        state.gamma_0 = plain["gamma_0"]
        state.curve = plain["curve"]
    except (KeyError, TypeError, RuntimeError) as error:
        raise RunDirectoryError(
            f"{out / CHECKPOINT_FILE} does not belong to the run that run.json describes.",
            "The checkpoint of this very run is expected.",
            "Restore the directory or start the run again in a new one.",
        ) from error


def _finish(out: Path, info: dict[str, Any], setup: Setup, state: TrainState) -> None:
    _settle_loudness(setup, state)
    if noun(setup.test.data.frames.shape[1:]) == "image":
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


def _settle_loudness(setup: Setup, state: TrainState) -> None:
    """Give the network's answers the loudness that its loss gave them."""
    if not setup.recipe.logit_norm:
        return
    count = min(LOUDNESS_FRAMES, len(setup.train))
    chosen = generator(setup.seed, "loudness").choice(len(setup.train), count, replace=False)
    parts = np.array_split(chosen, -(-count // evaluation_batch(setup.train.data.frames)))
    state.spent.executed_flops += setup.flops.at(setup.sides).forward * count
    with in_evaluation(state.model), torch.no_grad():
        indices = (torch.from_numpy(part).to(setup.train.device) for part in parts)
        logits = torch.cat([state.model(setup.train.frames(part)) for part in indices])
        factor = loudness(logits, setup.recipe)
        for parameter in state.model.fc.parameters():
            parameter.mul_(factor)


def _write_samples(out: Path, setup: Setup, state: TrainState) -> None:
    """Some test images and what became of them, for the plots of a comparison."""
    test = setup.test.data
    per_class = min(SAMPLES_PER_CLASS, max(1, SAMPLES // len(test.classes)))
    chosen = first_of_each_class(test.labels, per_class)
    logits = predict(state.model, setup.test, setup.arithmetic)[chosen]
    probabilities = softmax(logits).astype(np.float32)
    runlog.write_samples(out, Samples(test.images[chosen], test.labels[chosen], probabilities))
