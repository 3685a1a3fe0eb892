"""The agent makes an environment from wheels alone, and asks the new program for an answer."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import pytest

from sel_edge.bundle.keys import PrivateKey, open_key
from sel_edge.deploy.agent.install import install, unwritable
from sel_edge.deploy.agent.place import Place
from sel_edge.deploy.agent.process import call
from sel_edge.deploy.agent.wire import Refusal
from sel_edge.deploy.program import agent_program
from tests.deploy.agents import FILES, send, trusting
from tests.deploy.stub import Manner, make_wheelhouse


@pytest.fixture(scope="module")
def key(tmp_path_factory: pytest.TempPathFactory) -> PrivateKey:
    return open_key(tmp_path_factory.mktemp("keys") / "key.pem")


def sent(place: Place, key: PrivateKey, folder: Path, manner: Manner, **changes: Any) -> str:
    """A release with a stand-in for sel-edge, received and not installed."""
    make_wheelhouse(folder, manner)
    wheels = {f"wheels/{path.name}": path.read_bytes() for path in folder.glob("*.whl")}
    others = {name: content for name, content in FILES.items() if "wheels" not in name}
    files = {**others, **wheels, "agent.pyz": agent_program()}
    return send(place, key, files, **{"requirements": ["sel-edge"], **changes})


def test_a_release_is_made_ready_once(tmp_path: Path, key: PrivateKey) -> None:
    place = trusting(tmp_path, key)
    name = sent(place, key, tmp_path / "wheels", "good", token=True)
    folder, said = place.releases / name, list[str]()
    leftover = place.incoming / name / "venv"
    leftover.mkdir()
    (leftover / "half").touch()
    install(place, name, said.append)
    assert place.installed() == [name]
    assert (folder / "venv" / "bin" / "sel-edge").is_file()
    assert not (folder / "venv" / "half").exists()
    assert place.token.stat().st_mode & 0o777 == 0o600 and len(place.token.read_text()) == 64
    said.clear()
    install(place, name, said.append)
    assert said == []


@pytest.mark.parametrize(
    ("manner", "changes", "words"),
    [
        ("mute", {}, "no answer"),
        ("good", {"requirements": ["sel-edge==99"]}, "sel-edge==99"),
    ],
)
def test_a_program_that_cannot_answer_is_not_made_ready(
    tmp_path: Path, key: PrivateKey, manner: Manner, changes: dict[str, Any], words: str
) -> None:
    place = trusting(tmp_path, key)
    name = sent(place, key, tmp_path / "wheels", manner, **changes)
    with pytest.raises(Refusal, match=words) as refused:
        install(place, name, lambda _: None)
    assert refused.value.kind == "install"
    assert not place.is_ready(name) and not (place.releases / name / "venv").exists()
    assert (place.releases / name / "bundle" / "manifest.json").exists()


def test_what_was_not_received_is_not_installed(tmp_path: Path, key: PrivateKey) -> None:
    place = trusting(tmp_path, key)
    with pytest.raises(Refusal):
        install(place, "0" * 64, lambda _: None)
    name = send(place, key)
    (place.incoming / name / "bundle" / "manifest.json").write_bytes(b"[]")
    with pytest.raises(Refusal, match="damaged"):
        install(place, name, lambda _: None)
    assert place.installed() == [] and not (place.releases / name).exists()


def test_what_pip_is_told_on_the_board_changes_no_release_without_an_index(
    tmp_path: Path, key: PrivateKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tmp_path / "pip.conf"
    config.write_text(f"[install]\ntarget = {tmp_path / 'elsewhere'}\n")
    monkeypatch.setenv("PIP_CONFIG_FILE", str(config))
    place = trusting(tmp_path, key)
    name = sent(place, key, tmp_path / "wheels", "good")
    install(place, name, lambda _: None)
    assert place.is_ready(name) and not (tmp_path / "elsewhere").exists()


def test_pip_works_in_the_release_and_not_in_a_tmp_that_may_be_memory(
    tmp_path: Path, key: PrivateKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    place, folders = trusting(tmp_path, key), dict[str, str | None]()

    def watched(command: list[str], *arguments: Any, **options: Any) -> tuple[int, str]:
        folders[Path(command[1]).name] = options["environment"].get("TMPDIR")
        return call(command, *arguments, **options)

    monkeypatch.setattr("sel_edge.deploy.agent.install.call", watched)
    name = sent(place, key, tmp_path / "wheels", "good")
    install(place, name, lambda _: None)
    assert folders["pip"] == str(place.releases / name / "venv")
    assert not [path for path in (place.releases / name / "venv").iterdir() if "tmp" in path.name]


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (errno.ENOSPC, "disk takes no more"),
        (errno.EDQUOT, "disk takes no more"),
        (errno.EROFS, "Read-only file system"),
        (errno.EACCES, "Permission denied (/home"),
    ],
)
def test_what_the_system_refuses_is_told_as_it_is(number: int, words: str) -> None:
    refusal = unwritable(OSError(number, os.strerror(number), "/home"))
    assert refusal.kind == "storage" and words in refusal.found
    assert ("Free some space" in refusal.action) == ("disk" in words)
