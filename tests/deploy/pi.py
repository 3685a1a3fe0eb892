"""A Raspberry Pi for tests: a real sshd on loopback, in namespaces that hold nothing else.

It has its own user, home, processes and network (only its own loopback: it is offline), sees this
machine's /usr, read-only, and is switched off like a Pi: everything dies at once, files stay.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import signal
import subprocess
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from tests.deploy.air import Air
from tests.tools_needed import missing_tool

HERE = Path(__file__).parent
USER, UID = "pi", 1777
SSHD = "/usr/sbin/sshd"
PROGRAMS = {
    SSHD: "openssh-server",
    "/usr/bin/python3": "python3",
    "/usr/bin/unshare": "util-linux",
    "/usr/bin/nsenter": "util-linux",
    "/usr/bin/setpriv": "util-linux",
    "/usr/bin/findmnt": "util-linux",
}
BOOT_TIMEOUT_S = 20.0
COMMAND_TIMEOUT_S = 60.0
PR_SET_PDEATHSIG = 1
ETC_FILES = ("ld.so.cache", "nsswitch.conf", "localtime", "os-release")

PASSWD = f"""root:x:0:0:root:/root:/bin/sh
sshd:x:100:65534::/run/sshd:/usr/sbin/nologin
{USER}:x:{UID}:{UID}::/home/{USER}:/bin/sh
"""

# SetEnv stands for pam_systemd, which gives a session XDG_RUNTIME_DIR.
SSHD_CONFIG = f"""HostKey /etc/ssh/host_key
AuthorizedKeysFile /etc/ssh/authorized_keys
PasswordAuthentication no
KbdInteractiveAuthentication no
AllowUsers {USER}
UsePAM no
PidFile none
PrintMotd no
PrintLastLog no
SetEnv PATH=/opt/pi/bin:/usr/bin:/bin XDG_RUNTIME_DIR=/run/user/{UID}
MaxStartups 100
MaxSessions 100
"""

CLIENT = """#!/bin/sh
exec env PYTHONPATH=/opt/pi /usr/bin/python3 -m tests.deploy.clients "$0" "$@"
"""


@dataclass
class Done:
    """What a command on the Pi came to."""

    returncode: int
    out: str
    err: str


class Pi:
    """One Pi, off until `boot`; use as a context, which boots it and ends everything.

    Args:
        place: a folder that is made for it.
        name: host name in its known_hosts and ssh_config.
        card: a Pi, switched off, whose files it begins with.

    Attributes:
        air: the way to it.
        home: the user's home, as a path here; only root can look into it.
    """

    def __init__(self, place: Path, name: str = "pi", card: Pi | None = None) -> None:
        _need_programs()
        self.name, self.place = name, place
        self.home, self.var = place / "home", place / "var"
        for folder in ("root", "etc/ssh", "tools", "client"):
            (place / folder).mkdir(parents=True)
        if card is None:
            self._make_card()
        else:
            subprocess.run(["cp", "-a", card.home, card.var, place], check=True)
        _write_tools(place / "tools")
        _write_etc(place / "etc")
        self._make_keys()
        self._machine: subprocess.Popen[bytes] | None = None
        self._init = 0
        self.air = Air(self._sshd)
        self._write_client()

    def __enter__(self) -> Self:
        self.boot()
        return self

    def __exit__(self, *error: object) -> None:
        self.cut_power()
        self.air.close()

    @property
    def ssh_config(self) -> Path:
        """For `ssh -F`: an alias `self.name` with key, port, user and known host."""
        return self.place / "client" / "config"

    @property
    def ssh(self) -> Path:
        """A program that is called as ssh and knows the Pi."""
        return self.place / "client" / "ssh"

    def boot(self) -> None:
        """Until its service manager answers."""
        with (self.place / "boot.log").open("ab") as log:
            self._machine = subprocess.Popen(
                [
                    "unshare", "--fork", "--kill-child", "--pid", "--mount", "--net", "--uts",
                    "--ipc", str(HERE / "boot.sh"), str(self.place), str(UID),
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                preexec_fn=_die_with_parent,
            )  # fmt: skip
        until = time.monotonic() + BOOT_TIMEOUT_S
        children = Path(f"/proc/{self._machine.pid}/task/{self._machine.pid}/children")
        while time.monotonic() < until:
            if self._machine.poll() is not None:
                raise AssertionError((self.place / "boot.log").read_text())
            self._init = int(children.read_text().strip() or 0)
            if self._init and self.does("systemctl --user is-system-running").returncode == 0:
                return
            time.sleep(0.05)
        raise AssertionError("the Pi does not come up: " + (self.place / "boot.log").read_text())

    def cut_power(self) -> None:
        """Every process ends at once, by SIGKILL; open connections with them."""
        if self._machine is not None:
            if self._init:
                os.kill(self._init, signal.SIGKILL)
            self._machine.wait(BOOT_TIMEOUT_S)
            self._machine, self._init = None, 0
        self.air.cut()

    def does(self, command: str, timeout_s: float = COMMAND_TIMEOUT_S) -> Done:
        """A shell command as the user, past the network."""
        environment = {
            "HOME": f"/home/{USER}",
            "USER": USER,
            "PATH": "/opt/pi/bin:/usr/bin:/bin",
            "XDG_RUNTIME_DIR": f"/run/user/{UID}",
        }
        done = subprocess.run(
            [
                *self._enter(), "setpriv", "--reuid", str(UID), "--regid", str(UID),
                "--clear-groups", "env", "-C", f"/home/{USER}", "sh", "-c", command,
            ],
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=timeout_s,
        )  # fmt: skip
        return Done(done.returncode, done.stdout.decode(), done.stderr.decode())

    def path(self, path: str) -> Path:
        """A path below the user's home, as it is called here."""
        return self.home / path

    def write(self, path: str, text: str) -> None:
        """A file of the user, below the home."""
        file = self.path(path)
        for folder in reversed(file.relative_to(self.home).parents[:-1]):
            if not (self.home / folder).exists():
                (self.home / folder).mkdir()
                os.chown(self.home / folder, UID, UID)
        file.write_text(text)
        os.chown(file, UID, UID)

    def processes(self, word: str) -> list[int]:
        """Process numbers, as they are called here, whose command line contains a word."""
        found = []
        for entry in Path("/proc").iterdir():
            try:
                is_here = entry.name.isdigit() and (entry / "ns/pid").readlink() == self._space()
                if is_here and word.encode() in (entry / "cmdline").read_bytes():
                    found.append(int(entry.name))
            except OSError:
                continue
        return found

    def kill(self, words: tuple[str, ...]) -> None:
        """End all processes whose command line contains one of these words, by SIGKILL."""
        for word in words:
            for pid in self.processes(word):
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)

    def _space(self) -> Path:
        return Path(f"/proc/{self._init}/ns/pid").readlink()

    def _enter(self) -> list[str]:
        kinds = ["--mount", "--pid", "--net", "--uts", "--ipc"]
        return ["nsenter", "--target", str(self._init), *kinds, "--wd=/", "--"]

    def _sshd(self) -> list[str] | None:
        """What answers one connection; nothing while the Pi is off."""
        if self._init == 0:
            return None
        return [*self._enter(), SSHD, "-i", "-E", "/var/log/sshd.log", "-f", "/etc/ssh/sshd_config"]

    def _make_card(self) -> None:
        for folder in ("log", "lib/systemd/linger", "tmp"):
            (self.var / folder).mkdir(parents=True)
        self.home.mkdir(exist_ok=True)
        for path in (self.home, *self.var.rglob("*")):
            os.chown(path, UID, UID)
        self.home.chmod(0o700)

    def _make_keys(self) -> None:
        etc, client = self.place / "etc/ssh", self.place / "client"
        for file in (etc / "host_key", client / "key"):
            command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", str(file)]
            subprocess.run(command, check=True)
        shutil.copyfile(client / "key.pub", etc / "authorized_keys")

    def _write_client(self) -> None:
        client = self.place / "client"
        host_key = (self.place / "etc/ssh/host_key.pub").read_text()
        (client / "known_hosts").write_text(f"{self.name} {host_key}")
        self.ssh_config.write_text(
            f"Host {self.name}\n  HostName 127.0.0.1\n  HostKeyAlias {self.name}\n"
            f"  Port {self.air.port}\n  User {USER}\n  IdentityFile {client / 'key'}\n"
            f"  IdentitiesOnly yes\n  UserKnownHostsFile {client / 'known_hosts'}\n"
        )
        self.ssh.write_text(f'#!/bin/sh\nexec ssh -F {self.ssh_config} "$@"\n')
        self.ssh.chmod(0o755)


def _need_programs() -> None:
    for program, package in PROGRAMS.items():
        if not Path(program).exists():
            missing_tool(f"no {program} here: install the package {package} to run this test")
    probe = ["unshare", "--fork", "--pid", "--mount", "--net", "true"]
    if os.geteuid() != 0 or subprocess.run(probe, capture_output=True).returncode != 0:
        missing_tool("a Pi for tests needs root that may make namespaces")


def _write_tools(tools: Path) -> None:
    package = tools / "tests/deploy"
    package.mkdir(parents=True)
    for name in ("clients.py", "service.py", "supervisor.py", "units.py"):
        shutil.copyfile(HERE / name, package / name)
    (tools / "bin").mkdir()
    for name in ("systemctl", "journalctl", "loginctl"):
        (tools / "bin" / name).write_text(CLIENT)
        (tools / "bin" / name).chmod(0o755)


def _write_etc(etc: Path) -> None:
    (etc / "passwd").write_text(PASSWD)
    (etc / "shadow").write_text(
        "".join(f"{name}:*:19000::::::\n" for name in ("root", "sshd", USER))
    )
    (etc / "shadow").chmod(0o600)
    (etc / "group").write_text(f"root:x:0:\nnogroup:x:65534:\n{USER}:x:{UID}:\n")
    (etc / "hosts").write_text("127.0.0.1 localhost pi\n::1 localhost\n")
    (etc / "ssh" / "sshd_config").write_text(SSHD_CONFIG)
    for name in ETC_FILES:
        if (here := Path("/etc") / name).exists():
            shutil.copyfile(here, etc / name)
    for folder in ("alternatives", "python3", "python3.11"):
        if (here := Path("/etc") / folder).is_dir():
            shutil.copytree(here, etc / folder, symlinks=True)


def _die_with_parent() -> None:
    # A test run that is killed leaves no Pi behind; --kill-child then ends what is in it.
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
