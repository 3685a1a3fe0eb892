"""The supervisor stand-in does what systemd's manual says of the settings it honours."""

from __future__ import annotations

import time
from collections.abc import Callable
from itertools import count
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.deploy.pi import Pi
from tests.deploy.units import UnitError, read_unit, seconds

NUMBERS = count()
LIMIT_S = 20.0
EXEC = "[Service]\nType=exec\n"
NOTIFY = (
    "import os, socket, time, sys\n"
    "notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)\n"
    "notify.connect(os.environ['NOTIFY_SOCKET'])\n"
)
READY = NOTIFY + "notify.send(b'READY=1')\nprint('up', flush=True)\ntime.sleep(600)\n"


class Tried:
    """A service on a Pi, by the text of its unit."""

    def __init__(self, pi: Pi, unit: str, program: str = "") -> None:
        self.pi, self.name = pi, f"try-{next(NUMBERS)}.service"
        self.script = f".config/systemd/user/{self.name}.py"
        pi.write(self.script, program)
        self.write(unit)

    def write(self, unit: str) -> None:
        command = f"ExecStart=/usr/bin/python3 %h/{self.script}"
        unit = unit.replace("PROGRAM", command)
        self.pi.write(f".config/systemd/user/{self.name}", unit)

    def systemctl(self, verb: str, more: str = "") -> tuple[int, str]:
        done = self.pi.does(f"systemctl --user {more} {verb} {self.name}")
        return done.returncode, (done.out + done.err).strip()

    def shown(self, name: str) -> str:
        return self.systemctl("show", f"--property={name} --value")[1]

    def becomes(self, name: str, value: str) -> None:
        _wait(lambda: self.shown(name) == value)

    def journal(self) -> list[str]:
        done = self.pi.does(f"journalctl --user --no-pager -o cat -u {self.name}")
        return done.out.splitlines()


def _wait(holds: Callable[[], bool]) -> None:
    until = time.monotonic() + LIMIT_S
    while not holds():
        assert time.monotonic() < until
        time.sleep(0.05)


def test_a_service_is_up_once_it_says_so_and_stop_ends_all_that_it_started(shared_pi):
    program = READY.replace(
        "time.sleep(600)",
        "import subprocess as s\ns.run(['setsid','-f','sleep','4242'])\ntime.sleep(600)",
    )
    tried = Tried(shared_pi, "[Service]\nType=notify\nPROGRAM\n", program)
    assert tried.systemctl("start") == (0, "")
    assert tried.systemctl("is-active") == (0, "active")
    _wait(lambda: len(shared_pi.processes("4242")) == 1)
    assert tried.systemctl("stop") == (0, "")
    assert tried.systemctl("is-active") == (3, "inactive")
    assert "up" in tried.journal() and not shared_pi.processes("4242")
    assert tried.shown("Result") == "success"


def test_what_never_says_ready_times_out(shared_pi):
    unit = "[Service]\nType=notify\nTimeoutStartSec=300ms\nPROGRAM\n"
    tried = Tried(shared_pi, unit, "import time; time.sleep(600)")
    assert tried.systemctl("start")[0] == 1
    assert (tried.shown("ActiveState"), tried.shown("Result")) == ("failed", "timeout")


def test_what_falls_silent_is_killed_and_started_again(shared_pi):
    unit = "[Service]\nType=notify\nWatchdogSec=400ms\nRestart=on-failure\nRestartSec=50ms\nPROGRAM"
    tried = Tried(shared_pi, unit, READY)
    tried.systemctl("start")
    _wait(lambda: int(tried.shown("NRestarts")) >= 1)
    assert "Watchdog timeout!" in tried.journal()
    tried.systemctl("stop")


def test_what_feeds_the_watchdog_lives(shared_pi):
    program = READY.replace(
        "time.sleep(600)",
        "while True:\n time.sleep(float(os.environ['WATCHDOG_USEC']) / 4e6)\n"
        " notify.send(b'WATCHDOG=1')",
    )
    unit = "[Service]\nType=notify\nWatchdogSec=1s\nRestart=on-failure\nPROGRAM"
    tried = Tried(shared_pi, unit, program)
    tried.systemctl("start")
    time.sleep(2.5)
    assert (tried.shown("ActiveState"), tried.shown("NRestarts")) == ("active", "0")
    tried.systemctl("stop")


@pytest.mark.parametrize(("policy", "restarts"), [("no", "0"), ("on-failure", "3")])
def test_a_crash_is_followed_by_as_many_starts_as_the_limits_allow(shared_pi, policy, restarts):
    unit = f"[Unit]\nStartLimitBurst=3\n{EXEC}Restart={policy}\nRestartSec=20ms\nPROGRAM"
    tried = Tried(shared_pi, unit, "raise SystemExit(3)")
    tried.systemctl("start")
    tried.becomes("ActiveState", "failed")
    assert tried.shown("NRestarts") == restarts
    assert tried.shown("Result") == ("exit-code" if policy == "no" else "start-limit-hit")
    if policy != "no":
        assert tried.systemctl("start")[0] == 1, "the limit still holds"
        assert tried.systemctl("reset-failed")[0] == 0
        assert tried.shown("NRestarts") == "0"


def test_no_limit_of_starts_is_no_limit(shared_pi):
    unit = f"[Unit]\nStartLimitIntervalSec=0\n{EXEC}Restart=on-failure\nRestartSec=10ms\nPROGRAM"
    tried = Tried(shared_pi, unit, "raise SystemExit(3)")
    tried.systemctl("start")
    _wait(lambda: int(tried.shown("NRestarts")) > 6)
    tried.systemctl("stop")
    assert tried.shown("ActiveState") in ("inactive", "failed")


def test_only_the_main_process_is_heard(shared_pi):
    program = f"import subprocess, sys, time\nsubprocess.run([sys.executable, '-c', {NOTIFY!r}"
    program += " + 'notify.send(b\"READY=1\")'])\ntime.sleep(600)"
    unit = "[Service]\nType=notify\nTimeoutStartSec=1s\nPROGRAM"
    tried = Tried(shared_pi, unit, program)
    assert tried.systemctl("start")[0] == 1


def test_a_protected_service_writes_where_it_may_and_nowhere_else(shared_pi):
    program = """
import os, pathlib
for name in ('state/in', 'out', '.config/systemd/user/evil.service'):
    try:
        pathlib.Path(os.environ['HOME'], name).write_text('x')
        print('wrote', name)
    except OSError as error:
        print('refused', name, error.strerror)
print(os.getuid())
"""
    unit = "[Service]\nType=oneshot\nProtectHome=read-only\nPrivateUsers=yes\nPROGRAM\n"
    tried = Tried(shared_pi, unit + "ReadWritePaths=%h/state\n", program)
    shared_pi.does("mkdir -p state")
    assert tried.systemctl("start") == (0, ""), tried.journal()
    said = [line for line in tried.journal() if line.startswith(("wrote", "refused", "1777"))]
    refused = "Read-only file system"
    assert said == [
        "wrote state/in",
        f"refused out {refused}",
        f"refused .config/systemd/user/evil.service {refused}",
        "1777",
    ]
    tried.write(unit + "ReadWritePaths=%h/vanished\n")
    tried.systemctl("daemon-reload")
    assert tried.systemctl("start")[0] == 1


def test_a_changed_unit_counts_after_daemon_reload(shared_pi):
    tried = Tried(shared_pi, "[Service]\nType=oneshot\nExecStart=/bin/echo old\n")
    tried.systemctl("start")
    tried.write("[Service]\nType=oneshot\nExecStart=/bin/echo new\n")
    tried.systemctl("start")
    assert tried.journal().count("old") == 2
    assert shared_pi.does("systemctl --user daemon-reload").returncode == 0
    tried.systemctl("start")
    assert "new" in tried.journal()


def test_a_condition_that_does_not_hold_skips_the_start(shared_pi):
    unit = "[Unit]\nConditionPathExists=%h/open\n[Service]\nType=oneshot\nExecStart=/bin/echo ran\n"
    tried = Tried(shared_pi, unit)
    assert tried.systemctl("start") == (0, "") and "ran" not in tried.journal()
    shared_pi.does("touch open")
    assert tried.systemctl("start") == (0, "") and "ran" in tried.journal()


def test_after_a_power_cut_what_is_enabled_starts_if_the_user_lingers(pi):
    unit = "[Service]\nType=notify\nPROGRAM\n[Install]\nWantedBy=default.target\n"
    tried = Tried(pi, unit, READY)
    assert tried.systemctl("enable") == (0, "")
    for command, state in (("true", "inactive"), ("loginctl enable-linger", "active")):
        assert pi.does(command).returncode == 0
        pi.cut_power()
        assert not pi.processes("python3")
        pi.boot()
        tried.becomes("ActiveState", state)


@pytest.mark.parametrize(
    "unit",
    [
        "[Service]\nType=exec\nExecStart=sel-edge serve\n",
        "[Service]\nType=exec\nExecStart=/bin/true\nRestrat=always\n",
        "[Service]\nType=exec\nExecStart=/bin/true %q\n",
        "[Service]\nType=exec\nExecStart=/bin/echo $HOME\n",
        "[Service]\nType=exec\nExecStart=/bin/true\nUser=root\n",
        "[Service]\nType=exec\nExecStart=/bin/true\nProtectSystem=strict\n",
        "[Service]\nType=notify\n",
        "[Sevrice]\nExecStart=/bin/true\n",
    ],
)
def test_a_wrong_unit_is_refused(tmp_path: Path, unit: str):
    file = tmp_path / "a.service"
    file.write_text(unit)
    with pytest.raises(UnitError):
        read_unit(file, {"h": "/home/pi"})


@given(st.integers(0, 500), st.integers(0, 59), st.sampled_from(["", " "]))
def test_time_spans_add_up(minutes, second, space):
    assert seconds(f"{minutes}min{space}{second}s") == minutes * 60 + second
