"""A deployment before it changes anything: who may, whether it can, and what it would change.

tests/e2e goes on from there, over a real sshd.
"""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from sel_edge.bundle.bundle import open_bundle
from sel_edge.bundle.keys import open_key
from sel_edge.bundle.signature import sign_bundle
from sel_edge.core.errors import DeployError
from sel_edge.deploy.deployment import Deployment, Order, Outcome
from sel_edge.deploy.ssh import Conversation
from sel_edge.deploy.unit import Service
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
