"""A deployment before it changes anything: who may, whether it can, and what it would change.

tests/e2e goes on from there, over a real sshd.
"""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sel_edge.bundle.bundle import open_bundle
from sel_edge.bundle.keys import open_key
from sel_edge.bundle.signature import sign_bundle
from sel_edge.core.errors import DeployError
from sel_edge.deploy.deployment import Deployment, Order, Outcome
from sel_edge.deploy.plan import Plan
from sel_edge.deploy.release import make_release
from sel_edge.deploy.ssh import Conversation, RefusedByBoardError
from sel_edge.deploy.unit import Service
from sel_edge.deploy.wheels import Wheelhouse
from tests.deploy.agents import near_board
from tests.deploy.stub import make_wheelhouse

RUNNING = "echo running"


@pytest.fixture
def order(tmp_path: Path) -> Order:
    make_wheelhouse(tmp_path / "wheels", "good")
    key = open_key(tmp_path / "key.pem")
    return Order(
        bundle=open_bundle(Path("tests/frozen/bundle-v2")),
        key=key,
        public_key=tmp_path / "key.pub.pem",
        service=Service("http", port=1),
        cache=tmp_path / "cache",
        wheels=tmp_path / "wheels",
        trust=(key.public,),
    )


def planned(order: Order) -> Outcome:
    return Deployment("board", order, lambda line: None).run(is_dry=True)


def test_a_dry_run_tells_and_changes_nothing(
    order: Order, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = near_board(tmp_path, monkeypatch, RUNNING)
    outcome = planned(order)
    assert outcome.result == "planned" and outcome.plan is not None
    assert outcome.plan.current is None and "bundle/manifest.json" in outcome.plan.added
    assert {check.verdict for check in outcome.checks} <= {"ok", "warn"}
    assert list(home.iterdir()) == []
    assert planned(order).release == outcome.release


def test_a_board_without_a_service_manager_is_left_alone(
    order: Order, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = near_board(tmp_path, monkeypatch, "echo offline; exit 1")
    with pytest.raises(DeployError, match="service manager: no user manager: offline"):
        Deployment("board", order, lambda line: None).run()
    assert list(home.iterdir()) == []


def test_who_may_not_deploy_is_told_before_anything_is_sent(
    order: Order, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    near_board(tmp_path, monkeypatch, RUNNING)
    stranger = open_key(tmp_path / "stranger.pem")
    with pytest.raises(DeployError, match=r"trusts nobody yet.*key\.pub\.pem"):
        planned(replace(order, trust=()))
    with pytest.raises(DeployError, match="the release is signed by"):
        planned(replace(order, trust=(stranger.public,)))
    shutil.copytree(order.bundle.path, tmp_path / "bundle")
    foreign = sign_bundle(tmp_path / "bundle", stranger)
    with pytest.raises(DeployError, match="the bundle is signed by"):
        planned(replace(order, bundle=foreign))
    both = replace(order, bundle=foreign, trust=(order.key.public, stranger.public))
    assert planned(both).result == "planned"
    with Conversation("board") as board:
        board.ask("trust", keys=[order.key.public.raw.hex()], signature=None)
    assert planned(replace(order, trust=())).result == "planned"
    with pytest.raises(DeployError, match="an old one's signature"):
        planned(replace(order, key=stranger, trust=(stranger.public,), bundle=foreign))


def test_keys_are_given_even_if_the_release_runs_already(
    order: Order, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    near_board(tmp_path, monkeypatch, RUNNING)
    second = open_key(tmp_path / "second.pem")
    runs = Plan(release="a" * 64, current="a" * 64, is_working=True)
    monkeypatch.setattr("sel_edge.deploy.deployment.make_plan", lambda *_: runs)
    for keys in ((order.key.public,), (order.key.public, second.public)):
        outcome = Deployment("board", replace(order, trust=keys), lambda line: None).run()
        assert outcome.result == "unchanged"
        with Conversation("board") as board:
            assert board.ask("state")["keys"] == sorted(key.fingerprint for key in keys)


@pytest.mark.parametrize("offset", [-1, 2**70, 10**9, "1", None, [], 0.5])
def test_a_board_that_asks_for_bytes_that_are_none_gets_the_file(order: Order, offset: Any) -> None:
    class Board:
        """Takes what it is sent."""

        def __init__(self) -> None:
            self.sent: list[tuple[int, bytes]] = []

        def put(self, release: str, path: str, offset: int, piece: bytes) -> None:
            self.sent.append((offset, piece))

    assert order.wheels is not None
    wheels = Wheelhouse(tuple(sorted(order.wheels.iterdir())), "1")
    release = make_release(order.bundle, order.key, order.service, wheels, 1)
    board: Any = Board()
    deployment = Deployment("board", order, lambda line: None)
    deployment._send(board, release, {"sel-edge.service": offset, "bundle/manifest.json": offset})
    assert {start for start, _ in board.sent} == {0} and len(board.sent) == 2
    assert release.unit.encode() in [piece for _, piece in board.sent]


def test_a_piece_waits_while_another_deployment_is_at_work(
    order: Order, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Board:
        """Is busy at first."""

        n_calls = 0

        def put(self, *_: object) -> None:
            self.n_calls += 1
            if self.n_calls in (1, 3):
                raise RefusedByBoardError("board", {"kind": "busy", "found": "At work."})

    monkeypatch.setattr("sel_edge.deploy.patience.PAUSE_S", 0)
    assert order.wheels is not None
    wheels = Wheelhouse(tuple(sorted(order.wheels.iterdir())), "1")
    release = make_release(order.bundle, order.key, order.service, wheels, 1)
    board: Any = Board()
    said = list[str]()
    missing = {"sel-edge.service": 0, "bundle/manifest.json": 0}
    Deployment("board", order, said.append)._send(board, release, missing)
    assert board.n_calls == 4
    assert [line for line in said if "At work." in line] == [said[-1]]


def test_who_sends_what_another_one_has_deployed_meanwhile_restarts_nothing(order: Order) -> None:
    wheels = Wheelhouse(tuple(sorted((order.wheels or Path()).iterdir())), "1")
    release = make_release(order.bundle, order.key, order.service, wheels, 1)

    class Board:
        """By the time that all was sent, another one has switched to the release."""

        def __init__(self) -> None:
            self.asked: list[str] = []

        def ask(self, op: str, *_: object, **__: object) -> dict[str, Any]:
            self.asked.append(op)
            bundle = order.bundle.manifest.bundle_hash
            return {
                "missing": {},
                "current": release.hash,
                "service": {"ActiveState": "active"},
                "readyz": {"ready": True, "bundle": bundle},
            }

    board: Any = Board()
    verdict = Deployment("board", order, lambda line: None)._done(board, release)
    assert verdict.result == "unchanged" and "activate" not in board.asked
