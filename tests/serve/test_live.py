"""A live device: answers, learns, goes back and forth, and never stops answering."""

from __future__ import annotations

import threading
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from sel_edge.bundle.bundle import Bundle
from sel_edge.core.errors import DataError
from sel_edge.core.ledger import LEDGER_FILE, read_ledger
from sel_edge.runtime.config import RuntimeConfig
from sel_edge.runtime.samples import SAMPLES_FILE, LabelDesk
from sel_edge.serve.device import BusyError
from sel_edge.serve.live import LiveDevice
from sel_edge.serve.sources.named import open_source
from tests.serve.devices import WAIT_S, Played, living, pictures, settings_for, until
from tests.simulate.gratings import make_bundle, make_world


@pytest.fixture(scope="module")
def gratings(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return make_bundle(tmp_path_factory.mktemp("live"))


@pytest.fixture
def settings(gratings: Bundle, tmp_path: Path):
    return settings_for(gratings.path, tmp_path / "state")


class TestAnswering:
    def test_before_any_frame_it_has_answered_one_of_its_own(self, settings) -> None:
        with living(settings, "http") as device:
            snapshot = device.snapshot()
            assert snapshot.phase == "running" and snapshot.network
            assert snapshot.flow.seen == 0 and snapshot.answer is None and device.view() is None
            assert read_ledger(device.state / LEDGER_FILE).ticks == []

    def test_frames_by_http_are_answered_and_shown(self, settings) -> None:
        frames, names = pictures(40, 5)
        with living(settings, "http") as device:
            answers = [device.submit(frame).result(WAIT_S) for frame in frames]
            right = sum(a.prediction == b for a, b in zip(answers, names, strict=True))
            assert right >= 36
            assert [answer.frame for answer in answers] == list(range(40))
            snapshot, (shown, picture) = device.snapshot(), device.view()
            assert snapshot.flow.seen == 40 and snapshot.answer == shown == answers[-1]
            assert (picture == frames[-1]).all()

    def test_pictures_of_any_size_and_colour_are_taken(self, settings) -> None:
        with living(settings, "http") as device:
            device.submit(np.zeros((480, 640, 3), np.uint8)).result(WAIT_S)
            assert device.view()[1].shape == (480, 640, 3)

    def test_other_sources_take_none_by_http(self, settings) -> None:
        frames, _ = pictures(1, 5)
        source = Played(frames, is_patient=True)
        with living(settings, source) as device, pytest.raises(DataError, match="played"):
            device.submit(frames[0])

    def test_too_many_at_a_time_are_refused_and_counted(self, settings) -> None:
        frames, _ = pictures(400, 5)
        waiting: list[Future] = []
        refused = 0
        with living(settings, "http") as device:
            for frame in frames:
                try:
                    waiting.append(device.submit(frame))
                except BusyError:
                    refused += 1
            for one in waiting:
                one.result(WAIT_S)
            flow = until(device, lambda one: one.flow.dropped == refused).flow
        assert refused > 0 and flow.seen == len(waiting) == 400 - refused

    def test_a_patient_source_loses_nothing(self, settings) -> None:
        frames, _ = pictures(300, 6)
        with living(settings, Played(frames, is_patient=True)) as device:
            snapshot = until(device, lambda one: one.flow.seen == 300)
            assert snapshot.flow.dropped == 0
        ticks = read_ledger(device.state / LEDGER_FILE).ticks
        assert sum(tick.n for tick in ticks) == 300

    def test_frames_that_come_too_fast_are_dropped_and_none_is_answered_twice(
        self, settings
    ) -> None:
        """Each frame says which one it is."""
        frames, _ = pictures(3000, 7)
        for number, frame in enumerate(frames):
            frame[0, :2, 0] = divmod(number, 256)
        seen: list[int] = []
        with living(settings, Played(frames, is_patient=False)) as device:
            worker = device._worker
            process = worker._answer_segment

            def noted(segment, fitted, residence):
                seen.extend(256 * int(f[0, 0, 0]) + int(f[0, 1, 0]) for _, f in fitted)
                process(segment, fitted, residence)

            worker._answer_segment = noted
            flow = until(device, lambda one: one.flow.seen + one.flow.dropped == 3000).flow
        assert flow.dropped > 0 and flow.seen > 0
        assert len(seen) == len(set(seen)) and seen == sorted(seen)


class TestLearning:
    def test_it_learns_from_labels_that_come_with_frames(self, settings, tmp_path: Path) -> None:
        with living(settings, f"{make_world(tmp_path)}&pace=0") as device:
            snapshot = until(device, lambda one: one.flow.source_state == "ended")
            snapshot = until(device, lambda one: one.flow.seen == 700)
            spent = {one.purpose: one for one in snapshot.spent}
            kept = [event for event in snapshot.events if event.kind == "keep"]
            assert kept and all(event.energy is not None for event in kept)
            ledger = read_ledger(device.state / LEDGER_FILE)
            by_ticks = sum(tick.energy.joules for tick in ledger.ticks)
            assert spent["inference"].energy.joules == pytest.approx(by_ticks)
            by_updates = sum(update.energy.joules for update in ledger.updates)
            assert spent["head"].energy.joules == pytest.approx(by_updates)
            assert snapshot.network == ledger.updates[-1].network_after
            assert set(snapshot.bundle_classes) < set(snapshot.classes)
            assert {event.kind for event in snapshot.events} >= {"restart", "fire", "keep"}
            assert snapshot.points and set(snapshot.points[-1].values) <= set(snapshot.classes)

    def test_the_label_queue_is_there_though_no_more_frames_come(self, settings) -> None:
        frames, _ = pictures(60, 8, tilted=True)
        with living(settings, "http") as device:
            for frame in frames:
                device.submit(frame).result(WAIT_S)
            snapshot = until(device, lambda one: one.queue.waiting > 0)
            with LabelDesk(device.state / SAMPLES_FILE) as desk:
                assert len(desk.queue(100)) == snapshot.queue.waiting
                assert desk.classes == snapshot.classes

    def test_answers_given_at_a_desk_are_taken_while_no_frame_comes(self, settings) -> None:
        frames, names = pictures(60, 8, tilted=True)
        with living(settings, "http") as device:
            for frame in frames:
                device.submit(frame).result(WAIT_S)
            with LabelDesk(device.state / SAMPLES_FILE) as desk:
                for number, name in enumerate(names):
                    desk.answer(str(number), name)
            device.answered()
            until(device, lambda one: sum(one.queue.labelled.values()) == 60)
            until(device, lambda one: any(event.kind == "keep" for event in one.events))
            assert device.snapshot().flow.seen == 60

    def test_asked_to_learn_it_says_what_came_of_it(self, settings) -> None:
        frames, names = pictures(80, 8, tilted=True)
        calm = replace(settings, config=RuntimeConfig(on=1e9))  # no trigger ever fires
        with living(calm, Played(frames, True, names)) as device:
            before = until(device, lambda one: one.flow.seen == 80).network
            (sentence,) = device.adapt().result(WAIT_S)[-1:]
            assert sentence.startswith("keep: head: ")
            snapshot = device.snapshot()
            assert snapshot.network != before and snapshot.phase == "running"
            assert [event.kind for event in snapshot.events][-2:] == ["fire", "keep"]
            (sentence,) = device.adapt().result(WAIT_S)[-1:]
            assert not sentence.startswith("keep")

    def test_with_nothing_to_learn_from_it_says_so(self, settings) -> None:
        with living(settings, "http") as device:
            (nothing,) = device.adapt().result(WAIT_S)
            assert nothing.startswith("Nothing can be learned")

    def test_the_source_ends_while_the_worker_still_saves(
        self, settings, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A patient one would ask a closed mailbox again and again."""
        source = Played(pictures(64, 1)[0], is_patient=True)
        device = LiveDevice(settings, source)
        is_over: list[bool] = []
        close = device._worker.close

        def slowly() -> None:
            device._capture._thread.join(WAIT_S)
            is_over.append(not device._capture._thread.is_alive())
            close()

        monkeypatch.setattr(device._worker, "close", slowly)
        device.start()
        assert device.stop(2 * WAIT_S) and is_over == [True]

    def test_the_end_stops_learning_between_two_steps(self, settings, tmp_path: Path) -> None:
        """The update is undone and told of; the network before it goes on after a restart."""
        reached, go_on = threading.Event(), threading.Event()
        device = LiveDevice(settings, open_source(f"{make_world(tmp_path)}&pace=0", tmp_path))
        ask = device._worker._board.may_go_on

        def held() -> bool:
            reached.set()
            go_on.wait(WAIT_S)
            return ask()

        object.__setattr__(device._worker._board, "may_go_on", held)
        device.start()
        assert reached.wait(WAIT_S)
        until(device, lambda one: one.phase in ("learning", "running"))
        stopping = threading.Thread(target=device.stop, args=(WAIT_S,))
        stopping.start()
        while not device._stopping.is_set():
            pass
        go_on.set()
        stopping.join(WAIT_S)
        ledger = read_ledger(device.state / LEDGER_FILE)
        (stop,) = [one for one in ledger.decisions if one.kind == "stop"]
        assert "about to end" in stop.reason
        assert not any(update.kept for update in ledger.updates)
        with living(settings, "http") as again:
            assert again.snapshot().network == ledger.updates[-1].network_before
