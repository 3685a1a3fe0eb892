"""The Pi of the tests is alone in its world, and the way to it can be cut at any byte."""

from __future__ import annotations

import socket
import subprocess
from pathlib import Path

import pytest

from tests.deploy.pi import UID, Pi

ROOT = Path(__file__).parents[2]
# The host key and user's key are new; only the way they are offered costs bytes.
BEFORE_A_COMMAND = 2000


def over_ssh(pi: Pi, command: str, content: bytes = b"", *options: str) -> tuple[int, bytes]:
    done = subprocess.run(
        [pi.ssh, "-o", "BatchMode=yes", *options, pi.name, command],
        input=content,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        timeout=60,
    )
    return done.returncode, done.stdout


def test_a_command_over_ssh_runs_as_the_user_and_sees_nothing_of_this_machine(shared_pi):
    status, out = over_ssh(
        shared_pi, "id -u; pwd; ls -d /root /etc/ssh/* /home/*; command -v systemctl"
    )
    assert status == 0
    lines = out.decode().split()
    assert lines[:2] == [str(UID), "/home/pi"] and lines[-1] == "/opt/pi/bin/systemctl"
    assert "/root" not in lines and "/home/pi" in lines
    assert over_ssh(shared_pi, f"test -e {ROOT}")[0] == 1
    assert over_ssh(shared_pi, "touch /usr/x /etc/x || touch /opt/pi/x")[0] == 1


def test_it_is_offline(shared_pi):
    with socket.create_server(("127.0.0.1", 0)) as here:
        port = here.getsockname()[1]
        probe = f"import socket; socket.create_connection(('127.0.0.1', {port}), 2)"
        assert over_ssh(shared_pi, f'python3 -c "{probe}"')[0] == 1
    assert over_ssh(shared_pi, "ip -o link | wc -l")[1].strip() == b"1"


def test_a_stranger_is_refused(shared_pi, tmp_path):
    key = tmp_path / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True)
    only = ("-o", f"IdentityFile={key}", "-o", f"ControlPath={tmp_path}/none")
    config = tmp_path / "config"
    text = shared_pi.ssh_config.read_text()
    config.write_text(text.replace(str(shared_pi.place / "client/key"), str(key)))
    done = subprocess.run(["ssh", "-F", config, *only, "pi", "true"], capture_output=True)
    assert done.returncode == 255


@pytest.mark.parametrize("more", [0, 1, 5000, 100_000])
def test_a_cut_line_carries_exactly_so_many_bytes(shared_pi, more):
    n_bytes = BEFORE_A_COMMAND + more
    shared_pi.air.cut_after(n_bytes)
    assert over_ssh(shared_pi, "cat", bytes(1_000_000))[0] == 255
    assert shared_pi.air.carried == n_bytes
    assert over_ssh(shared_pi, "true")[0] == 255
    shared_pi.air.cut_after(None)
    assert over_ssh(shared_pi, "cat", b"whole") == (0, b"whole")


def test_a_pulled_cable_tells_the_pi_nothing(shared_pi):
    impatient = ("-o", "ServerAliveInterval=1", "-o", "ServerAliveCountMax=1")
    shared_pi.air.cut_after(20_000, "silence")
    assert over_ssh(shared_pi, "cat >sent; sleep 4343", bytes(1_000_000), *impatient)[0] == 255
    assert shared_pi.processes("sent"), "the command still waits for more"
    shared_pi.air.cut_after(None)
    assert over_ssh(shared_pi, "true")[0] == 0
    shared_pi.air.cut()


def test_a_power_cut_ends_all_processes_and_keeps_all_files(pi):
    pi.does("echo kept >file; setsid -f sleep 4444 >/dev/null 2>&1")
    assert pi.processes("4444")
    pi.cut_power()
    assert over_ssh(pi, "true")[0] == 255
    pi.boot()
    assert pi.does("cat file; hostname").out.split() == ["kept", "pi"]
    assert not pi.processes("4444")
