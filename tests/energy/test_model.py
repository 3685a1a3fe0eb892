"""The energy model: sane estimates, and a fit that finds what made the loads."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from sel_edge.core.errors import ConfigError
from sel_edge.energy.model import EnergyModel, Load, estimate, fit
from sel_edge.energy.profile import load_profile, profile_names

work = st.one_of(st.just(0.0), st.floats(1, 1e15))
models = st.builds(EnergyModel, st.floats(0.1, 50), st.floats(1e-11, 1e-8), st.floats(1e-11, 1e-8))
GRADES = [(0.0, 0.0), (1e9, 0.0), (3e9, 1e6), (0.0, 1e9), (1e8, 3e9), (2e9, 2e9)]


def loads(model: EnergyModel, noise_w: list[float]) -> list[Load]:
    """Loads of a few seconds as a meter with this noise would see them."""
    found = []
    for seconds, ((flops, moved), noise) in enumerate(zip(GRADES, noise_w, strict=True), start=2):
        amount = (flops * seconds, moved * seconds)
        joules = model.joules(seconds, *amount) + noise * seconds
        found.append(Load(seconds, *amount, joules))
    return found


@pytest.mark.parametrize("name", profile_names())
@given(flops=work, moved_bytes=work, more_flops=work, more_bytes=work)
def test_estimates_are_positive_grow_with_the_work_and_stay_below_full_load(
    name: str, flops: float, moved_bytes: float, more_flops: float, more_bytes: float
) -> None:
    profile = load_profile(name)
    some = estimate(profile, flops, moved_bytes)
    more = estimate(profile, flops + more_flops, moved_bytes + more_bytes)
    assert (some.seconds > 0) == (some.joules > 0) == (flops + moved_bytes > 0)
    for field in ("seconds", "joules", "joules_above_idle"):
        assert getattr(some, field) <= getattr(more, field)
    assert some.joules_above_idle <= some.joules
    assert some.joules <= profile.load_w * some.seconds * 1.01


@given(models)
def test_exact_loads_give_the_model_back(model: EnergyModel) -> None:
    found = fit(loads(model, [0.0] * len(GRADES)))
    for field in ("idle_w", "j_per_flop", "j_per_byte"):
        assert getattr(found.model, field) == pytest.approx(getattr(model, field), rel=1e-6)
    assert found.residual_w < 1e-6


@given(models, st.lists(st.floats(-3, 3), min_size=6, max_size=6))
def test_the_fit_is_that_of_scipy(model: EnergyModel, noise_w: list[float]) -> None:
    optimize = pytest.importorskip("scipy.optimize")
    observed = loads(model, noise_w)
    rates = np.array(
        [(1, load.flops / load.seconds, load.moved_bytes / load.seconds) for load in observed]
    )
    watts = np.array([load.joules / load.seconds for load in observed])
    scale = rates.max(axis=0)
    expected, norm = optimize.nnls(rates / scale, watts)
    found = fit(observed)
    ours = np.array([found.model.idle_w, found.model.j_per_flop, found.model.j_per_byte]) * scale
    assert (ours >= 0).all()
    assert ours == pytest.approx(expected, abs=1e-6 * (1 + np.abs(watts).max()))
    assert found.residual_w == pytest.approx(norm / np.sqrt(len(watts)), abs=1e-6)


def test_standard_errors_cover_the_truth_about_as_often_as_they_should() -> None:
    model, rng, hits = EnergyModel(2.0, 1e-9, 1e-9), np.random.default_rng(0), 0
    for _ in range(400):
        found = fit(loads(model, list(rng.normal(0, 0.05, len(GRADES)))))
        hits += abs(found.model.j_per_flop - model.j_per_flop) <= found.error.j_per_flop
    assert 0.5 < hits / 400 < 0.75  # Student's t with 3 degrees of freedom: 0.61


@given(st.lists(st.sampled_from(GRADES), max_size=8))
def test_loads_that_determine_nothing_are_refused(grades: list[tuple[float, float]]) -> None:
    rates = np.array([(1, flops, moved) for flops, moved in grades]).reshape(-1, 3)
    assume(len(grades) < 4 or np.linalg.matrix_rank(rates / np.array([1, 3e9, 3e9])) < 3)
    with pytest.raises(ConfigError, match="cannot be fitted"):
        fit([Load(1.0, flops, moved, 1.0) for flops, moved in grades])
