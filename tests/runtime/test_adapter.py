"""The adapter against its own formulas, computed the slow way."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sel_edge.core.embarrassment import cross_entropy
from sel_edge.runtime.adapter import (
    POWER_STEPS,
    PRIOR_SAMPLES,
    STEPS_AT_ONCE,
    AdapterSettings,
    TrainingSet,
    adapt,
    balanced_weights,
    demands,
)
from sel_edge.runtime.head import Head
from sel_edge.runtime.work import finish, repeated, together


def problem(
    seed: int, n: int = 40, features: int = 6, classes: int = 4
) -> tuple[Head, TrainingSet]:
    rng = np.random.default_rng(seed)
    head = Head(
        rng.normal(0, 1, (classes, features)).astype(np.float32),
        rng.normal(0, 1, classes).astype(np.float32),
        tuple("abcdefgh"[:classes]),
    )
    labels = rng.integers(0, classes, n)
    inputs = (3 + rng.normal(0, 2, (n, features))).astype(np.float32)
    weights = rng.uniform(0.1, 1, n).astype(np.float32)
    return head, TrainingSet(inputs, labels, weights / weights.sum(), rng.random(n) < 0.5)


def learned(
    head: Head,
    classes: Sequence[str],
    training: TrainingSet,
    settings: AdapterSettings,
    new: int = 0,
) -> tuple[Head, int]:
    """The trained head and the operations executed."""
    return finish(adapt(head, classes, training, settings, new))


def objective(
    head: Head, start: Head, training: TrainingSet, rows: list[int], hold: float
) -> float:
    """Weighted cross-entropy plus the held logits, in float64."""
    inputs = training.features.astype(np.float64)
    logits = inputs @ head.weight.T.astype(np.float64) + head.bias
    before = inputs @ start.weight.T.astype(np.float64) + start.bias
    change = 0.5 * ((logits - before)[:, rows] ** 2).sum(axis=1) * training.replayed
    losses = cross_entropy(logits, training.labels) + hold * change
    return float((training.weights * losses).sum())


@given(st.integers(0, 500), st.lists(st.sampled_from("abcd"), min_size=1, unique=True))
def test_other_rows_stay_as_they_are_bit_for_bit(seed: int, classes: list[str]) -> None:
    head, training = problem(seed)
    kept = [row for row, name in enumerate(head.classes) if name not in classes]
    trained, _ = learned(head, classes, training, AdapterSettings(steps=7))
    assert np.array_equal(trained.weight[kept], head.weight[kept])
    assert np.array_equal(trained.bias[kept], head.bias[kept])
    assert trained.classes == head.classes
    assert trained.weight.dtype == trained.bias.dtype == np.float32


@given(st.integers(0, 500), st.sampled_from([0.0, 0.1, 1.0]))
def test_plain_descent_never_climbs(seed: int, hold: float) -> None:
    head, training = problem(seed)
    values = [objective(head, head, training, [1, 3], hold)]
    for steps in (1, 2, 4, 8, 16):
        settings = AdapterSettings(steps=steps, momentum=0.0, hold=hold, pull=0.0)
        trained, _ = learned(head, ("b", "d"), training, settings)
        values.append(objective(trained, head, training, [1, 3], hold))
    assert all(later <= earlier + 1e-5 for earlier, later in pairwise(values))
    assert values[-1] < values[0]


@pytest.mark.parametrize("seed", range(5))
def test_it_converges_to_where_the_gradient_of_the_objective_vanishes(seed: int) -> None:
    head, training = problem(seed)
    settings = AdapterSettings(steps=3000, momentum=0.9, hold=0.2, pull=0.0)
    candidate, _ = learned(head, ("b", "d"), training, settings)
    found = objective(candidate, head, training, [1, 3], 0.2)
    rng = np.random.default_rng(seed)
    for _ in range(20):
        weight, bias = candidate.weight.copy(), candidate.bias.copy()
        weight[[1, 3]] += rng.normal(0, 0.02, (2, 6)).astype(np.float32)
        bias[[1, 3]] += rng.normal(0, 0.02, 2).astype(np.float32)
        assert objective(Head(weight, bias, head.classes), head, training, [1, 3], 0.2) >= found


def distance(head: Head, other: Head) -> float:
    return float(np.linalg.norm(head.weight - other.weight))


@pytest.mark.parametrize("name", ["pull", "hold"])
def test_pull_and_hold_keep_the_rows_near_to_what_they_were(name: str) -> None:
    head, training = problem(1)
    training = TrainingSet(
        training.features, training.labels, training.weights, np.ones(len(training.labels), bool)
    )
    distances = []
    for strength in (0.0, 0.05, 0.5, 5.0):
        values = {"pull": 0.0, "hold": 0.0, name: strength}
        settings = AdapterSettings(steps=2000, **values)
        candidate, _ = learned(head, head.classes, training, settings)
        distances.append(distance(candidate, head))
    assert distances == sorted(distances, reverse=True)
    assert distances[-1] < distances[0] / 4


def test_logits_of_new_classes_are_not_held() -> None:
    head, training = problem(2)
    settings = AdapterSettings(steps=500, hold=50.0)
    held, _ = learned(head, ("d",), training, settings, new=0)
    free, _ = learned(head, ("d",), training, settings, new=1)
    assert distance(held, head) < distance(free, head)


@given(st.integers(1, 30), st.integers(1, 8), st.integers(1, 4), st.integers(1, 9))
def test_operations_are_counted_as_they_are_executed(
    n: int, features: int, rows: int, steps: int
) -> None:
    head, training = problem(0, n, features)
    _, executed = learned(head, head.classes[:rows], training, AdapterSettings(steps=steps))
    per_step = 2 * (2 * n * (features + 1) * rows)  # logits of the rows, gradient of the rows
    once = 2 * n * features * 4 + POWER_STEPS * 2 * (2 * n * features)
    assert executed == once + steps * per_step


@given(st.integers(1, 30), st.integers(1, 8), st.integers(1, 4), st.integers(1, 35))
def test_every_few_steps_say_beforehand_what_they_take(
    n: int, features: int, rows: int, steps: int
) -> None:
    head, training = problem(0, n, features)
    asked = list(adapt(head, head.classes[:rows], training, AdapterSettings(steps=steps)))
    preparing, step = demands(n, features, len(head.classes), rows)
    assert asked[0] == preparing and len(asked) == 1 + -(-steps // STEPS_AT_ONCE)
    assert all(
        step.executed_flops <= one.executed_flops <= STEPS_AT_ONCE * step.executed_flops
        for one in asked[1:]
    )
    assert together(*asked) == together(preparing, repeated(step, steps))
    assert max(one.peak_bytes for one in asked) >= training.features.nbytes


@given(st.integers(0, 4))
def test_whoever_stops_between_two_steps_leaves_everything_as_it_was(taken: int) -> None:
    head, training = problem(1)
    settings = AdapterSettings(steps=3 * STEPS_AT_ONCE)
    parts = (head.weight, head.bias, training.features, training.weights)
    before = [part.copy() for part in parts]
    work = adapt(head, head.classes, training, settings)
    for _ in range(taken):
        next(work)
    work.close()
    assert all(np.array_equal(*pair) for pair in zip(parts, before, strict=True))
    again, whole = (learned(head, head.classes, training, settings)[0] for _ in range(2))
    assert again.hash == whole.hash != head.hash


def test_what_is_no_step_costs_nothing_until_it_is_asked_for() -> None:
    """Nothing is computed before the first demand was answered."""
    head, training = problem(1)
    with pytest.raises(KeyError):
        list(adapt(head, ("nobody",), training, AdapterSettings()))
    assert next(adapt(head, ("nobody",), training, AdapterSettings())).executed_flops > 0


def test_features_without_any_spread_do_no_harm() -> None:
    head, training = problem(3)
    flat = np.ones_like(training.features)
    same = TrainingSet(flat, training.labels, training.weights, training.replayed)
    trained, _ = learned(head, head.classes, same, AdapterSettings())
    assert np.isfinite(trained.weight).all()
    assert np.isfinite(trained.bias).all()


def test_logits_too_large_for_exponentials_do_no_harm() -> None:
    head, training = problem(4)
    huge = Head(head.weight * np.float32(1e4), head.bias, head.classes)
    trained, _ = learned(huge, ("a",), training, AdapterSettings(steps=5))
    assert np.isfinite(trained.weight).all()


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 1)), min_size=1, max_size=60))
def test_classes_weigh_by_how_well_they_are_known_and_groups_within_them_alike(
    cells: list[tuple[int, int]],
) -> None:
    labels, groups = (np.array(part) for part in zip(*cells, strict=True))
    weights = balanced_weights(labels, groups)
    assert weights.sum() == pytest.approx(1.0, abs=1e-5)
    shares = {}
    for label in set(labels.tolist()):
        of_class = labels == label
        shares[label] = weights[of_class].sum() * (1 + PRIOR_SAMPLES / of_class.sum())
        by_group = [
            weights[of_class & (groups == group)].sum() for group in set(groups[of_class].tolist())
        ]
        assert by_group == pytest.approx([by_group[0]] * len(by_group), rel=1e-4)
    assert list(shares.values()) == pytest.approx([shares[labels[0]]] * len(shares), rel=1e-4)
