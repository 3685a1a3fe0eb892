"""What run.json says of a run before its first step, measured where it must be."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from sel_edge.core import provenance, runlog
from sel_edge.core.errors import ConfigError, DataError
from sel_edge.core.frames import channels_first, noun
from sel_edge.core.measurement import Meter
from sel_edge.data.anchors import choose_anchors
from sel_edge.data.dataset import Dataset, Splits
from sel_edge.pretrain.batches import fit_normalization, steps_per_epoch
from sel_edge.pretrain.curriculum import stage_pool
from sel_edge.pretrain.flops import count_flops, torch_training_flops
from sel_edge.pretrain.initialize import Init, build_model
from sel_edge.pretrain.model import model_for, parameter_count
from sel_edge.pretrain.precision import choose_device, choose_precision
from sel_edge.pretrain.recipe import Recipe

FLOPS_TOLERANCE = 0.01


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
        epochs_scale: what `recipe` was scaled by, for the log.
    """

    data: str
    recipe: Recipe
    model: str | None = None
    width: int = 64
    init: Init = "scratch"
    device: str = "auto"
    precision: str = "auto"
    seed: int = 0
    holdout: int = 0
    epochs_scale: float = 1.0


def describe_run(options: RunOptions, splits: Splits, meter: Meter) -> dict[str, Any]:
    """Everything about a new run that is known before its first step, as run.json holds it.

    Raises:
        SelEdgeError: model, device, width, holdout or curriculum do not fit these data.
    """
    frame_shape = splits.train.frames.shape[1:]
    name, shape = model_for(frame_shape, options.model), channels_first(frame_shape)
    kept = without_anchors(splits.train, options.holdout, options.seed)
    _check_pools(options.recipe, kept)
    device = choose_device(options.device)
    model = build_model(
        len(splits.train.classes), options.width, shape[0], options.init, options.seed, name
    ).to(device)
    precision, timing = options.precision, dict[str, float]()
    if precision == "auto":
        precision, timing = choose_precision(model, shape, options.recipe.batch_size, device)
    normalization = fit_normalization(kept)
    flops, counted = count_flops(model, shape), torch_training_flops(model, shape)
    if abs(flops.training / counted - 1) > FLOPS_TOLERANCE:
        raise RuntimeError(f"{flops.training} FLOPs counted, {counted} by torch's counter")
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
            f"{noun(frame_shape)}_shape": list(frame_shape),
            "mean": list(normalization.mean),
            "std": list(normalization.std),
        },
        "model": {
            "name": name,
            "width": options.width,
            "channels": shape[0],
            "parameters": parameter_count(model),
            "forward_macs": flops.forward // 2,
            "training_flops": flops.training,
            "torch_training_flops": counted,
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


def _check_pools(recipe: Recipe, train: Dataset) -> None:
    """Refuse a curriculum with a stage too small for a single step.

    Raises:
        DataError: naming the stage.
    """
    kind = f"{noun(train.frames.shape[1:])}s"
    easy = np.zeros(len(train.labels))  # the size of a slice does not depend on the scores
    for stage in recipe.stages:
        images = len(stage_pool(easy, train.labels, stage, recipe.images_per_class_max))
        if steps_per_epoch(images, recipe.batch_size) == 0:
            raise DataError(
                f"The stage {stage.name!r} of {recipe.name} would train on {images} {kind}.",
                "Batch normalization needs at least two.",
                f"Use more {kind} per class, or a recipe with wider slices.",
            )


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
