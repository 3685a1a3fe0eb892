"""A computed board takes the time, joules and warmth that its profile says."""

from __future__ import annotations

import math

import pytest

from sel_edge.bundle.bundle import Bundle
from sel_edge.bundle.rungs import GraphCost
from sel_edge.core.solar import ClearSkyDay, ConstantWatts
from sel_edge.runtime.board import Lap
from sel_edge.simulate.board import WAKE_SHARE, Supply, answer_traffic
from sel_edge.simulate.thermal import ROOM_CELSIUS, TIME_CONSTANT_S, Warmth
from tests.simulate.gratings import PLENTY, PROFILE, WH, make_board

NIGHT = ConstantWatts(0.0)


def test_learning_takes_what_the_profile_says(gratings: Bundle) -> None:
    board = make_board(gratings, PLENTY)
    lap = Lap(board.machine)
    board.machine.worked(GraphCost(10**10, 10**8, 5))
    joules, seconds = lap.read()
    assert seconds == pytest.approx(1e10 / PROFILE.flops_per_s + 1e8 / PROFILE.bytes_per_s)
    above = 1e10 * PROFILE.j_per_flop + 1e8 * PROFILE.j_per_byte
    assert joules == pytest.approx(above + PROFILE.idle_w * seconds)
    assert board.drawn.learning_j == pytest.approx(above)
    assert board.machine.clock() == board.now_s
    assert board.charge_j == pytest.approx(PLENTY.initial_j - joules, abs=1e-6)


def test_answers_last_until_the_next_frames_are_there(gratings: Bundle) -> None:
    board = make_board(gratings, PLENTY)
    board.expect_answers(100.0)
    board.machine.worked(GraphCost(10**6, 0, 0))
    assert board.elapsed_s == pytest.approx(100.0)
    assert board.drawn.idling_j == pytest.approx(PROFILE.idle_w * 100)
    moved = 1e6 * answer_traffic(gratings)
    above = 1e6 * PROFILE.j_per_flop + moved * PROFILE.j_per_byte
    assert board.drawn.answering_j == pytest.approx(above, rel=1e-3)
    board.machine.worked(GraphCost(10**6, 0, 0))  # nobody waits after learning
    assert board.elapsed_s < 100.1


def test_answers_that_take_longer_are_not_cut_short(gratings: Bundle) -> None:
    board = make_board(gratings, PLENTY)
    board.expect_answers(1.0)
    board.machine.worked(GraphCost(10**11, 0, 0))
    assert board.elapsed_s > 1e11 / PROFILE.flops_per_s > 1.0


def test_a_bundle_without_norm_reads_its_weights_for_every_frame(gratings: Bundle) -> None:
    model = gratings.manifest.model
    assert answer_traffic(gratings) == 4 * model.parameters / (2 * model.forward_macs)


def test_an_empty_battery_switches_off_until_it_holds_a_little(gratings: Bundle) -> None:
    board = make_board(gratings, Supply(1 * WH, 60.0, ConstantWatts(1.0)))
    board.expect_answers(50.0)
    board.machine.worked(GraphCost(0, 0, 0))
    assert board.is_on  # the sun gives more than idling takes
    starved = make_board(gratings, Supply(1 * WH, 60.0, ConstantWatts(0.1)))
    starved.expect_answers(200.0)
    starved.machine.worked(GraphCost(0, 0, 0))
    assert not starved.is_on
    assert starved.charge_j == 0
    enough_s = WAKE_SHARE * WH / 0.1
    starved.sleep(200 + 0.9 * enough_s)
    assert not starved.is_on
    starved.sleep(200 + 1.1 * enough_s)
    assert starved.is_on
    assert starved.drawn.total_j == pytest.approx(PROFILE.idle_w * 200)


def test_the_sun_is_told_of_also_where_it_is_wasted(gratings: Bundle) -> None:
    board = make_board(gratings, Supply(WH, WH, ClearSkyDay(5.0)))
    board.sleep(86_400.0)
    assert board.charge_j == WH
    assert board.sunshine_j(0.0) == pytest.approx(5 * 2 / math.pi * 12 * 3600)


def test_full_load_in_a_room_just_reaches_the_limit() -> None:
    warmth = Warmth(PROFILE, ROOM_CELSIUS)
    warmth.after(1e6, PROFILE.load_w)
    assert warmth.celsius == pytest.approx(PROFILE.celsius_max)
    warmth.after(TIME_CONSTANT_S, 0.0)
    excess = PROFILE.celsius_max - ROOM_CELSIUS
    assert warmth.celsius == pytest.approx(ROOM_CELSIUS + excess / math.e)


def test_warming_does_not_depend_on_how_time_is_divided() -> None:
    once, often = Warmth(PROFILE, 10.0), Warmth(PROFILE, 10.0)
    once.after(300.0, 2.0)
    for _ in range(100):
        often.after(3.0, 2.0)
    assert once.celsius == pytest.approx(often.celsius)


def test_the_runtime_sees_the_heat(gratings: Bundle) -> None:
    cool, hot = make_board(gratings, PLENTY), make_board(gratings, PLENTY, PROFILE.celsius_max)
    assert not cool.machine.heat().throttled
    assert hot.machine.heat().throttled
    assert cool.machine.heat().celsius == 25.0
