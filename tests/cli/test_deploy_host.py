"""Commands for machines over SSH: what they refuse before anything is sent."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sel_edge.bundle.keys import open_key
from sel_edge.cli import deploy_host
from sel_edge.core.errors import DataError
from sel_edge.deploy.unit import Service
from tests.cli.boards import NOWHERE, Call

BUNDLE = Path("tests/frozen/bundle-v2")


@pytest.fixture(autouse=True)
def ssh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An ssh that reaches nobody, and writes down how it is called."""
    program, told = tmp_path / "ssh", tmp_path / "told"
    program.write_text(f'#!/bin/sh\necho "$@" >> {told}\necho "no route to host" >&2\nexit 255\n')
    program.chmod(0o755)
    monkeypatch.setenv("SEL_EDGE_SSH", str(program))
    return told


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([NOWHERE, "--source", "camera"], "--source: for a machine over SSH only"),
        ([NOWHERE, "--dry-run"], "--dry-run: for a machine over SSH only"),
        (["pi@host", "--source", "http", "--provision"], "--provision: for a microcontroller only"),
        (["pi@host"], "--source"),
        ([], "Give either TARGET or --hosts"),
        (["pi@host", "--hosts", "file"], "Give either TARGET or --hosts"),
    ],
)
def test_options_of_another_kind_are_wrong_usage(
    call: Call, ssh: Path, tmp_path: Path, arguments: list[str], words: str
) -> None:
    signed = ["--sign", tmp_path / "key.pem"] if "pi@host" in arguments else []
    done = call("deploy", *arguments, "--bundle", BUNDLE, *signed)
    assert done.code == 2 and words in done.err
    assert not ssh.exists()


def deploy(call: Call, tmp_path: Path, *arguments: object) -> Any:
    options = ["--bundle", BUNDLE, "--source", "http", "--sign", tmp_path / "key.pem"]
    return call("deploy", *arguments, *options)


def test_a_host_that_is_not_there_is_named(call: Call, ssh: Path, tmp_path: Path) -> None:
    done = deploy(call, tmp_path, "pi@host", "--ssh-option", "Port=2222")
    assert done.code == 12
    done.says("(deployment)", "pi@host cannot be reached", "no route to host", "ssh pi@host")
    told = ssh.read_text()
    assert "BatchMode=yes" in told and "-- pi@host" in told
    assert told.index("Port=2222") < told.index("BatchMode")


def test_what_ssh_would_take_for_an_option_is_refused(
    call: Call, ssh: Path, tmp_path: Path
) -> None:
    done = deploy(call, tmp_path, "--", "-oProxyCommand=evil")
    assert done.code != 0 and not ssh.exists()
    for name in ("status", "logs", "undeploy"):
        assert call(name, "--", "-oProxyCommand=evil").code == 6
    assert not ssh.exists()


def test_a_fleet_that_is_not_there_is_a_table(call: Call, tmp_path: Path) -> None:
    hosts = tmp_path / "hosts"
    hosts.write_text("pi@one\npi@two\n")
    done = deploy(call, tmp_path, "--hosts", hosts)
    lines = done.out.splitlines()
    assert done.code == 12 and lines[-1] == "0 of 2 are good."
    assert lines[-3].split()[:2] == ["pi@one", "failed"]
    assert lines[-2].split()[:2] == ["pi@two", "skipped"]
    done = deploy(call, tmp_path, "--hosts", hosts, "--json")
    results = [json.loads(line)["result"] for line in done.out.splitlines()]
    assert results == ["failed", "skipped"]


def test_a_budget_that_needs_another_file_is_refused(call: Call, ssh: Path, tmp_path: Path) -> None:
    (tmp_path / "sun.csv").write_text("00:00,0\n12:00,5\n")
    budget = tmp_path / "budget.toml"
    budget.write_text('capacity_j = 10\n[refill]\nkind = "csv"\npath = "sun.csv"\n')
    done = deploy(call, tmp_path, "pi@host", "--budget", budget)
    assert done.code == 6
    assert not ssh.exists()


def test_a_password_of_the_broker_does_not_leave_this_machine(
    call: Call, ssh: Path, tmp_path: Path
) -> None:
    done = deploy(call, tmp_path, "pi@host", "--mqtt", "mqtt://me:hunter2@house")
    assert done.code == 6 and "hunter2" not in done.out + done.err
    assert not ssh.exists()


def test_status_goes_on_with_the_next_host(call: Call, tmp_path: Path) -> None:
    done = call("status", "pi@one", "pi@two", "--json")
    told = [json.loads(line) for line in done.out.splitlines()]
    assert done.code == 12 and [line["host"] for line in told] == ["pi@one", "pi@two"]
    assert all("cannot be reached" in line["error"] for line in told)


def test_rollback_takes_a_directory_or_a_host(call: Call, ssh: Path, tmp_path: Path) -> None:
    assert call("rollback", tmp_path).code == 5
    assert not ssh.exists()
    done = call("rollback", "pi@host")
    assert done.code == 12
    done.says("pi@host cannot be reached")


def test_inspect_answers_for_an_anchor(call: Call) -> None:
    done = call("inspect", BUNDLE, "--answer")
    assert done.code == 0 and "for an anchor of" in done.out


@pytest.fixture
def board(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Lets ssh reach a board that answers every request with the same, and prints that log."""
    program = tmp_path / "board"
    monkeypatch.setenv("SEL_EDGE_SSH", str(program))

    def answers(printed: str = "", **answer: object) -> None:
        hello = json.dumps({"protocol": 1, "nonce": ""})
        text = json.dumps({"ok": True, **answer})
        program.write_text(
            "#!/bin/sh\ncat <<'END'\n" + hello + "\nEND\n"
            "while read line; do cat <<'END'\n" + text + "\nEND\n"
            f"case $line in *logs*) printf '{printed}'; exit;; esac\ndone\n"
        )
        program.chmod(0o755)

    return answers


def test_a_rollback_that_is_only_planned_names_what_is_there(
    call: Call, board: Callable[..., None]
) -> None:
    releases = [{"hash": letter * 64} for letter in "abb"] + ["junk", {}]
    board(previous="c" * 64, releases=releases)
    assert f"release {'c' * 12}." in call("rollback", "pi@host", "--dry-run").out
    assert f"release {'a' * 12}." in call("rollback", "pi@host", "--dry-run", "--to", "aa").out
    for digits in ("b", "d"):
        assert call("rollback", "pi@host", "--dry-run", "--to", digits).code == 12
    board(previous=None, releases="junk")
    done = call("rollback", "pi@host", "--dry-run")
    assert done.code == 12
    done.says("Nothing is deployed on pi@host.")


def test_while_a_release_is_on_trial_the_one_before_the_trial_is_meant(
    call: Call, board: Callable[..., None]
) -> None:
    trial = {"id": "1", "release": "c" * 64, "previous": "b" * 64, "phase": "switch"}
    told = {"current": "c" * 64, "previous": "a" * 64, "trial": trial}
    board(**told)
    assert f"release {'b' * 12}." in call("rollback", "pi@host", "--dry-run").out
    board(**{**told, "last": {"id": "1"}})  # it is decided, and is being tidied up
    assert f"release {'a' * 12}." in call("rollback", "pi@host", "--dry-run").out
    board(**{**told, "trial": {**trial, "previous": None}})
    call("rollback", "pi@host", "--dry-run").says("No other release ran on pi@host yet.")


def test_what_runs_already_is_not_gone_back_to(call: Call, board: Callable[..., None]) -> None:
    board(current="a" * 64, releases=[{"hash": "a" * 64}])
    done = call("rollback", "pi@host", "--to", "aaaa")
    assert done.code == 0 and done.out == f"pi@host runs release {'a' * 12} already.\n"


def test_where_nothing_is_deployed_each_command_says_so(
    call: Call, board: Callable[..., None], tmp_path: Path
) -> None:
    board(current=None)
    open_key(tmp_path / "key.pem")
    purge = ("--purge", "--sign", tmp_path / "key.pem")
    assert call("undeploy", "pi@host").out == "Nothing is deployed on pi@host.\n"
    told = "Nothing is deployed on pi@host, and nothing is left there.\n"
    assert call("undeploy", "pi@host", *purge).out == told
    call("rollback", "pi@host").says("Nothing is deployed on pi@host.")
    board(current="a" * 64)
    assert "runs no release any more; what" in call("undeploy", "pi@host").out


@pytest.mark.parametrize("printed", ["", r"-- No entries --\n"])
@pytest.mark.parametrize(
    ("current", "words"),
    [(None, "Nothing is deployed on pi@host"), ("a" * 64, "has no line of the service")],
)
def test_a_log_without_a_line_is_told(
    call: Call, board: Callable[..., None], printed: str, current: Any, words: str
) -> None:
    board(printed, current=current)
    done = call("logs", "pi@host")
    assert done.code == 12 and done.out == ""
    done.says(words, "sel-edge status pi@host")
    assert call("logs", "pi@host", "-n", 0).code == 0


def test_status_tells_a_reverted_release_as_such(call: Call, board: Callable[..., None]) -> None:
    releases = [{"hash": "a" * 64, "outcome": "good"}, {"hash": "b" * 64, "outcome": "reverted"}]
    releases += [{"hash": "c" * 64, "outcome": "good"}]
    trial = {"id": "1", "release": "b" * 64, "previous": "c" * 64, "phase": "revert"}
    told = {"current": "c" * 64, "releases": releases, "trial": trial}
    board(**told, last={"id": "1", "release": "b" * 64, "outcome": "reverted"})
    words = call("status", "pi@host").out
    assert "on trial" not in words
    assert f"it can go back to {'a' * 12}.\n" in words
    assert f"it has gone back from {'b' * 12}.\n" in words
    assert json.loads(call("status", "pi@host", "--json").out)["reverted"] == ["b" * 64]
    board(**told)  # not decided yet
    assert f"release {'b' * 12} is no good, and is gone back from." in call("status", "pi@host").out
    board(**{**told, "trial": {**trial, "phase": "switch"}})
    assert f"release {'b' * 12} is on trial." in call("status", "pi@host").out


@pytest.mark.parametrize(
    "source",
    [
        *("camra:0", "camera:x", "camera:0?zoom=2", "camera?size=9", "video:", "inbox"),
        *("inbox:/a?loop=1", "video:/a?fps=x", "http://cam/", "digits:test?pace=x", "", "pictures"),
        *("folder:/a?n=0", "/a:test?corrupt=fog:9", "/a+b", "stream:", "digits:/a"),
    ],
)
def test_a_source_that_no_daemon_takes_is_refused_before_anything_is_sent(
    call: Call, ssh: Path, tmp_path: Path, source: str
) -> None:
    signed = ["--sign", tmp_path / "key.pem"]
    done = call("deploy", "pi@host", "--bundle", BUNDLE, "--source", source, *signed)
    assert done.code == (2 if not source else DataError.exit_code) and "ource" in done.err
    assert not ssh.exists() and not (tmp_path / "key.pem").exists()


@pytest.mark.parametrize(
    "source",
    [
        *("camera", "camera:1?size=640x480&fps=5", "video:/no/such?fps=0&loop=1", "inbox:/no/such"),
        *("rtsp://me:pa?ss@cam/1", "http", "digits:test?n=3&pace=2", "/no/such:all?corrupt=fog:4"),
        *("stream:folder:/a?n=3+npz:/b?loop=1", "inbox:/with%3F"),
    ],
)
def test_a_source_is_not_looked_for_here(
    call: Call, ssh: Path, tmp_path: Path, source: str
) -> None:
    signed = ["--sign", tmp_path / "key.pem"]
    done = call("deploy", "pi@host", "--bundle", BUNDLE, "--source", source, *signed)
    assert done.code == 12 and ssh.exists()


@pytest.mark.parametrize(
    ("listen", "target", "address"),
    [
        ("0.0.0.0", "pi@porch", "http://porch:8765"),  # noqa: S104
        ("::", "ssh://pi@[::1]:2222", "http://[::1]:8765"),
        ("10.0.0.7", "porch", "http://10.0.0.7:8765"),
        ("127.0.0.1", "porch", "http://127.0.0.1:8765"),
    ],
)
def test_where_the_page_is_is_told(listen: str, target: str, address: str) -> None:
    told = "\n".join(deploy_host._ways_in(target, Service("http", listen)))
    assert address in told and target in told
    assert ("token" in told) == (listen != "127.0.0.1")


def test_a_board_cannot_write_on_the_terminal(
    call: Call, board: Callable[..., None], tmp_path: Path
) -> None:
    evil = "\x1b]0;evil\x07\n"
    board(previous=evil, ok=False, kind="storage", found=evil, expected=evil, action=evil)
    hosts = tmp_path / "hosts"
    hosts.write_text("pi@one\n")
    done = [deploy(call, tmp_path, "--hosts", hosts), call("status", "pi@one")]
    board(previous=evil, current=evil, releases=[{"hash": evil}], last={"reason": evil}, keys=evil)
    done += [call("status", "pi@one"), call("rollback", "pi@one", "--dry-run")]
    assert not [one for one in done if "\x1b" in one.out + one.err or "\x07" in one.out + one.err]


def test_only_who_has_a_key_makes_a_board_forget_its_keys(
    call: Call, board: Callable[..., None], tmp_path: Path
) -> None:
    board()
    assert call("undeploy", "pi@host").code == 0
    assert call("undeploy", "pi@host", "--purge", "--sign", tmp_path / "none.pem").code != 0
    open_key(tmp_path / "key.pem")
    assert call("undeploy", "pi@host", "--purge", "--sign", tmp_path / "key.pem").code == 0
