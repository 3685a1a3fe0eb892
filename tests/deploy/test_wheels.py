"""Which wheels fit a board: the same as `packaging` says, and pip's own words for the rest."""

from __future__ import annotations

import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from packaging import tags
from packaging.utils import parse_wheel_filename

from sel_edge.core.errors import DeployError
from sel_edge.deploy import wheels
from sel_edge.deploy.wheels import Platform, chosen_wheels, given_wheels, own_wheel
from tests.deploy.stub import make_wheelhouse

PI = Platform("aarch64", 11, 36)
NAMES = st.builds(
    "x-1.0-{}-{}-{}.whl".format,
    st.sampled_from(["py3", "py2.py3", "cp311", "cp39", "cp312", "py311", "py313", "cp38.cp311"]),
    st.sampled_from(["none", "abi3", "cp311", "cp312", "cp38.cp311", "cp311.abi3"]),
    st.lists(
        st.sampled_from(
            [
                *("any", "linux_aarch64", "linux_x86_64", "manylinux2014_aarch64"),
                *("manylinux_2_17_aarch64", "manylinux_2_36_aarch64", "manylinux_2_37_aarch64"),
                *("manylinux_2_28_x86_64", "musllinux_1_2_aarch64", "win_amd64", "linux_armv7l"),
                *("macosx_11_0_arm64", "manylinux_2_39_armv7l"),
            ]
        ),
        min_size=1,
        max_size=2,
        unique=True,
    ).map(".".join),
)


def supported(platform: Platform) -> set[tags.Tag]:
    """The tags of a board, by `packaging`."""
    minors = range(platform.glibc, 16, -1)
    platforms = [f"manylinux_2_{minor}_{platform.machine}" for minor in minors]
    platforms += [f"manylinux2014_{platform.machine}", f"linux_{platform.machine}"]
    python = (3, platform.python)
    own = tags.cpython_tags(python, platforms=platforms)
    return {*own, *tags.compatible_tags(python, f"cp3{platform.python}", platforms)}


@given(NAMES)
def test_what_fits_is_what_pip_would_install(name: str) -> None:
    _, _, _, given_tags = parse_wheel_filename(name)
    assert PI.fits(name) == bool(given_tags & supported(PI))


@pytest.mark.parametrize(
    "name", ["x.whl", "x-1.0.whl", "x-1.0-py3-none-any.zip", "../x-1.0-py3-none-any", ""]
)
def test_what_is_no_wheel_does_not_fit(name: str) -> None:
    assert not PI.fits(name)


def test_the_facts_of_a_board_are_not_believed_blindly() -> None:
    facts = {"machine": "aarch64", "python": "3.11.2", "libc": ["glibc", "2.36"]}
    assert Platform.of(facts) == PI
    assert Platform.of({**facts, "libc": ["", ""]}).glibc == 0
    for wrong in ({"python": "2.7.3"}, {"python": None}, {"machine": "a;rm"}, {"machine": 3}):
        with pytest.raises(DeployError, match="64-bit"):
            Platform.of({**facts, **wrong})


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (["sel_edge-1-py3-none-any.whl"], "0 of pip"),
        (["pip-1-py3-none-any.whl"], "0 wheels of sel-edge"),
        (["sel_edge-1-py3-none-any.whl", "x-1-py3-none-win_amd64.whl"], "does not fit"),
    ],
)
def test_a_wheelhouse_that_cannot_be_installed_is_refused(
    tmp_path: Path, names: list[str], words: str
) -> None:
    for name in names:
        (tmp_path / name).touch()
    with pytest.raises(DeployError, match=words):
        given_wheels(tmp_path, PI)


def test_a_checkout_makes_the_same_wheel_every_time(tmp_path: Path) -> None:
    pytest.importorskip("hatchling")
    first, second = own_wheel(tmp_path / "a"), own_wheel(tmp_path / "b")
    assert first.name == second.name and first.read_bytes() == second.read_bytes()
    assert PI.fits(first.name)


def test_who_chooses_at_the_same_time_waits_and_finds_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []

    def pip(*arguments: str) -> None:
        calls.append(arguments[0])
        folder = Path(arguments[arguments.index("--dest") + 1])
        time.sleep(0.2)
        folder.mkdir()
        (folder / "pip-1-py3-none-any.whl").touch()

    own = next(make_wheelhouse(tmp_path / "own", "good").glob("sel_edge-*.whl"))
    monkeypatch.setattr(wheels, "_pip", pip)
    monkeypatch.setattr(wheels, "own_wheel", lambda _: own)
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: chosen_wheels(tmp_path / "cache", PI, True), range(4)))
    assert calls == ["download"] and len(set(found)) == 1


def test_another_process_that_chooses_is_waited_for(tmp_path: Path) -> None:
    """By the lock itself: what a process that was killed held is free."""
    holder = "import sys, time; from pathlib import Path; from sel_edge.deploy import wheels\n"
    holder += "with wheels._alone(Path(sys.argv[1])): print('held', flush=True); time.sleep(600)"
    with (
        subprocess.Popen(
            [sys.executable, "-c", holder, str(tmp_path)], stdout=subprocess.PIPE
        ) as other,
        ThreadPoolExecutor(1) as pool,
    ):

        def wait() -> None:
            with wheels._alone(tmp_path):
                pass

        try:
            assert other.stdout is not None and other.stdout.readline() == b"held\n"
            waiting = pool.submit(wait)
            time.sleep(0.3)
            assert not waiting.done()
        finally:
            other.kill()
        waiting.result(timeout=30)
