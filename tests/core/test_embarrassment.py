"""Embarrassment against its definition."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from sel_edge.core.embarrassment import (
    TEMPERATURE,
    class_embarrassment,
    confidence,
    cross_entropy,
    log_softmax,
    softmax,
)

LOGITS = arrays(np.float32, (7, 4), elements=st.floats(-1e4, 1e4, width=32))


def test_embarrassment_is_the_mean_cross_entropy_at_temperature_one_and_a_half() -> None:
    logits = np.array([[3.0, 0.0, 0.0], [0.0, 3.0, 0.0], [0.0, 0.0, 0.0]])
    labels = np.array([0, 0, 1])
    right = np.log(np.exp(2) + 2) - 2
    wrong = np.log(np.exp(2) + 2)
    assert TEMPERATURE == 1.5
    assert class_embarrassment(logits, labels, 3)[:2] == pytest.approx(
        [(right + wrong) / 2, np.log(3)]
    )


def test_a_class_without_samples_has_no_embarrassment() -> None:
    assert np.isnan(class_embarrassment(np.zeros((1, 2)), np.array([0]), 2)[1])


def test_confidence_is_one_less_embarrassment_but_never_negative() -> None:
    assert confidence(np.array([0.25, 1.0, 3.0])).tolist() == [0.75, 0.0, 0.0]
    assert np.isnan(confidence(np.array([np.nan]))[0])


@given(LOGITS)
def test_probabilities_sum_to_one_however_large_the_logits(logits: np.ndarray) -> None:
    assert softmax(logits).sum(axis=1) == pytest.approx(np.ones(7))
    assert np.isfinite(log_softmax(logits)).all()


@given(LOGITS, st.floats(-1e3, 1e3, width=32))
def test_adding_a_constant_to_all_logits_changes_nothing(logits: np.ndarray, by: float) -> None:
    labels = np.arange(7) % 4
    shifted = logits.astype(np.float64) + by
    assert cross_entropy(shifted, labels) == pytest.approx(
        cross_entropy(logits.astype(np.float64), labels), abs=1e-6
    )
    assert (cross_entropy(logits, labels) >= 0).all()
