"""The units of a release, judged by systemd's own systemd-analyze and by the stand-in."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from sel_edge.deploy.agent import service as on_board
from sel_edge.deploy.unit import Service
from tests.deploy.units import read_unit
from tests.tools_needed import missing_tool

ROOT = ".local/share/sel-edge"
UNITS = ".config/systemd/user"
NAMES = (on_board.SERVICE, on_board.TRIAL)
# Whole numbers, ten times what is printed. A user's service has no capabilities, but is charged for
# all of them: about 25 of these.
MOST_EXPOSURE = 60
PROTECTIONS = {
    "NoNewPrivileges", "PrivateTmp", "PrivateUsers", "ProtectSystem", "ProtectControlGroups",
    "ProtectKernelTunables", "LockPersonality", "NotifyAccess", "UMask",
    "SystemCallArchitectures", "SystemCallFilter_obsolete", "SystemCallFilter_debug",
    "SystemCallFilter_mount", "SystemCallFilter_module", "SystemCallFilter_reboot",
    "RestrictNamespaces_user", "RestrictNamespaces_mnt", "RestrictAddressFamilies_AF_PACKET",
}  # fmt: skip
SERVICE = Service(
    "camera:0?size=640x480&fps=5",
    host="0.0.0.0",  # noqa: S104 - only a word in a unit
    options=(("name", 'über "quoted" 50% $x \\ end'), ("mqtt", "mqtt://me@house:1883/attic")),
)


class Analyzed:
    """A home with both units, and systemd-analyze for its user."""

    def __init__(self, home: Path) -> None:
        self.home = home
        program = home / ROOT / "current/venv/bin/sel-edge"
        for folder in (program.parent, home / UNITS, home / "run"):
            folder.mkdir(parents=True)
        program.write_text("#!/bin/sh\n")
        program.chmod(0o755)
        text = SERVICE.unit(4, "ab" * 32, has_budget=True)
        (home / ROOT / "current" / on_board.SERVICE).write_text(text)
        on_board.place_units(on_board.Place(home / ROOT))

    def analyze(self, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["systemd-analyze", "--user", *arguments],
            env=os.environ | {"XDG_RUNTIME_DIR": str(self.home / "run")},
            capture_output=True,
            text=True,
            timeout=60,
        )

    def verify(self, name: str) -> subprocess.CompletedProcess[str]:
        return self.analyze("--man=no", "verify", self.home / UNITS / name)


@pytest.fixture
def analyzed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Analyzed:
    if shutil.which("systemd-analyze") is None:
        missing_tool("no systemd-analyze here: install the package systemd to run this test")
    monkeypatch.setenv("HOME", str(tmp_path))
    return Analyzed(tmp_path)


@pytest.mark.parametrize("name", NAMES)
def test_systemd_finds_nothing_wrong(analyzed, name):
    done = analyzed.verify(name)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("name", NAMES)
def test_systemd_would_find_what_is_wrong(analyzed, name):
    file = (analyzed.home / UNITS / name).resolve()
    text = file.read_text()
    file.write_text(text.replace("Restart=on-failure", "Restart=on-falure"))
    assert "on-falure" in analyzed.verify(name).stderr


def test_the_daemon_is_kept_from_what_it_does_not_need(analyzed):
    unit = analyzed.home / UNITS / on_board.SERVICE
    exposed = (f"--threshold={MOST_EXPOSURE}", "--offline=true", "--json=short")
    done = analyzed.analyze("security", *exposed, unit)
    assert done.returncode == 0, done.stderr
    verdicts = {entry["json_field"]: entry["set"] for entry in json.loads(done.stdout)}
    assert verdicts.keys() >= PROTECTIONS
    assert not {name for name in PROTECTIONS if not verdicts[name]}


@pytest.mark.parametrize("name", NAMES)
def test_the_stand_in_takes_both_and_reads_the_same_words(analyzed, name):
    specifiers = {"h": str(analyzed.home), "t": "/run/user/1777"}
    unit = read_unit(analyzed.home / UNITS / name, specifiers)
    words = unit.command()
    if name == on_board.SERVICE:
        assert words[words.index("--name") + 1] == dict(SERVICE.options)["name"]
        assert unit.words("ReadWritePaths") == [f"{analyzed.home}/{ROOT}/state"]
        hidden = ["-/run/user/1777/bus", "-/run/user/1777/systemd/private"]
        assert unit.words("InaccessiblePaths") == hidden
    else:
        assert words[-2:] == [f"{analyzed.home}/{ROOT}/agent.pyz", "trial"]
