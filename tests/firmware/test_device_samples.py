"""What a board keeps for its host: samples and a log."""

from __future__ import annotations

import numpy as np
import pytest

from sel_edge.core.errors import RefusedError
from sel_edge.link.messages.control import (
    LogRequest,
    TimeRequest,
)
from sel_edge.link.messages.delta import DeltaBeginRequest
from sel_edge.link.messages.sample import Form, SampleRequest, SamplingRequest
from sel_edge.mcu.reference import infer
from sel_edge.mcu.running import running
from tests.firmware.board import Board
from tests.firmware.devices import SMALL, frames
from tools.small_network import (
    INPUT_BYTES,
)


class TestSamples:
    """What the board keeps for the host."""

    def test_a_sample_stays_until_it_is_acknowledged(self, board: Board) -> None:
        board.ask(TimeRequest(10**12))
        board.ask(SamplingRequest(0, Form.FRAME, 60))
        inputs = frames(3)
        for frame in inputs:
            board.observe(frame.tobytes())
        arrived, found = 0, []
        while (sample := board.ask(SampleRequest(arrived))).sample:
            assert board.ask(SampleRequest(arrived)) == sample
            found.append(sample)
            arrived = sample.sample
        assert [sample.content for sample in found] == [frame.tobytes() for frame in inputs]
        assert [sample.frame for sample in found] == [1, 2, 3]
        assert [sample.waiting for sample in found] == [2, 1, 0]
        assert {sample.time_ms for sample in found} == {10**12}
        expected = infer(running(SMALL), inputs)
        assert [sample.label for sample in found] == expected.labels.tolist()
        assert [sample.embarrassment for sample in found] == expected.embarrassment.tolist()
        assert board.status.samples_waiting == 0

    def test_features_are_fewer_bytes(self, board: Board) -> None:
        board.ask(SamplingRequest(0, Form.FEATURES, 60))
        (frame,) = frames(1)
        board.observe(frame.tobytes())
        sample = board.ask(SampleRequest(0))
        features = infer(running(SMALL), frame[None]).features[0].tobytes()
        assert (sample.form, sample.content) in (
            (Form.FEATURES, features),
            (Form.FRAME, frame.tobytes()),
        )

    def test_none_is_taken_unless_asked_for(self, board: Board) -> None:
        board.observe(frames(1).tobytes())
        assert board.ask(SampleRequest(0)).sample == 0

    def test_frames_below_the_threshold_are_not_taken(self, board: Board) -> None:
        inputs = frames(20)
        embarrassment = infer(running(SMALL), inputs).embarrassment
        threshold = int(np.median(embarrassment)) + 1
        board.ask(SamplingRequest(threshold, Form.FRAME, 1000))
        for frame in inputs:
            board.observe(frame.tobytes())
        taken = int((embarrassment >= threshold).sum())
        assert 0 < taken < 20
        assert board.status.samples_waiting == taken

    def test_the_rate_is_kept_in_the_long_run(self, board: Board) -> None:
        board.ask(SamplingRequest(0, Form.FRAME, 3))
        (frame,) = frames(1)

        def taken_of(count: int) -> int:
            before = board.status.samples_waiting
            for _ in range(count):
                board.observe(frame.tobytes())
            return board.status.samples_waiting - before

        assert taken_of(5) == 3
        board.advance(19_999)
        assert taken_of(5) == 0
        board.advance(1)
        assert taken_of(5) == 1
        board.ask(SamplingRequest(0, Form.FRAME, 3))
        assert taken_of(5) == 0
        board.advance(10 * 60_000)
        assert taken_of(5) == 3

    def test_what_finds_no_room_is_counted(self, board: Board) -> None:
        board.ask(SamplingRequest(0, Form.FRAME, 1000))
        for frame in frames(30):
            board.observe(frame.tobytes())
        status = board.status
        assert status.samples_waiting == 4096 // (INPUT_BYTES + 28)
        assert status.samples_waiting + status.samples_lost == 30

    def test_the_queue_goes_round(self, board: Board) -> None:
        board.ask(SamplingRequest(0, Form.FRAME, 60_000))
        arrived = 0
        for frame in frames(60):
            board.observe(frame.tobytes())
            sample = board.ask(SampleRequest(arrived))
            assert sample.content == frame.tobytes()
            arrived = sample.sample

    def test_an_acknowledgement_from_before_a_restart_means_nothing(self, board: Board) -> None:
        sampling = SamplingRequest(0, Form.FRAME, 60)
        board.ask(sampling)
        board.observe(frames(1).tobytes())
        old = board.ask(SampleRequest(0)).sample
        board.restart()
        board.ask(sampling)
        board.observe(frames(1).tobytes())
        assert board.ask(SampleRequest(old)).sample not in (0, old)


class TestLog:
    """The board's own words."""

    def test_it_is_told_from_any_byte_on(self, board: Board) -> None:
        whole = board.ask(LogRequest(0))
        assert whole.first == 0
        assert whole.written == len(whole.text)
        assert b"network in use" in whole.text
        assert board.ask(LogRequest(5)).text == whole.text[5:]
        assert board.ask(LogRequest(whole.written)).text == b""
        assert board.ask(LogRequest(whole.written + 1)) == whole

    def test_only_the_newest_is_left(self, board: Board) -> None:
        manifest = bytes(128)
        for _ in range(200):
            with pytest.raises(RefusedError):
                board.ask(DeltaBeginRequest(manifest, bytes(32)))
        part = board.ask(LogRequest(0))
        assert part.first + len(part.text) == part.written
        assert len(part.text) == 1024
        assert part.text.endswith(b"wrong MAC\n")
