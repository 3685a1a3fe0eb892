"""Recipes by name: those of the package, and `sel` with one mechanism changed.

A name such as ``sel:no-muon`` is the recipe and the change; ``dense-strong:half`` has half of its
epochs. A mechanism of `sel` is switched off, or one that it does not use is switched on, in as many
epochs as about the same work allows. What softens labels itself (recall, logit-norm) takes the
place of label smoothing; without Muon, steps and learning rate are those of `dense-strong`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from sel_edge.pretrain.recipe import Recipe, Stage, load_recipe

Change = Callable[[Recipe], Recipe]

FROZEN_PARTS, VIEWS = 3, 2
SKIP = 0.5
SPARE = 0.5
RECALL = 0.5
SETTLED = 0.05
LOGIT_NORM = 10.0
WIDENING = (0.4, 0.7)
EASY = 0.65
"""Share of the frames below the mean loss, late in training."""
FRONT = 0.28
"""Share of a network's FLOPs in `FROZEN_PARTS` parts; two thirds of a step's are backward."""


def contestant(name: str, overrides: Sequence[str], epochs_scale: float) -> Recipe:
    """The recipe of a name, with overrides and its epochs scaled.

    Raises:
        KeyError: no such change.
        ConfigError: no such recipe.
    """
    recipe, _, change = name.partition(":")
    found = load_recipe(recipe, overrides).scaled(epochs_scale)
    if not change:
        return found
    changed = CHANGES[change](found)
    if change in ABLATED:
        changed = changed.scaled(work(found) / work(changed))
    return replace(changed, name=name)


def work(recipe: Recipe) -> float:
    """About how many passes over all frames, whole and by the whole network, a recipe is worth."""
    spared = 2 / 3 * FRONT * recipe.skip
    return sum(
        stage.epochs
        * stage.side**2
        * (stage.end - stage.start)
        * (1 - EASY * stage.spare)
        * (1 - (FRONT if stage.views else 2 / 3 * FRONT if stage.frozen else spared))
        for stage in recipe.stages
    )


def _stages(change: Callable[[Stage], Stage]) -> Change:
    return lambda recipe: replace(recipe, stages=tuple(change(stage) for stage in recipe.stages))


def _last(change: Callable[[Stage], Stage]) -> Change:
    return lambda recipe: replace(recipe, stages=(*recipe.stages[:-1], change(recipe.stages[-1])))


def _without_muon(recipe: Recipe) -> Recipe:
    """With the steps and the rate that suit Nesterov momentum: the baseline's, whatever was set."""
    strong = load_recipe("dense-strong")
    return replace(
        recipe,
        optimizer="sgd",
        batch_size=strong.batch_size,
        learning_rate=strong.learning_rate,
    )


def _widening(recipe: Recipe) -> Recipe:
    """All frames once, to score them; then the easy ones of every class, then all again."""
    first, *others = recipe.stages
    scoring = replace(first, name=f"{first.name}, all", epochs=1)
    rest = replace(first, epochs=max(1, first.epochs - 1))
    narrow = [replace(s, end=end) for s, end in zip([rest, *others], WIDENING, strict=False)]
    return replace(recipe, scores="losses", stages=(scoring, *narrow, *others[len(narrow) - 1 :]))


CHANGES: dict[str, Change] = {
    "half": lambda recipe: recipe.scaled(0.5),
    "no-small-frames": _stages(lambda stage: replace(stage, side=1.0)),
    "no-parts": lambda recipe: replace(recipe, part_size=0),
    "zeros-around": lambda recipe: replace(recipe, padding="zeros"),
    "mirrored-by-chance": lambda recipe: replace(recipe, flip_in_turn=False),
    "recall": lambda recipe: replace(recipe, recall=RECALL, label_smoothing=0.0),
    "spare": _stages(lambda stage: replace(stage, spare=SPARE)),
    "settling": lambda recipe: replace(recipe, settled=SETTLED),
    "no-smoothing": lambda recipe: replace(recipe, label_smoothing=0.0),
    "no-muon": _without_muon,
    "muon": lambda recipe: replace(
        recipe, optimizer="muon", conv_rate=load_recipe("sel").conv_rate
    ),
    "logit-norm": lambda recipe: replace(recipe, logit_norm=LOGIT_NORM, label_smoothing=0.0),
    "widening-pool": _widening,
    "frozen": _last(lambda stage: replace(stage, frozen=FROZEN_PARTS)),
    "frozen-and-kept": _last(lambda stage: replace(stage, frozen=FROZEN_PARTS, views=VIEWS)),
    "skipped-gradients": lambda recipe: replace(recipe, skip=SKIP, skip_parts=FROZEN_PARTS),
}
"""Name -> what it does to a recipe."""

OF_THE_BASELINE = ("half", "muon")
"""What is told beside the result: how the baseline does with less work, and with Muon."""

ABLATED = [change for change in CHANGES if change not in OF_THE_BASELINE]
ABLATIONS = tuple(f"sel:{change}" for change in ABLATED)
