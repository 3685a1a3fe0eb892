"""A real daemon under load: more than it can answer, enemies, and a long time at full speed.

Times are for tools/bench_serve.py to judge, on a machine that does nothing else.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from sel_edge.data.sources import load_splits
from tests.real_data import cifar10_archive
from tools.adapt_bench.subject import NETWORKS, make_subject
from tools.serve_bench import soak, speed
from tools.serve_bench.attacks import with_token, without_token
from tools.serve_bench.daemon import Daemon, serving
from tools.serve_bench.hostile import try_all
from tools.serve_bench.overload import overload
from tools.serve_bench.questions import answers_of, server_errors, status_of
from tools.serve_bench.schema import schemathesis

SOAK_MIN = 0.5
MOST_GROWTH = 0.1
"""Of memory in so short a time, in which caches still fill; the benchmark judges the rest."""
TOKEN = "-".join(("correct", "horse", "battery", "staple"))

pytestmark = pytest.mark.proof


@pytest.fixture(scope="module")
def data() -> str:
    return f"cifar10:{cifar10_archive()}"


@pytest.fixture(scope="module")
def bundle(data: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bundle")
    return make_subject(NETWORKS / "ten-w8", data, load_splits(data), folder).bundle.path


@pytest.fixture(scope="module")
def frames(data: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("frames") / "frames.npy"
    np.save(path, load_splits(data).test.frames[:500].astype(np.uint8))
    return path


@pytest.fixture
def daemon(bundle: Path, tmp_path: Path) -> Iterator[Daemon]:
    """Without a token, for frames by HTTP."""
    with serving(bundle, "http", tmp_path) as found:
        yield found


def test_a_stream_at_full_speed_is_answered_frame_by_frame(
    bundle: Path, data: str, tmp_path: Path
) -> None:
    found = speed.from_stream(bundle, data, 3000, tmp_path)
    assert found["miscounted"] == 0
    assert sum(found["frames_of_classes"].values()) == 3000


def test_too_many_frames_are_refused_the_page_comes_all_the_same_and_others_are_answered(
    bundle: Path, frames: Path, tmp_path: Path
) -> None:
    found = overload(bundle, frames, tmp_path, rate=1000.0, seconds=5.0)
    for told in found["frames"].values():
        statuses = told["statuses"]
        assert {"200"} <= set(statuses) <= {"200", "503"}
        assert told["unsent"] + statuses.get("503", 0) > 0
        assert told["offered"] == told["unsent"] + sum(statuses.values())
    assert found["loaded"]["by_hand"]["n"] > 1
    assert found["server_errors"] == 0


def test_what_is_refused_does_not_keep_others_from_being_answered(
    daemon: Daemon, frames: Path
) -> None:
    few = speed.load(daemon, frames, 5.0, connections=8)["statuses"]["200"]
    many = speed.load(daemon, frames, 5.0, connections=96)["statuses"]["200"]
    assert many > few / 3  # refusing at once, it came to a fifth


def test_pages_of_other_sites_and_foreign_names_are_refused(daemon: Daemon) -> None:
    before = status_of(daemon)["flow"]
    outcomes = try_all(daemon.port, without_token())
    assert all(one.is_refused for one in outcomes), outcomes
    assert status_of(daemon)["flow"]["seen"] == before["seen"]


def test_enemies_are_refused_and_cost_little(bundle: Path, tmp_path: Path) -> None:
    secret = tmp_path / "token"
    secret.touch(mode=0o600)
    secret.write_text(TOKEN)
    with serving(bundle, "http", tmp_path, ["--token-file", str(secret)]) as daemon:
        before = daemon.rss_bytes()
        outcomes = try_all(daemon.port, with_token(TOKEN))
        assert [one for one in outcomes if not one.is_refused] == []
        assert daemon.rss_bytes() < before + 100e6
        assert server_errors(answers_of(daemon, TOKEN)) == 0
        assert status_of(daemon, TOKEN)["flow"]["seen"] == 0


def test_schemathesis_finds_nothing_that_is_not_documented(daemon: Daemon, tmp_path: Path) -> None:
    found = schemathesis(daemon, 10, tmp_path)
    assert found["requests"] > 100
    assert found["failures"] == []
    assert server_errors(answers_of(daemon)) == 0


@pytest.mark.parametrize("way", ["http", "stream"])
def test_at_full_speed_memory_is_flat_and_every_frame_is_in_the_books_once(
    way: str, bundle: Path, frames: Path, data: str, tmp_path: Path
) -> None:
    if way == "http":
        found = soak.by_http(bundle, frames, tmp_path, SOAK_MIN)
        assert found["kept"] > 0
        assert found["mixed_up"] == 0
    else:
        found = soak.from_stream(bundle, data, tmp_path, SOAK_MIN)
    assert found["recorded"] > 100
    assert (found["twice"], found["unaccounted"], found["server_errors"]) == (0, 0, 0)
    assert found["rss_growth"] < MOST_GROWTH
