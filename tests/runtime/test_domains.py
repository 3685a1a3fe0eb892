"""Domains that are remembered, recognized, forgotten and stored."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load, save

from sel_edge.core.errors import StorageError
from sel_edge.runtime.domains import RECOGNIZED_FRAMES, DomainBank
from sel_edge.runtime.moments import WINDOW_FRAMES, MomentModel, fit_moments

CHANNELS, CLASSES = 12, 5
PLACES = np.random.default_rng(9).normal(0, 1, (6, 2 * CHANNELS))
"""Displacements of domains; the first is where the bundle is at home."""
PLACES[0] = 0


def moments_of(rng, n):
    mean = rng.normal(0, 1, (n, CHANNELS))
    return np.stack([mean, mean**2 + np.exp(rng.normal(0, 0.6, (n, CHANNELS)))], axis=1)


@pytest.fixture(scope="module")
def model() -> MomentModel:
    labels = np.repeat(np.arange(CLASSES), 30)
    moments = moments_of(np.random.default_rng(0), len(labels)).astype(np.float32)
    return fit_moments(moments, labels, CLASSES)


@pytest.fixture
def stream(model):
    return Stream(model)


class Stream:
    """Frames of domains by number, one window behind the other."""

    def __init__(self, model: MomentModel) -> None:
        self.model, self.rng = model, np.random.default_rng(1)
        self.window: list[np.ndarray] = []
        self.colour = np.linalg.inv(model.whiten)

    def show(self, *numbers: int) -> None:
        """A frame of each of these domains."""
        noise = self.rng.standard_normal((len(numbers), 2 * CHANNELS)) @ self.colour.T
        self.window += list(2 * PLACES[list(numbers)] + noise)
        self.window = self.window[-WINDOW_FRAMES:]


def norm(value):
    shape = np.full(3, value, np.float32)
    return {"conv.weight": (shape, -shape), "layer1/0.weight": (shape + 1, shape)}


@pytest.fixture
def bank(model, stream):
    """Domains 1 to 3, each from a window of its own; at home again."""
    bank = DomainBank(model)
    for number in (1, 2, 3):
        stream.show(*[number] * WINDOW_FRAMES)
        assert bank.add(stream.window, norm(number), frame=100 * number).number == number
        assert bank.current.number == number
    stream.show(*[0] * WINDOW_FRAMES)
    assert bank.recognize(stream.window, 400).number == 0
    return bank


class TestRecognition:
    def test_a_domain_that_returns_is_recognized_within_32_frames(self, bank, stream):
        for number in (3, 1, 0, 2, 1, 3, 0):
            stream.show(*[number] * RECOGNIZED_FRAMES)
            found = bank.recognize(stream.window, 500)
            assert found is bank.current
            assert (found.number, found.seen) == (number, 500)
            assert found.norm.keys() == (norm(number).keys() if number else set())

    def test_an_unknown_one_is_none(self, bank, stream):
        stream.show(*[4] * RECOGNIZED_FRAMES)
        assert bank.recognize(stream.window, 500) is bank.current is None

    def test_a_mixture_is_none(self, bank, stream):
        stream.show(*[0, 1, 2, 3] * (RECOGNIZED_FRAMES // 4))
        assert bank.recognize(stream.window, 500) is None

    def test_some_odd_frames_change_nothing(self, bank, stream):
        stream.show(*[1] * RECOGNIZED_FRAMES)
        bank.recognize(stream.window, 500)
        for odd in (4, 2):
            stream.show(*[odd] * 8)
            assert bank.recognize(stream.window, 510).number == 1
            stream.show(*[1] * RECOGNIZED_FRAMES)

    def test_few_frames_change_nothing(self, bank, stream):
        stream.show(*[2] * RECOGNIZED_FRAMES)
        assert bank.recognize(stream.window[-RECOGNIZED_FRAMES + 1 :], 500).number == 0
        assert bank.recognize(stream.window, 500).number == 2

    def test_of_two_domains_that_are_alike_the_present_one_goes_on(self, bank, stream):
        stream.show(*[1] * WINDOW_FRAMES)
        assert bank.recognize(stream.window, 500).number == 1
        assert bank.add(stream.window, {}, 510).number == 4
        for _ in range(10):
            stream.show(*[1] * 8)
            assert bank.recognize(stream.window, 520).number == 4

    def test_its_cost_grows_with_the_domains(self, bank, model):
        assert bank.flops() > DomainBank(model).flops() > 0


class TestCapacity:
    def test_the_domain_not_seen_for_longest_goes(self, model, stream):
        bank = DomainBank(model, capacity=4)
        for number in (1, 2, 3):
            stream.show(*[number] * WINDOW_FRAMES)
            bank.add(stream.window, {}, number)
        stream.show(*[1] * WINDOW_FRAMES)
        assert bank.recognize(stream.window, 10).number == 1
        stream.show(*[4] * WINDOW_FRAMES)
        assert bank.add(stream.window, {}, 20).name == "domain 4"
        assert [domain.number for domain in bank.domains] == [0, 1, 3, 4]

    def test_the_bundles_own_stays(self, model, stream):
        bank = DomainBank(model, capacity=2)
        for number in range(1, 6):
            stream.show(*[number] * WINDOW_FRAMES)
            bank.add(stream.window, {}, number)
        assert [domain.number for domain in bank.domains] == [0, 5]
        assert bank.domains[0].name == "the bundle's own domain"


class TestStorage:
    def test_a_bank_comes_back_as_it_was(self, bank, stream, model):
        stored = load(save(bank.to_arrays()))
        again = DomainBank.from_arrays(model, stored)
        same(again.to_arrays(), bank.to_arrays())
        assert again.current.number == bank.current.number
        for number in (2, 4, 0, 3):
            stream.show(*[number] * RECOGNIZED_FRAMES)
            ours, theirs = (b.recognize(stream.window, 600) for b in (bank, again))
            assert (ours and ours.number) == (theirs and theirs.number)
        assert again.add(stream.window, {}, 700).number == bank.add(stream.window, {}, 700).number

    def test_no_present_domain_is_stored_too(self, bank, stream, model):
        stream.show(*[4] * RECOGNIZED_FRAMES)
        bank.recognize(stream.window, 500)
        assert DomainBank.from_arrays(model, bank.to_arrays()).current is None

    def test_a_smaller_bank_keeps_the_newest(self, bank, model):
        again = DomainBank.from_arrays(model, bank.to_arrays(), capacity=2)
        assert [domain.number for domain in again.domains] == [0, 3]

    @given(st.data())
    @settings(max_examples=60)
    def test_whatever_is_damaged_is_refused(self, model, data):
        bank = DomainBank(model)
        bank.add([model.normal + 1], norm(1), 10)
        arrays = bank.to_arrays()
        name = data.draw(st.sampled_from(sorted(arrays)))
        damage = data.draw(st.sampled_from(["gone", "longer", "type", "nan", "negative"]))
        before = arrays[name]
        if damage == "gone":
            del arrays[name]
        elif damage == "longer":
            arrays[name] = np.concatenate([before, before[:1]])
        elif damage == "type":
            arrays[name] = before.astype(np.float16)
        elif before.dtype == np.int64:
            arrays[name] = before - 100
        else:
            arrays[name] = np.full_like(before, np.nan)
        with pytest.raises(StorageError, match="bank of domains"):
            DomainBank.from_arrays(model, arrays)

    @pytest.mark.parametrize("name", ["1/other/conv.weight", "7/scale/w", "x/scale/w", "1/shift/w"])
    def test_a_normalization_of_nothing_is_refused(self, bank, model, name):
        arrays = bank.to_arrays()
        arrays[name] = np.ones(3, np.float32)
        arrays[name.replace("scale", "shift")] = np.ones(3, np.float32)
        with pytest.raises(StorageError):
            DomainBank.from_arrays(model, arrays)

    def test_that_of_another_bundle_is_refused(self, bank):
        labels = np.repeat([0, 1], 10)
        moments = moments_of(np.random.default_rng(0), 20)[:, :, :4].astype(np.float32)
        with pytest.raises(StorageError):
            DomainBank.from_arrays(fit_moments(moments, labels, 2), bank.to_arrays())


def same(ours, theirs):
    assert ours.keys() == theirs.keys()
    for name, array in ours.items():
        np.testing.assert_array_equal(array, theirs[name])
        assert array.dtype == theirs[name].dtype
