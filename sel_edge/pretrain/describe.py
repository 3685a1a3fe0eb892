"""What run.json says of a run before its first step, measured where it must be."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import numpy as np
import torch
from torch import nn

from sel_edge.core import provenance, runlog
from sel_edge.core.errors import ConfigError, DataError
from sel_edge.core.frames import channels_first, noun
from sel_edge.core.measurement import Meter
from sel_edge.data.anchors import choose_anchors
from sel_edge.data.dataset import Dataset, Splits
from sel_edge.pretrain.batches import fit_normalization, largest_part, share_of, steps_per_epoch
from sel_edge.pretrain.curriculum import stage_pool
from sel_edge.pretrain.flops import count_flops, torch_training_flops
from sel_edge.pretrain.initialize import Init, build_model
from sel_edge.pretrain.memory import memory_errors, trial_pass
from sel_edge.pretrain.model import model_for, parameter_count
from sel_edge.pretrain.precision import (
    Arithmetic,
    Precision,
    can_compile,
    choose_arithmetic,
    choose_device,
)
from sel_edge.pretrain.recipe import Recipe

FLOPS_TOLERANCE = 0.01

# Fewer are over before compiling is, and their last batches would be compiled for again.
COMPILED_MIN_BATCHES = 8


@dataclass(frozen=True)
class RunOptions:
    """What a user asks for.

    Attributes:
        data: a data SPEC, see `sel_edge.data.sources.load_splits`.
        recipe: already scaled to the wanted epochs.
        model: one of `sel_edge.pretrain.model.MODELS`; None for the one that fits the data.
        width: channels of the first stage, one of 64, 32, 16, 8.
        init: "scratch" or "imagenet".
        device: "auto", "cpu", "cuda" or "cuda:N".
        precision: "auto", "fp32" or "bf16".
        seed: fixes initial weights, order, augmentation and anchors.
        holdout: training images per class kept out of training as anchors for the device.
        compile: whether a GPU's network may be compiled.
        epochs_scale: what `recipe` was scaled by, for the log.
    """

    data: str
    recipe: Recipe
    model: str | None = None
    width: int = 64
    init: Init = "scratch"
    device: str = "auto"
    precision: Precision | Literal["auto"] = "auto"
    seed: int = 0
    holdout: int = 0
    compile: bool = True
    epochs_scale: float = 1.0


def describe_run(
    options: RunOptions, splits: Splits, meter: Meter, world: int = 1
) -> dict[str, Any]:
    """Everything about a new run that is known before its first step, as run.json holds it.

    `world` is the number of processes that train together.

    Raises:
        SelEdgeError: model, device, width, holdout or curriculum do not fit these data.
    """
    frame_shape = splits.train.frames.shape[1:]
    name, shape = model_for(frame_shape, options.model), channels_first(frame_shape)
    kept = without_anchors(splits.train, options.holdout, options.seed)
    options = replace(options, recipe=options.recipe.lasting(len(kept)))
    require_shares(options.recipe.batch_size, world)
    _check_pools(options.recipe, kept, world)
    device = choose_device(options.device)
    model = build_model(
        len(splits.train.classes), options.width, shape[0], options.init, options.seed, name
    )
    share = share_of(len(kept), options.recipe.batch_size, world)
    trial = trial_pass(lambda: model, shape, Arithmetic(device, "fp32"))
    with memory_errors(share, trial, world, options.recipe.part_size):
        model.to(device)
        arithmetic, timing = _arithmetic(options, model, shape, device, share)
        work = _count_work(model, shape)
    compiled = _pays_to_compile(options, len(kept)) and can_compile(device)
    return {
        "schema": runlog.SCHEMA,
        "finished": False,
        "recipe": options.recipe.as_dict(),
        "epochs_scale": options.epochs_scale,
        "data": _about_data(splits, kept, options.holdout),
        "model": {
            "name": name,
            "width": options.width,
            "channels": shape[0],
            "parameters": parameter_count(model),
            **work,
        },
        "init": options.init,
        "seed": options.seed,
        "device": str(device),
        "gpu": torch.cuda.get_device_name(device) if device.type == "cuda" else None,
        "precision": arithmetic.precision,
        "layout": arithmetic.layout,
        "compiled": compiled,
        "arithmetic_timing": timing,
        "threads": torch.get_num_threads(),
        "processes": world,
        "machine": provenance.machine(),
        "versions": provenance.versions(),
        "commit": provenance.commit(),
        "energy": {"meter": meter.name, "origin": meter.origin},
        "totals": {},
    }


def _count_work(model: nn.Module, shape: tuple[int, ...]) -> dict[str, int]:
    """What run.json says of the work for a frame, counted here and by torch."""
    flops, counted = count_flops(model, shape), torch_training_flops(model, shape)
    if abs(flops.training() / counted - 1) > FLOPS_TOLERANCE:
        raise RuntimeError(f"{flops.training()} FLOPs counted, {counted} by torch's counter")
    return {
        "forward_macs": flops.forward // 2,
        "training_flops": flops.training(),
        "torch_training_flops": counted,
    }


def _about_data(splits: Splits, kept: Dataset, holdout: int) -> dict[str, Any]:
    """What run.json says of the data; `kept` is the training split less its anchors."""
    frame_shape, normalization = kept.frames.shape[1:], fit_normalization(kept)
    return {
        "spec": splits.source,
        "sha256": splits.sha256,
        "note": splits.note,
        "skipped": asdict(splits.skipped),
        "classes": list(splits.train.classes),
        "n_train": len(kept.labels),
        "n_test": len(splits.test.labels),
        "holdout": holdout,
        f"{noun(frame_shape)}_shape": list(frame_shape),
        "mean": list(normalization.mean),
        "std": list(normalization.std),
    }


def _arithmetic(
    options: RunOptions, model: nn.Module, shape: tuple[int, ...], device: torch.device, share: int
) -> tuple[Arithmetic, dict[str, float]]:
    """What was asked for, or what is fastest here for a process's share of a step."""
    if options.precision != "auto":  # it comes in one layout: the same bits in every run
        return Arithmetic(device, options.precision), {}
    return choose_arithmetic(model, shape, largest_part(share, options.recipe.part_size), device)


def _pays_to_compile(options: RunOptions, images: int) -> bool:
    return options.compile and images >= COMPILED_MIN_BATCHES * options.recipe.batch_size


def require_shares(batch_size: int, world: int) -> None:
    """Refuse steps of too few frames for so many processes.

    Raises:
        ConfigError: not every process would have two.
    """
    if batch_size < 2 * world:
        raise ConfigError(
            f"Steps of {batch_size} frames are shared by {world} processes.",
            "Batch normalization needs at least two frames in each.",
            f"Set batch_size to {2 * world} or more, or start fewer processes.",
        )


def is_asked_for(options: RunOptions, info: Mapping[str, Any]) -> bool:
    """Whether a run.json is of the run that these options ask for."""
    data, model = info["data"], info["model"]
    recipe = options.recipe.lasting(data["n_train"]).as_dict()
    pairs = [
        (json.loads(json.dumps(recipe)), info["recipe"]),  # what JSON makes of tuples is lists
        (options.data, data["spec"]),
        (options.holdout, data["holdout"]),
        (options.width, model["width"]),
        (options.model or model["name"], model["name"]),
        (options.init, info["init"]),
        (options.seed, info["seed"]),
    ]
    if options.precision != "auto":
        pairs.append((options.precision, info["precision"]))
    return all(asked == there for asked, there in pairs)


def _check_pools(recipe: Recipe, train: Dataset, world: int) -> None:
    """Refuse a curriculum with a stage too small for a single step.

    Raises:
        DataError: naming the stage.
    """
    kind = f"{noun(train.frames.shape[1:])}s"
    easy = np.zeros(len(train.labels))  # the size of a slice does not depend on the scores
    for stage in recipe.stages:
        images = len(stage_pool(easy, train.labels, stage, recipe.images_per_class_max))
        if steps_per_epoch(images, recipe.batch_size, world) == 0:
            raise DataError(
                f"The stage {stage.name!r} of {recipe.name} would train on {images} {kind}.",
                "Batch normalization needs at least two, in every process that trains.",
                f"Use more {kind} per class, or a recipe with wider slices.",
            )


def is_same_data(splits: Splits, info: Mapping[str, Any]) -> bool:
    """Whether these are the frames of the run that `info`, a run.json, describes.

    The content alone does not tell: another version of the decoder may skip other bad images.
    """
    data = info["data"]
    n_train = data["n_train"] + data["holdout"] * len(data["classes"])
    counts = (len(splits.train), len(splits.test))
    return splits.sha256 == data["sha256"] and counts == (n_train, data["n_test"])


def without_anchors(train: Dataset, per_class: int, seed: int) -> Dataset:
    """The training split less its held-out anchors.

    Raises:
        ConfigError: a class would have fewer than two anchors, or two images left.
    """
    if per_class == 0:
        return train
    kind = f"{noun(train.frames.shape[1:])}s"
    smallest = int(np.bincount(train.labels).min())
    if per_class == 1 or smallest < per_class + 2:
        raise ConfigError(
            f"--holdout {per_class} was asked for, and the smallest class has {smallest} training "
            f"{kind}.",
            f"At least two anchors of every class are needed, and two {kind} must remain.",
            "Use another --holdout, or 0.",
        )
    keep = np.ones(len(train.labels), dtype=bool)
    keep[choose_anchors(train.labels, per_class, seed)] = False
    return train.subset(np.flatnonzero(keep))
