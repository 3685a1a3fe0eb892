"""A machine that is about to end stops an update between two steps; nothing of it is kept."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from sel_edge.bundle.bundle import Bundle
from sel_edge.runtime.learn_now import learn_now, price
from sel_edge.runtime.network import bundle_network
from tests.runtime.conftest import Patterns
from tests.runtime.living import Lived, counting_board, life, stream


@pytest.mark.parametrize("steps", [0, 1, 5])
def test_an_update_is_stopped_and_undone(tmp_path: Path, bundle: Bundle, steps: int) -> None:
    asked: list[int] = []

    def may_go_on() -> bool:
        asked.append(0)
        return len(asked) <= steps

    lived = Lived(tmp_path, bundle)
    with lived.runtime(replace(counting_board(), may_go_on=may_go_on)) as runtime:
        for batch in life():
            if runtime.process(batch).updates:
                break
        assert runtime.network.hash == bundle_network(bundle).hash
    (update,) = lived.ledger.updates
    assert update.stopped and not update.kept and update.steps == steps
    assert [one.kind for one in lived.ledger.decisions if one.kind != "wants_labels"] == [
        "fire",
        "stop",
    ]
    assert lived.ledger.decisions[-1].reason.endswith("the process is about to end")


def test_after_a_restart_the_same_is_learned(tmp_path: Path, bundle: Bundle) -> None:
    lived = Lived(tmp_path, bundle)
    with lived.runtime(replace(counting_board(), may_go_on=lambda: False)) as runtime:
        for batch in stream(200, 2, 0.5, tilted=True):
            runtime.process(batch)
    assert not any(update.kept for update in lived.ledger.updates)
    with lived.runtime() as runtime:
        assert [step.plan.proposal.rung for step in price(runtime)] == ["head"]
        begun: list[int] = []
        (step,) = learn_now(runtime, lambda: begun.append(0))
        assert step.updates[0].kept and begun == [0]
        assert runtime.network.hash == step.updates[0].network_after


def test_a_network_that_answered_its_test_is_not_given_up(tmp_path: Path, bundle: Bundle) -> None:
    """It was stored and never asked, and twice the process ends before a frame comes."""
    lived = Lived(tmp_path, bundle)
    with lived.runtime() as runtime:
        for batch in stream(200, 2, 0.5, tilted=True):
            if any(update.kept for update in runtime.process(batch).updates):
                break
        learned = runtime.network.hash
        assert runtime._slots.pending
    frames = Patterns().draw(1, 5)[0]
    for _ in range(2):
        with lived.runtime() as runtime:
            (said,) = runtime.test(frames)
            assert not runtime._slots.pending and runtime.network.hash == learned
            assert said.prediction == runtime.answers(frames)[0] and 0 < said.confidence <= 1


def test_what_is_said_is_what_is_answered(tmp_path: Path, bundle: Bundle) -> None:
    """Differential: with and without being recorded."""
    (batch,) = stream(20, 5, 0.0)
    with Lived(tmp_path, bundle).runtime() as runtime:
        said = runtime.say(batch.frames)
        assert runtime.frames == 0
        report = runtime.process(batch)
        assert runtime.frames == 20
    assert tuple(one.prediction for one in said) == report.predictions
    assert [one.confidence for one in said] == pytest.approx(report.confidences, rel=1e-5)
