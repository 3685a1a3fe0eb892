"""The real sel-edge, with all its wheels, deployed to a Pi that is offline."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sel_edge.bundle.bundle import open_bundle
from tests.deploy.cuts import ROOT, current_bundle, works
from tests.deploy.pi import UID, Pi
from tests.deploy.workstation import BUNDLES, Workstation, ssh_for

FRAME = "curl -sf -H 'Content-Type: image/png' --data-binary @frame.png "
FRAME += "http://127.0.0.1:8765/api/v1/frames"


@pytest.fixture
def empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Pi]:
    monkeypatch.setenv("SEL_EDGE_SSH", ssh_for(tmp_path))
    (tmp_path / "desk").mkdir()
    with Pi(tmp_path / "pi", "pi") as pi:
        yield pi


def answer(pi: Pi) -> dict[str, object]:
    done = pi.does(FRAME)
    assert done.returncode == 0, done.err
    value: dict[str, object] = json.loads(done.out)
    return value


@pytest.mark.proof
def test_two_real_releases_answer_frames_on_a_pi_without_internet(empty, tmp_path):
    desk = Workstation(tmp_path / "desk")
    words = [
        "deploy", "pi", "--source", "http", "--sign", desk.place / "key.pem", "--memory", "1G",
        "--trust", desk.public_key, "--watch-for", 5, "--json",
    ]  # fmt: skip
    picture = io.BytesIO()
    pixels = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(picture, "PNG")
    empty.path("frame.png").write_bytes(picture.getvalue())
    empty.path("frame.png").chmod(0o644)

    def deploy(bundle: str) -> dict[str, object]:
        said = desk.call(*words, "--bundle", BUNDLES / bundle)
        value: dict[str, object] = json.loads(said.out.splitlines()[-1])
        return value

    for bundle in ("bundle-v1", "bundle-v2"):
        assert deploy(bundle)["result"] == "good"
        assert works(empty)
        manifest = open_bundle(BUNDLES / bundle).manifest
        assert current_bundle(empty) == manifest.bundle_hash
        assert answer(empty)["prediction"] in manifest.classes
        assert empty.path(f"{ROOT}/state/{manifest.bundle_hash[:12]}").is_dir()
        assert deploy(bundle)["result"] == "unchanged"
    states = [path.name for path in empty.path(f"{ROOT}/state").iterdir() if path.is_dir()]
    assert len(states) == 2, "what the first one learned is still there"
    empty.cut_power()
    empty.boot()
    desk.call("rollback", "pi")
    assert current_bundle(empty) == open_bundle(BUNDLES / "bundle-v1").manifest.bundle_hash
    assert answer(empty)["frame"] is not None
    (pid,) = [int(p.name) for p in map(_process, empty.processes("serve")) if _is_daemon(p)]
    assert Path(f"/proc/{pid}").stat().st_uid == UID


def _process(pid: int) -> Path:
    return Path(f"/proc/{pid}")


def _is_daemon(process: Path) -> bool:
    return b"--state" in (process / "cmdline").read_bytes()
