"""Number formats and layouts: which are tried, and what they do to frames."""

from __future__ import annotations

import pytest
import torch

from sel_edge.pretrain import precision
from sel_edge.pretrain.initialize import build_model
from sel_edge.pretrain.precision import Arithmetic, choose_arithmetic, possible

CPU = torch.device("cpu")


def layouts(width: int, shape: tuple[int, ...], name: str = "resnet18") -> set[str]:
    """Those that are tried for a network on a processor."""
    model = build_model(3, width, shape[0], "scratch", 0, name)
    return {arithmetic.layout for arithmetic in possible(model, shape, CPU)}


def test_channels_last_is_tried_where_it_is_safe_and_means_something():
    assert layouts(16, (3, 32, 32)) == {"contiguous", "channels-last"}
    assert layouts(8, (3, 32, 32)) == {"contiguous"}
    assert layouts(16, (2, 64), "resnet18-1d") == {"contiguous"}


@pytest.mark.parametrize("channels", [1, 3])
def test_frames_come_in_the_strides_of_their_layout(channels):
    as_data_hold_them = torch.rand(4, 6, 5, channels).permute(0, 3, 1, 2)
    plain = Arithmetic(CPU, "fp32").placed(as_data_hold_them)
    last = Arithmetic(CPU, "fp32", "channels-last").placed(as_data_hold_them)
    assert torch.equal(plain, as_data_hold_them) and torch.equal(last, as_data_hold_them)
    assert plain.stride() == (channels * 30, 30, 5, 1)
    assert last.is_contiguous(memory_format=torch.channels_last)


def test_the_choice_is_one_of_those_that_were_timed():
    model = build_model(3, 16, 3, "scratch", 0)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    chosen, times = choose_arithmetic(model, (3, 8, 8), 8, CPU)
    assert f"{chosen.precision}_{chosen.layout}_ms" in times and 1 <= len(times) <= 4
    assert all(torch.equal(before[name], t) for name, t in model.state_dict().items())


@pytest.mark.parametrize("size", [32, 64, 96])
def test_every_layout_that_is_timed_survives_a_step(size, monkeypatch):
    monkeypatch.setattr(precision, "WARM_UP_ROUNDS", 0)
    monkeypatch.setattr(precision, "TIMED_ROUNDS", 1)
    for width in (8, 16):
        model = build_model(3, width, 1, "scratch", 0)
        assert choose_arithmetic(model, (1, size, size), 64, CPU)


def test_what_is_hopeless_is_not_timed_with_a_whole_batch(monkeypatch):
    sizes = []

    def bare_step(model, shape, batch_size, arithmetic):
        sizes.append((arithmetic.precision, batch_size))
        return lambda: 20.0 if arithmetic.precision == "bf16" else 1.0

    monkeypatch.setattr(precision, "bare_step", bare_step)
    monkeypatch.setattr(precision, "_seconds", lambda step: step())
    model = build_model(3, 8, 3, "scratch", 0)
    chosen, times = choose_arithmetic(model, (3, 8, 8), 64, CPU)
    assert chosen.precision == "fp32" and set(times) == {"fp32_contiguous_ms"}
    assert sizes == [("fp32", 4), ("bf16", 4), ("fp32", 64)]
