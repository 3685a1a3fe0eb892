"""The stand-in: monotone, calibrated, and honest on average."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sel_edge.core.embarrassment import cross_entropy
from sel_edge.core.standin import KNOTS, fit_standin, uncertainty


def noisy_classifier(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Logits of varied certainty whose labels follow their own probabilities."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 1, (n, 5)) * rng.uniform(0, 8, (n, 1))
    labels = (logits + rng.gumbel(size=logits.shape)).argmax(axis=1)
    return logits, labels


@given(st.integers(1, 400), st.integers(0, 99))
def test_more_uncertainty_never_means_less_embarrassment(n: int, seed: int) -> None:
    standin = fit_standin(*noisy_classifier(n, seed))
    assert len(standin.knots) == len(standin.expected) == min(n, KNOTS)
    assert list(standin.knots) == sorted(standin.knots)
    assert (np.diff(standin.expected) >= -1e-12).all()


def test_it_predicts_the_mean_embarrassment_of_samples_it_has_not_seen() -> None:
    standin = fit_standin(*noisy_classifier(4000, 0))
    logits, labels = noisy_classifier(4000, 1)
    for part in np.array_split(np.argsort(uncertainty(logits)), 4):
        actual = cross_entropy(logits[part], labels[part], 1.5).mean()
        assert standin.estimate(logits[part]).mean() == pytest.approx(actual, abs=0.1)


def test_uncertainty_runs_from_certain_to_clueless() -> None:
    assert uncertainty(np.array([[100.0, 0.0], [0.0, 0.0]])) == pytest.approx([0.0, 1.0])
