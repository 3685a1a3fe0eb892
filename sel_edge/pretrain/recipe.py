"""A recipe: everything that makes one way of training differ from another, as frozen data."""

from __future__ import annotations

import math
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, asdict, dataclass, fields, replace
from importlib import resources
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

from sel_edge.core.errors import ConfigError
from sel_edge.pretrain.model import PARTS

Gate = Literal["none", "report", "repeat"]
Optimizer = Literal["adam", "sgd", "muon"]
Padding = Literal["zeros", "reflect"]
Schedule = Literal["constant", "one-cycle"]
Scores = Literal["cold", "losses"]


SMALLEST_STEP = 64
"""Images of a step; fewer say too little of which way to go."""


@dataclass(frozen=True)
class Stage:
    """One slice of the curriculum.

    Attributes:
        name: shown in logs and in the history.
        start, end: slice of every class, sorted from easy to hard, as shares 0..1.
        epochs: passes over the slice, at least 1.
        threshold: accuracy on the first 100 test images of each class that the gate asks for.
        side: share of an image's height and width, or of a signal's length, that is trained on:
            the whole frame comes smaller, not cut.
        spare: share of the frames below the mean loss that an epoch leaves out.
        frozen: parts of the network, from the stem on, that no longer learn, 0..9.
        views: with frozen parts, how many crops and mirror images of every frame the epochs take
            in turn; what the frozen parts say of each is computed once. 0 computes it every time.
    """

    name: str
    start: float
    end: float
    epochs: int
    threshold: float = 0.0
    side: float = 1.0
    spare: float = 0.0
    frozen: int = 0
    views: int = 0


@dataclass(frozen=True)
class GradientMask:
    """Zero every gradient whose magnitude is at most gamma, after the backward pass.

    Attributes:
        percentile: gamma_0 is this percentile (0..100) of |gradient| over all parameters.
        batch_size: images of the one batch that gamma_0 is taken from.
        decay: stage i of n uses gamma_0 * (1 - decay * i / n), i from 0.
    """

    percentile: float = 20.0
    batch_size: int = 128
    decay: float = 0.4


@dataclass(frozen=True)
class Recipe:
    """How to train.

    Attributes:
        name: of the recipe, for logs.
        stages: the curriculum; one stage over 0..1 is ordinary training.
        learning_rate: the highest of the schedule, before the loss gain.
        loss_gain: the learning rate of a step is multiplied by (1 + loss_gain * loss).
        optimizer: Adam, gradient descent with Nesterov's momentum, or Muon, which is that with
            orthogonal steps of the convolutions.
        momentum: of "sgd", and of "muon" for all but convolutions.
        conv_rate: of "muon": by how much a convolution moves per step at the highest learning rate,
            as a share of its norm.
        conv_momentum: of "muon", for convolutions.
        weight_decay: added to the gradient as weight_decay * weight.
        schedule: the same rate at every step, or linearly up and down again to zero.
        warm_up: share of the steps of "one-cycle" on which the rate rises.
        label_smoothing: share of every label that is spread over all classes.
        recall: share of every label that, by the end, what the network said of the same image last
            time stands for; it grows from 0.
        logit_norm: norm that the loss gives to all logits, about 5 to 25; 0 leaves them alone.
        batch_size: images of a step.
        part_size: at least so many whole images, or as many more small ones as they have fewer
            pixels, pass through the network at a time, and are normalized by their own statistics
            (ghost batch normalization, Hoffer et al. 2017, arXiv:1705.08741); 0: all of a step.
        crop_padding: pixels of padding for random crops; 0 switches cropping off. A signal is
            shifted by at most so many samples, and at most a sixteenth of its length.
        padding: zeros, or the image's reflection, which looks like what is tested on.
        flip: mirror half of the images; signals never.
        flip_in_turn: mirror each of them in every other epoch, not by chance: two epochs show all
            images both ways (Jordan 2024, arXiv:2404.00498).
        settled: a stage other than the last ends when an epoch lowers the mean embarrassment of its
            pool by less than this share; the last one takes over the epochs that are left. 0: every
            stage lasts all of its epochs.
        scores: what sorts a class from easy to hard: the losses of a network that has learned
            nothing, or the last losses in training before the stage.
        skip: share of the steps whose backward pass ends before it reaches `skip_parts`; what those
            parts learn in the other steps weighs more.
        skip_parts: parts of the network, from the stem on, 0..9.
        images_per_class_max: at most so many images of a class in a stage; 0 means no limit.
        gradient_mask: the paper's sparse gradients, or None.
        gate: what a missed threshold does: nothing, a printed FAIL, or repeating the stage.
        extra_epochs_max: with gate "repeat", epochs a stage may add before it is an error.
        epoch_steps_min: of fewer images than make so many steps in an epoch, steps are smaller,
            down to `SMALLEST_STEP` images, and rates by the root of that.
        steps_min: of fewer images than make so many steps in all epochs, every stage has more
            epochs.
    """

    name: str
    stages: tuple[Stage, ...]
    learning_rate: float = 1e-3
    loss_gain: float = 0.0
    optimizer: Optimizer = "adam"
    momentum: float = 0.9
    conv_rate: float = 0.1
    conv_momentum: float = 0.6
    weight_decay: float = 0.0
    schedule: Schedule = "constant"
    warm_up: float = 0.25
    label_smoothing: float = 0.0
    recall: float = 0.0
    logit_norm: float = 0.0
    batch_size: int = 64
    part_size: int = 0
    crop_padding: int = 4
    padding: Padding = "zeros"
    flip: bool = True
    flip_in_turn: bool = False
    settled: float = 0.0
    scores: Scores = "cold"
    skip: float = 0.0
    skip_parts: int = 0
    images_per_class_max: int = 0
    gradient_mask: GradientMask | None = None
    gate: Gate = "none"
    extra_epochs_max: int = 0
    epoch_steps_min: int = 0
    steps_min: int = 0

    @property
    def staged(self) -> bool:
        """Whether training follows a curriculum of several slices."""
        return len(self.stages) > 1

    @property
    def epochs(self) -> int:
        """Of all stages together."""
        return sum(stage.epochs for stage in self.stages)

    @property
    def selects(self) -> bool:
        """Whether any stage leaves images out, so that they must be sorted first."""
        whole = all(stage.start == 0 and stage.end == 1 for stage in self.stages)
        return not whole or self.images_per_class_max > 0

    def scaled(self, epochs_scale: float) -> Recipe:
        """The same recipe with every stage's epochs multiplied, at least 1 each.

        Raises:
            ConfigError: that is more than a recipe may have.
        """
        scaled = self._stretched(epochs_scale)
        scaled = replace(scaled, steps_min=round(self.steps_min * epochs_scale))
        _check(scaled)
        return scaled

    def _stretched(self, factor: float) -> Recipe:
        stages = (
            replace(stage, epochs=max(1, round(stage.epochs * factor))) for stage in self.stages
        )
        return replace(self, stages=tuple(stages))

    def lasting(self, images: int) -> Recipe:
        """The same recipe with the steps and epochs that it has on so many training images."""
        recipe, size = self, self.batch_size
        if self.epoch_steps_min:
            size = min(size, max(SMALLEST_STEP, images // self.epoch_steps_min))
        if size < self.batch_size:
            factor = math.sqrt(size / self.batch_size)
            rates = (self.learning_rate * factor, self.conv_rate * factor)
            recipe = replace(self, batch_size=size, learning_rate=rates[0], conv_rate=rates[1])
        steps = recipe.epochs * math.ceil(images / size)
        if steps >= self.steps_min:
            return recipe
        return recipe._stretched(self.steps_min / steps)

    def as_dict(self) -> dict[str, Any]:
        """Plain data for run.json; `recipe_from_dict` reads it back."""
        return asdict(self)


def recipe_names() -> tuple[str, ...]:
    """Names of the recipes that come with the package."""
    folder = resources.files("sel_edge.pretrain") / "recipes"
    return tuple(sorted(p.name.removesuffix(".toml") for p in folder.iterdir()))


def load_recipe(name_or_path: str, overrides: Sequence[str] = ()) -> Recipe:
    """A recipe by name or from a TOML file, with `key=value` overrides in TOML syntax.

    Raises:
        ConfigError: no such recipe, an unknown key, a wrong type or an impossible value.
    """
    if name_or_path in recipe_names():
        resource = resources.files("sel_edge.pretrain") / "recipes" / f"{name_or_path}.toml"
        name, text = name_or_path, resource.read_text()
    else:
        path = Path(name_or_path)
        if path.suffix != ".toml" or not path.is_file():
            raise ConfigError(
                f"There is no recipe {name_or_path!r}.",
                f"Known recipes are {', '.join(recipe_names())}; a path to a .toml file works too.",
                "Choose one with --recipe.",
            )
        name, text = path.stem, _read(path)
    values = _parse_toml(text, name_or_path)
    for override in overrides:
        values |= _parse_toml(override, f"--set {override}")
    return recipe_from_dict({"name": name, **values})


def recipe_from_dict(values: Mapping[str, Any]) -> Recipe:
    """Build a recipe from plain data, checking every key and value.

    Raises:
        ConfigError: see `load_recipe`.
    """
    plain = dict(values)
    name = f"recipe {plain.get('name', '?')!r}"
    stages = plain.get("stages")
    if not isinstance(stages, list | tuple) or not stages:
        raise ConfigError(
            f"The {name} has no stages.", "At least one [[stages]] table is needed.", "Add one."
        )
    plain["stages"] = tuple(_build(Stage, stage, f"a stage of the {name}") for stage in stages)
    if plain.get("gradient_mask") is not None:
        plain["gradient_mask"] = _build(
            GradientMask, plain["gradient_mask"], f"gradient_mask of the {name}"
        )
    recipe = _build(Recipe, plain, name)
    _check(recipe)
    return recipe


T = TypeVar("T")


def _build(kind: type[T], values: Any, where: str) -> T:
    """Make a `kind` of a mapping whose keys and types must match its fields."""
    known = {field.name: field for field in fields(kind)}  # type: ignore[arg-type]
    if not isinstance(values, Mapping):
        raise ConfigError(f"{where} is {values!r}.", "A table is expected.", "Correct the recipe.")
    unknown = sorted(set(values) - set(known))
    required = {n for n, f in known.items() if f.default is MISSING}
    missing = sorted(required - set(values))
    if unknown or missing:
        problem = f"unknown key {unknown[0]!r}" if unknown else f"no key {missing[0]!r}"
        raise ConfigError(
            f"There is {problem} in {where}.",
            f"Its keys are {', '.join(known)}.",
            "Correct the recipe or the --set option.",
        )
    hints = get_type_hints(kind)
    plain = {}
    for key, value in values.items():
        whole = hints[key] is float and type(value) is int and abs(value) < 2**53
        plain[key] = float(value) if whole else value
        if not _fits(plain[key], hints[key]):
            raise ConfigError(
                f"{key} in {where} is {value!r}.",
                f"A value of type {_type_name(hints[key])} is expected.",
                "Correct the recipe or the --set option.",
            )
    return kind(**plain)


def _fits(value: Any, hint: Any) -> bool:
    if hint in (float, int, bool, str):
        return type(value) is hint
    if get_origin(hint) is Literal:
        return value in get_args(hint)
    return True  # nested tables have been built and checked before


def _type_name(hint: Any) -> str:
    if get_origin(hint) is Literal:
        return " or ".join(get_args(hint))
    return getattr(hint, "__name__", str(hint))


def _check(recipe: Recipe) -> None:
    mask = recipe.gradient_mask or GradientMask()
    rules = [
        (0 < recipe.learning_rate < 10, "learning_rate must be between 0 and 10"),
        (0 <= recipe.loss_gain <= 100, "loss_gain must be between 0 and 100"),
        (0 <= recipe.momentum < 1, "momentum must be at least 0 and below 1"),
        (0 < recipe.conv_rate < 1, "conv_rate must be between 0 and 1"),
        (0 <= recipe.conv_momentum < 1, "conv_momentum must be at least 0 and below 1"),
        (0 <= recipe.weight_decay < 1, "weight_decay must be at least 0 and below 1"),
        (0 < recipe.warm_up < 1, "warm_up must be between 0 and 1"),
        (0 <= recipe.label_smoothing < 1, "label_smoothing must be at least 0 and below 1"),
        (0 <= recipe.recall <= 1, "recall must be between 0 and 1"),
        (0 <= recipe.logit_norm <= 100, "logit_norm must be between 0 and 100"),
        (2 <= recipe.batch_size <= 65536, "batch_size must be between 2 and 65536"),
        (recipe.part_size == 0 or recipe.part_size >= 2, "part_size must be 0, or 2 or more"),
        (0 <= recipe.crop_padding <= 64, "crop_padding must be between 0 and 64"),
        (0 <= recipe.settled < 1, "settled must be at least 0 and below 1"),
        (0 <= recipe.skip < 1, "skip must be at least 0 and below 1"),
        (0 <= recipe.skip_parts <= PARTS, f"skip_parts must be between 0 and {PARTS}"),
        (recipe.images_per_class_max >= 0, "images_per_class_max must not be negative"),
        (recipe.extra_epochs_max >= 0, "extra_epochs_max must not be negative"),
        (0 <= recipe.epoch_steps_min <= 10**6, "epoch_steps_min must be between 0 and 1,000,000"),
        (0 <= recipe.steps_min <= 10**6, "steps_min must be between 0 and 1,000,000"),
        (0 <= mask.percentile <= 100, "gradient_mask.percentile must be between 0 and 100"),
        (mask.batch_size >= 2, "gradient_mask.batch_size must be at least 2"),
        (0 <= mask.decay <= 1, "gradient_mask.decay must be between 0 and 1"),
    ]
    both = recipe.settled > 0 and recipe.gate == "repeat"
    rules.append((not both, 'settled ends a stage early, gate = "repeat" late: set one of them'))
    late = recipe.gate == "repeat" and recipe.schedule == "one-cycle"
    rules.append((not late, 'gate = "repeat" adds epochs, and "one-cycle" ends at a rate of zero'))
    both = (recipe.skip > 0) == (recipe.skip_parts > 0)
    rules.append((both, "skip and skip_parts must both be above 0, or both 0"))
    first = recipe.stages[0]
    sorted_later = recipe.scores == "cold" or (first.start, first.end) == (0, 1)
    rules.append((sorted_later, f'{first.name}: with scores = "losses" it must be of all frames'))
    all_are_scored = recipe.scores == "cold" or recipe.images_per_class_max == 0
    rules.append((all_are_scored, 'scores = "losses" are of all frames: no images_per_class_max'))
    for stage in recipe.stages:
        rules += [
            (0 <= stage.start < stage.end <= 1, f"{stage.name}: 0 <= start < end <= 1 must hold"),
            (stage.epochs >= 1, f"{stage.name}: epochs must be at least 1"),
            (0 <= stage.threshold <= 1, f"{stage.name}: threshold must be between 0 and 1"),
            (0 < stage.side <= 1, f"{stage.name}: side must be above 0 and at most 1"),
            (0 <= stage.spare < 1, f"{stage.name}: spare must be at least 0 and below 1"),
            (0 <= stage.frozen <= PARTS, f"{stage.name}: frozen must be between 0 and {PARTS}"),
            (stage.views >= 0, f"{stage.name}: views must not be negative"),
            (stage.frozen > 0 or stage.views == 0, f"{stage.name}: views need frozen parts"),
        ]
    for holds, rule in rules:
        if not holds:
            raise ConfigError(
                f"The recipe {recipe.name!r} cannot be used.", f"{rule}.", "Correct the value."
            )


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"The recipe {path} cannot be read: {error}.", "A TOML file is expected.", "Check it."
        ) from error


def _parse_toml(text: str, where: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(
            f"{where} is not valid TOML: {error}.",
            'Write key = value, text in quotes, for example gate = "repeat".',
            "Correct it.",
        ) from error
