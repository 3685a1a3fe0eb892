"""The agent as it is sent: one file, any Python from 3.9 on, and hostile requests."""

from __future__ import annotations

import ast
import io
import json
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sel_edge.bundle.keys import open_key
from sel_edge.bundle.sshsig import sshsig
from sel_edge.core.errors import DeployError, MissingDependencyError
from sel_edge.core.files import canonical_json
from sel_edge.deploy import agent, program
from sel_edge.deploy.agent import place as place_module
from sel_edge.deploy.agent import trust
from sel_edge.deploy.agent.main import Talk
from sel_edge.deploy.agent.place import Place
from sel_edge.deploy.ssh import Conversation, LostError, RefusedByBoardError
from tests.deploy.agents import FILES, described, near_board, script, wire

SOURCES = sorted(Path(agent.__file__).parent.glob("*.py"))
REQUESTS = st.fixed_dictionaries(
    {
        "op": st.sampled_from(
            ["trust", "begin", "install", "activate", "rollback", "trial", "put", "logs", "x"]
        )
    },
    optional={
        name: st.none() | st.integers(-5, 5) | st.text(max_size=9) | st.just("0" * 64) | st.just([])
        for name in ("hash", "path", "offset", "bytes", "release", "signature", "keys", "to")
    },
)


@pytest.fixture
def near(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The home of a board without systemd, which is reached without a network."""
    return near_board(tmp_path, monkeypatch, systemctl="echo 'no systemd' >&2; exit 1")


def root(home: Path) -> Path:
    return home / ".local" / "share" / "sel-edge"


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.name)
def test_the_agent_needs_nothing_but_python_3_9(source: Path) -> None:
    tree = ast.parse(source.read_text(), feature_version=(3, 9))
    imported = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            imported |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            imported.add(str(node.module).partition(".")[0])
    assert imported <= sys.stdlib_module_names
    if source.name != "__init__.py":
        assert "from __future__ import annotations" in source.read_text()


def test_equal_sources_give_an_equal_program() -> None:
    assert program.agent_program() == program.agent_program()


def test_looking_at_a_board_leaves_nothing_on_it(near: Path) -> None:
    with Conversation("board") as board:
        assert board.hello["protocol"] == 1
        answer = board.ask("preflight", port=1, camera=False, time=0)
        state = board.ask("state")
    assert list(near.rglob("*")) == []
    verdicts = {check["name"]: check["verdict"] for check in answer["checks"]}
    assert verdicts["system"] == verdicts["Python"] == "ok"
    assert verdicts["service manager"] == "fail" and verdicts["clock"] == "warn"
    assert answer["facts"]["ram_bytes"] > 10**8
    assert (state["current"], state["keys"], state["readyz"]) == (None, [], None)


def test_a_release_goes_over_the_line_and_survives_a_break(near: Path, tmp_path: Path) -> None:
    key, content = open_key(tmp_path / "key.pem"), canonical_json(described())
    signature = sshsig(key, trust.RELEASE, content).decode()
    asked = {"release": content.decode(), "signature": signature}
    path = "bundle/weights.safetensors"
    with Conversation("board") as board:
        board.ask("trust", keys=[key.public.raw.hex()], signature=None)
        name = board.ask("begin", **asked)["hash"]
        board.put(name, path, 0, FILES[path][:1000])
    with Conversation("board") as board:
        missing = board.ask("begin", **asked)["missing"]
        assert missing[path] == 1000
        for file, offset in missing.items():
            board.put(name, file, offset, FILES[file][offset:])
        with pytest.raises(RefusedByBoardError) as refused:
            board.ask("install", hash=name)  # these wheels are none
        assert refused.value.reason == "install"
        with pytest.raises(RefusedByBoardError, match="not installed"):
            board.ask("activate", hash=name)
    assert not (root(near) / "current").exists()
    with Conversation("board") as board:
        assert board.ask("begin", **asked)["missing"] == {}
        for signature in (None, "", board.signed(key, purge=False)):
            with pytest.raises(RefusedByBoardError, match="not signed by a key") as refused:
                board.ask("undeploy", purge=True, signature=signature)
            assert refused.value.reason == "signature"
        board.ask("undeploy", purge=False)
        assert {path.name for path in root(near).iterdir()} == {"keys", "state"}
        board.ask("undeploy", purge=True, signature=board.signed(key, purge=True))
    assert not root(near).exists()


def test_two_workstations_send_at_once(near: Path, tmp_path: Path) -> None:
    key, path = open_key(tmp_path / "key.pem"), "bundle/weights.safetensors"
    contents = [canonical_json(described(watch_s=seconds)) for seconds in (3, 4, 5)]
    asked = [
        {"release": text.decode(), "signature": sshsig(key, trust.RELEASE, text).decode()}
        for text in contents
    ]
    with Conversation("board") as one, Conversation("board") as two:
        one.ask("trust", keys=[key.public.raw.hex()], signature=None)
        names = [
            str(board.ask("begin", **a)["hash"])
            for board, a in zip((one, two), asked, strict=False)
        ]
        for offset in range(0, len(FILES[path]), 4096):
            for board, name in zip((one, two), names, strict=True):
                board.put(name, path, offset, FILES[path][offset : offset + 4096])
    with Conversation("board") as three:
        third = three.ask("begin", **asked[2])
        assert path not in third["missing"]
    assert [path.name for path in (root(near) / "incoming").iterdir()] == [third["hash"]]


def test_two_workstations_send_the_same_release_at_once(near: Path, tmp_path: Path) -> None:
    key, content = open_key(tmp_path / "key.pem"), canonical_json(described())
    asked = {
        "release": content.decode(),
        "signature": sshsig(key, trust.RELEASE, content).decode(),
    }
    with Conversation("board") as one, Conversation("board") as two:
        one.ask("trust", keys=[key.public.raw.hex()], signature=None)
        name = str(one.ask("begin", **asked)["hash"])
        assert two.ask("begin", **asked)["missing"] == dict.fromkeys(FILES, 0)
        for path, file in FILES.items():
            for offset in range(0, len(file), 4096):
                for board in (one, two):
                    board.put(name, path, offset, file[offset : offset + 4096])
        with pytest.raises(RefusedByBoardError, match="not the next"):
            two.put(name, "agent.pyz", 0, b"other")
        incoming = root(near) / "incoming" / name
        (root(near) / "releases" / name).parent.mkdir(exist_ok=True)
        incoming.rename(root(near) / "releases" / name)  # as `install` of the first one does
        two.put(name, "agent.pyz", 0, FILES["agent.pyz"])
    for path, file in FILES.items():
        assert (root(near) / "releases" / name / path).read_bytes() == file


def test_the_state_tells_what_each_release_came_to(tmp_path: Path) -> None:
    place = Place(tmp_path / "root")
    for letter in "abc":
        (place.releases / (letter * 64)).mkdir(parents=True)
        (place.releases / (letter * 64) / "ready").touch()
    journal = [("a", "reverted"), ("b", "good"), ("a", "good"), ("b", "reverted")]
    lines = [json.dumps({"release": n * 64, "outcome": outcome}) for n, outcome in journal]
    place.journal.write_text("\n".join([*lines, '7\n{"release": "' + "a" * 9]))
    line, sink = wire({"op": "state"})
    Talk(place, line).run()
    state = json.loads(sink.getvalue().splitlines()[-1])
    told = {entry["hash"][0]: entry["outcome"] for entry in state["releases"]}
    assert told == {"a": "good", "b": "reverted", "c": None}
    assert state["last"] == {"release": "b" * 64, "outcome": "reverted"}


@pytest.mark.parametrize("to", [None, "a", "", 3])
def test_a_release_that_is_not_there_is_told_in_one_sentence(tmp_path: Path, to: object) -> None:
    line, sink = wire({"op": "rollback", "to": to})
    Talk(Place(tmp_path / "root"), line).run()
    answer = json.loads(sink.getvalue().splitlines()[-1])
    assert answer["kind"] == "release" and "on this board" in answer["found"]
    assert "cannot be used" not in answer["found"] and "Deploy again" not in answer["action"]


def test_the_agent_that_is_there_is_the_one_that_talks(near: Path) -> None:
    root(near).mkdir(parents=True)
    (root(near) / "agent.pyz").write_text('print(\'{"protocol": 1, "nonce": "mine"}\')')
    with Conversation("board") as board:
        assert board.hello == {"protocol": 1, "nonce": "mine"}
    (root(near) / "agent.pyz").write_bytes(program.agent_program()[:5000])  # damaged
    with Conversation("board") as board:
        assert len(board.hello["nonce"]) == 32 and board.ask("state")["current"] is None
    (root(near) / "agent.pyz").write_text("print('{\"protocol\": 2}')")
    with pytest.raises(DeployError, match="speaks version 2"):
        Conversation("board")
    (root(near) / "agent.pyz").write_text("print('Welcome!')")
    with pytest.raises(DeployError, match="start-up files"):
        Conversation("board")


def test_how_a_board_cannot_be_reached_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ssh = tmp_path / "ssh"
    monkeypatch.setenv("SEL_EDGE_SSH", str(ssh))
    with pytest.raises(MissingDependencyError, match="no program"):
        Conversation("board")
    script(ssh, "echo 'Permission denied (publickey).' >&2; exit 255")
    with pytest.raises(LostError, match="cannot be reached: Permission denied"):
        Conversation("board")
    script(ssh, "echo 'sh: python3: not found' >&2; exit 127")
    with pytest.raises(DeployError, match="has no python3"):
        Conversation("board")


@settings(max_examples=40)
@given(requests=st.lists(REQUESTS | st.binary(max_size=30), max_size=4))
def test_no_request_ends_the_agent_otherwise_than_said(
    tmp_path_factory: pytest.TempPathFactory, requests: list[Any]
) -> None:
    """Every line is answered, until one after which the next cannot be found."""
    folder = tmp_path_factory.mktemp("hostile")
    place = Place(folder / "root")
    sent = [r + b"\n" if isinstance(r, bytes) else r for r in requests if r != b""]
    line, sink = wire(*[r for r in sent if not (isinstance(r, dict) and r["op"] == "logs")])
    Talk(place, line).run()
    answers = [json.loads(text) for text in sink.getvalue().splitlines()]
    assert answers[0]["protocol"] == 1
    for answer in answers[1:]:
        assert answer.get("progress") or answer["ok"] is True or answer["found"]
    assert {path.name for path in folder.iterdir()} <= {"root"}
    assert not (place.root / "current").exists()


def test_a_line_without_an_end_is_not_read_for_ever(tmp_path: Path) -> None:
    line, sink = wire(b"x" * (5 * 2**20))
    Talk(Place(tmp_path / "root"), line).run()
    assert json.loads(sink.getvalue().splitlines()[-1])["kind"] == "request"


@pytest.mark.parametrize(
    ("request_", "kind"),
    [
        ({"op": "begin", "release": "\ud800", "signature": ""}, "request"),
        ({"op": "trust", "keys": ["a" * 64], "signature": "\udfff"}, "request"),
        ({"op": "rollback", "to": "\ud800"}, "release"),
        ({"op": "preflight", "port": 2**40, "time": 2**70, "camera": 1}, None),
    ],
)
def test_odd_values_are_answered(tmp_path: Path, request_: dict[str, Any], kind: str) -> None:
    line, sink = wire(request_, {"op": "trial"})
    Talk(Place(tmp_path / "root"), line).run()
    _, answer, following = (json.loads(text) for text in sink.getvalue().splitlines())
    assert answer.get("kind") == kind and following["ok"] is True


def test_a_board_whose_release_is_damaged_still_tells_its_state(tmp_path: Path) -> None:
    place = Place(tmp_path / "root")
    for name in ("a" * 64, "b" * 64):
        (place.releases / name).mkdir(parents=True)
        (place.releases / name / "ready").touch()
    (place.releases / ("a" * 64) / "release.json").write_bytes(bytes(100))
    place.link("current", "a" * 64)
    line, sink = wire({"op": "state"})
    Talk(place, line).run()
    state = json.loads(sink.getvalue().splitlines()[-1])
    assert (state["current"], state["unit"], state["readyz"]) == ("a" * 64, None, None)
    assert {entry["hash"] for entry in state["releases"]} == {"a" * 64, "b" * 64}


def test_a_release_that_is_half_removed_is_not_ready(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class PowerCutError(Exception):
        """While the first folder is being removed."""

    def cut(*_: object, **__: object) -> None:
        raise PowerCutError

    place = Place(tmp_path / "root")
    (place.releases / ("a" * 64) / "venv").mkdir(parents=True)
    (place.releases / ("a" * 64) / "ready").touch()
    monkeypatch.setattr(place_module.shutil, "rmtree", cut)
    with pytest.raises(PowerCutError), place.lock():
        place.clear(with_state=True)
    assert place.installed() == []


def test_a_line_of_the_log_without_an_end_comes_in_pieces(
    near: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Conversation("board") as board, monkeypatch.context() as patch:
        patch.setattr(board, "_source", io.BytesIO(b"x" * 200_000 + b"\nend\n"))
        lines = list(board.lines())
    assert lines[-1] == "end" and max(map(len, lines)) <= 2**16
    assert sum(map(len, lines)) == 200_003
