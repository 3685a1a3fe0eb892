"""Releases, units and plans on the workstation: equal parts, equal release; nothing gets out of its
place."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sel_edge.bundle.bundle import open_bundle
from sel_edge.bundle.keys import PrivateKey, open_key
from sel_edge.core.errors import ConfigError
from sel_edge.deploy.plan import make_plan
from sel_edge.deploy.release import Health, Release, make_release
from sel_edge.deploy.unit import Service
from sel_edge.deploy.wheels import Wheelhouse

BUNDLE = open_bundle(Path("tests/frozen/bundle-v2"))
JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=9), inner),
    max_leaves=5,
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("release")


@pytest.fixture(scope="module")
def key(folder: Path) -> PrivateKey:
    return open_key(folder / "key.pem")


@pytest.fixture(scope="module")
def wheelhouse(folder: Path) -> Wheelhouse:
    wheels = [folder / f"{name}-1.0-py3-none-any.whl" for name in ("pip", "sel_edge")]
    for path in wheels:
        path.write_bytes(path.name.encode())
    return Wheelhouse(tuple(wheels), "1.0")


@pytest.fixture(scope="module")
def release(key: PrivateKey, wheelhouse: Wheelhouse) -> Release:
    return make_release(BUNDLE, key, Service("camera"), wheelhouse, 4)


def running(release: Release, **changes: Any) -> dict[str, Any]:
    """What an agent says of a board on which a release works."""
    bundle = BUNDLE.manifest.bundle_hash
    state = {
        "current": release.hash,
        "release": release.content.decode(),
        "unit": release.unit,
        "readyz": {"ready": True, "bundle": bundle},
        "service": {"ActiveState": "active"},
    }
    return {**state, **changes}


def test_equal_parts_give_an_equal_release(
    release: Release, key: PrivateKey, wheelhouse: Wheelhouse
) -> None:
    again = make_release(BUNDLE, key, Service("camera"), wheelhouse, 4)
    assert (again.hash, again.signature) == (release.hash, release.signature)
    for other in (
        make_release(BUNDLE, key, Service("http"), wheelhouse, 4),
        make_release(BUNDLE, key, Service("camera", port=1), wheelhouse, 4),
        make_release(BUNDLE, key, Service("camera"), wheelhouse, 2),
        make_release(BUNDLE, key, Service("camera"), wheelhouse, 4, health=Health(1, 1)),
        make_release(BUNDLE, key, Service("camera"), wheelhouse, 4, with_index=True),
    ):
        assert other.hash != release.hash


@given(value=st.text(min_size=1, max_size=40))
def test_no_option_gets_out_of_its_place_in_the_unit(value: str) -> None:
    service = Service(value, options=(("name", value), ("mqtt", value)))
    plain = Service("x", options=(("name", "x"), ("mqtt", "x"))).unit(4, "f" * 64, False)
    try:
        text = service.unit(4, "f" * 64, False)
    except ConfigError:
        assert not value.isprintable()
        return
    assert len(text.splitlines()) == len(plain.splitlines())
    (command,) = (line for line in text.splitlines() if line.startswith("ExecStart="))
    words = shlex.split(command.removeprefix("ExecStart=").replace("$$", "$"), posix=True)
    given = words[words.index("--source") + 1].replace("%%", "%")
    assert given == value
    assert words[words.index("--mqtt") + 1].replace("%%", "%") == value


def test_no_line_of_the_unit_swallows_the_next() -> None:
    service = Service("a\\", options=(("name", "attic\\"), ("mqtt", "b\\")))
    lines = service.unit(4, "f" * 64, False).splitlines()
    assert not [line for line in lines if line.endswith("\\")]


def test_the_unit_says_what_was_asked_for() -> None:
    text = Service(
        "camera", host="::", port=80, memory="512M", cpu_percent=150, options=(("threads", "2"),)
    ).unit(4, "f" * 64, True)
    for line in ("MemoryMax=512M", "CPUQuota=150%"):
        assert line in text.splitlines()
    for words in ("--threads 2", "--port 80", "--budget", "--token-file", f"keys/{'f' * 64}.pub"):
        assert words in text
    assert "--token-file" not in Service("camera").unit(4, "f" * 64, False)
    assert "CPUQuota=360%" in Service("camera").unit(4, "f" * 64, False)


@pytest.mark.parametrize("memory", ["", "0", "-1", "1T", "101%", "50 %", "1M\nExecStart=x", "∞"])
def test_a_memory_that_is_none_is_refused(memory: str) -> None:
    with pytest.raises(ConfigError, match="memory"):
        Service("camera", memory=memory).unit(4, "f" * 64, False)


def test_what_works_already_is_not_changed(release: Release) -> None:
    plan = make_plan(running(release), release)
    assert plan.is_working and not plan.added and not plan.settings and not plan.unit
    assert [plan.lines(is_dry)[0].partition("; ")[2] for is_dry in (True, False)] == [
        "nothing would change.",
        "nothing is changed.",
    ]


@pytest.mark.parametrize(
    "changes",
    [
        {"readyz": None},
        {"readyz": {"ready": True, "bundle": "another"}},
        {"readyz": {"ready": False}},
        {"service": {"ActiveState": "failed"}},
        {"service": {}},
        {"current": None},
        {"current": "0" * 64},
    ],
)
def test_what_does_not_work_is_done_again(release: Release, changes: dict[str, Any]) -> None:
    assert not make_plan(running(release, **changes), release).is_working


def test_the_difference_is_told(release: Release, key: PrivateKey, wheelhouse: Wheelhouse) -> None:
    newer = make_release(BUNDLE, key, Service("http", port=9), wheelhouse, 4)
    plan = make_plan(running(release), newer)
    assert plan.changed == ("sel-edge.service",)
    assert dict(plan.settings) == {"port": (8765, 9)}
    told = "\n".join(plan.lines(is_dry=True))
    assert f"would follow {release.hash[:12]}" in told and "port of the page: 8765 -> 9" in told
    assert any(line.startswith("  +ExecStart=") and "--port 9" in line for line in plan.lines(True))
    first = make_plan({}, release)
    assert set(first.added) == set(release.files)
    assert "would be the first on this board" in first.lines(is_dry=True)[0]


def test_what_is_done_is_told_in_words(release: Release, key: PrivateKey) -> None:
    """No key of release.json, no Python, and nothing that only would be."""
    plans = [make_plan({}, release), make_plan(running(release, current="0" * 64), release)]
    plans.append(make_plan(running(release, readyz=None), release))
    for plan in plans:
        told = "\n".join(plan.lines(is_dry=False))
        assert "would" not in told and not re.search(r"False|True|\['|ready_s|_packages", told)
    told = "\n".join(plans[0].lines(is_dry=False))
    assert "  pip asks its index: no" in told and "  packages: sel-edge[serve]==" in told
    assert f"  bundle: {BUNDLE.manifest.bundle_hash[:12]}\n" in told


@given(
    password=st.text(
        st.characters(codec="utf-8", categories=["L", "N", "P", "S", "Zs"]), min_size=9
    )
    .filter(str.isprintable)
    .map(lambda text: f"{text}hunter2"),
)
def test_the_login_of_a_camera_is_in_no_plan(
    release: Release, key: PrivateKey, wheelhouse: Wheelhouse, password: str
) -> None:
    source = f"rtsp://me:{password}@cam:554/live?token=hunter2"
    service = Service(source, options=(("mqtt", "mqtt://me@house"),))
    other = make_release(BUNDLE, key, service, wheelhouse, 4)
    assert "hunter2" in other.unit
    for state, wanted in (({}, other), (running(release), other), (running(other), release)):
        plan = make_plan(state, wanted)
        shown = json.dumps(plan.as_dict()) + "".join(plan.lines(is_dry=True))
        assert "hunter2" not in shown and "rtsp://cam:554/live" in shown
        assert "mqtt://me@house" in shown


@given(state=st.dictionaries(st.sampled_from(["current", "release", "unit", "readyz"]), JUNK))
def test_a_board_that_talks_nonsense_is_planned_for(
    release: Release, state: dict[str, Any]
) -> None:
    plan = make_plan(state, release)
    assert not plan.is_working and plan.lines(is_dry=True)
