"""Preflight: what this board is, whether it can run a release, and what to do where it cannot."""

from __future__ import annotations

import contextlib
import os
import platform
import pwd
import re
import shutil
import socket
import sys
import time
from pathlib import Path
from typing import Any

from . import service
from .place import Place
from .process import call

LEAST_PYTHON = (3, 11)
LEAST_RAM_BYTES, FEW_RAM_BYTES = 200 * 10**6, 400 * 10**6
WRONG_CLOCK_S = 300
SLOWEST_S = 10
THROTTLING = {
    0: "the voltage is too low now",
    1: "the clock is capped now",
    2: "it is throttled now",
    3: "it is too hot now",
    16: "the voltage was too low since the start",
    17: "the clock was capped since the start",
    18: "it was throttled since the start",
    19: "it was too hot since the start",
}
"""Bits of `vcgencmd get_throttled`: the Raspberry Pi documentation of vcgencmd."""

Check = dict[str, str]


def examine(place: Place, request: dict[str, Any]) -> dict[str, Any]:
    """Every check, and the facts about the board."""
    checks = [
        _system(),
        _python(),
        _ssh_keygen(),
        _memory(),
        _disk(place),
        _clock(_number(request, "time")),
        _processor(),
        _manager(),
        _linger(),
        _caps(),
        _sandbox(),
        _port(_number(request, "port")),
        _throttling(),
        *([_camera()] if request.get("camera") is True else []),
    ]
    return {"checks": checks, "facts": facts(place)}


def facts(place: Place) -> dict[str, Any]:
    """What wheels and limits are chosen by."""
    return {
        "machine": platform.machine(),
        "system": platform.system(),
        "python": ".".join(map(str, sys.version_info[:3])),
        "libc": list(platform.libc_ver()),
        "cores": os.cpu_count() or 1,
        "ram_bytes": _memory_of("MemTotal"),
        "free_bytes": shutil.disk_usage(_nearest(place)).free,
        "host": platform.node(),
        "online": _is_online(),
    }


def _said(name: str, verdict: str, found: str, action: str = "") -> Check:
    return {"name": name, "verdict": verdict, "found": found, "action": action}


def _system() -> Check:
    found = f"{platform.system()} {platform.release()}, {platform.machine()}"
    if platform.system() != "Linux" or sys.maxsize < 2**32:
        width = "a 64-bit Python" if sys.maxsize > 2**32 else "a 32-bit Python"
        return _said(
            "system", "fail", f"{found}, {width}", "Install a 64-bit Linux, as 64-bit Pi OS."
        )
    return _said("system", "ok", f"{found}, 64 bits")


def _python() -> Check:
    found = f"Python {platform.python_version()}"
    if sys.version_info < LEAST_PYTHON:
        least = ".".join(map(str, LEAST_PYTHON))
        return _said("Python", "fail", found, f"Install Python {least} or newer as python3.")
    return _said("Python", "ok", found)


def _ssh_keygen() -> Check:
    if shutil.which("ssh-keygen") is None:
        action = "Install it: `sudo apt-get install openssh-client`."
        return _said("ssh-keygen", "fail", "not there; signatures are checked with it", action)
    return _said("ssh-keygen", "ok", "there")


def _memory() -> Check:
    free = _memory_of("MemAvailable")
    found = f"{free // 10**6:,} MB free of {_memory_of('MemTotal') // 10**6:,} MB"
    if free < LEAST_RAM_BYTES:
        return _said("memory", "fail", found, "End other programs, or take a board with more.")
    if free < FEW_RAM_BYTES:
        return _said("memory", "warn", found, "Learning may have to wait for free memory.")
    return _said("memory", "ok", found)


def _disk(place: Place) -> Check:
    folder = _nearest(place)
    if not os.access(folder, os.W_OK):
        return _said("disk", "fail", f"{folder} cannot be written", "Give it to this user.")
    return _said("disk", "ok", f"{shutil.disk_usage(folder).free // 10**6:,} MB free")


def _clock(there_s: int) -> Check:
    off_s = time.time() - there_s
    found = f"{abs(off_s):.0f} s {'ahead' if off_s > 0 else 'behind'}"
    if abs(off_s) > WRONG_CLOCK_S:
        action = "Set it, or let it be set: `sudo timedatectl set-ntp true`."
        return _said("clock", "warn", f"{found} of the workstation's", action)
    return _said("clock", "ok", "right" if abs(off_s) < 2 else found)


def _processor() -> Check:
    text = _read("/proc/cpuinfo")
    names = re.findall(r"^model name\s*:\s*(.+)$", text, re.MULTILINE)
    model = _read("/proc/device-tree/model").strip("\0\n") or (names[0] if names else "unknown")
    features = re.search(r"^(?:Features|flags)\s*:\s*(.+)$", text, re.MULTILINE)
    found = f"{os.cpu_count()} cores, {model}"
    vectors = {"aarch64": "asimd", "x86_64": "avx"}.get(platform.machine())
    if vectors and features and vectors not in features[1].split():
        return _said("processor", "warn", f"{found}, without {vectors}", "Expect it to be slow.")
    return _said("processor", "ok", found)


def _manager() -> Check:
    _, said = service.systemctl("is-system-running")
    state = said.strip().splitlines()[-1:] or [""]
    if state[0] in ("running", "degraded", "starting", "initializing"):
        return _said("service manager", "ok", f"systemd's user manager, {state[0]}")
    action = "Log in once with a session (`loginctl enable-linger` starts one), with systemd."
    return _said("service manager", "fail", f"no user manager: {state[0][:200]}", action)


def linger_state() -> str:
    """`yes` if the user's services run without anybody logged in; `no`, or "" if it is unknown."""
    return _output("loginctl", "show-user", _user(), "--property=Linger").partition("=")[2].strip()


def enable_linger() -> bool:
    """Have the user's services run from boot on; whether that worked."""
    if linger_state() != "yes":
        _output("loginctl", "enable-linger")
    return linger_state() == "yes"


def _linger() -> Check:
    if linger_state() == "yes":
        return _said("linger", "ok", "services run without a login")
    action = f"It is tried; if that fails: `sudo loginctl enable-linger {_user()}`."
    return _said("linger", "warn", "services end when the user logs out", action)


def _caps() -> Check:
    user = os.getuid()
    folder = f"/sys/fs/cgroup/user.slice/user-{user}.slice/user@{user}.service"
    there = _read(f"{folder}/cgroup.controllers").split()
    missing = [name for name in ("memory", "cpu") if name not in there]
    if missing:
        action = (
            "Caps do not hold without it. On a Raspberry Pi, add `cgroup_enable=memory` to "
            "/boot/firmware/cmdline.txt and start it anew."
        )
        return _said("caps", "warn", f"no {' and '.join(missing)} controller", action)
    return _said("caps", "ok", "memory and cpu controllers")


def _sandbox() -> Check:
    if _succeeds("unshare", "--user", "--map-root-user", "--mount", "true"):
        return _said("sandbox", "ok", "user and mount namespaces")
    action = (
        "The unit's read-only system needs them: see kernel.unprivileged_userns_clone and "
        "kernel.apparmor_restrict_unprivileged_userns in sysctl."
    )
    return _said("sandbox", "warn", "no user namespaces", action)


def _port(port: int) -> Check:
    with socket.socket() as line:
        line.settimeout(2)
        is_used = 0 < port < 65536 and line.connect_ex(("127.0.0.1", port)) == 0
    if is_used and service.show().get("ActiveState") not in ("active", "activating"):
        return _said("port", "fail", f"{port} is used by another program", "Choose another --port.")
    return _said("port", "ok", f"{port}")


def _throttling() -> Check:
    match = re.fullmatch(r"throttled=0x([0-9a-fA-F]+)\s*", _output("vcgencmd", "get_throttled"))
    if match is None:
        return _said("power supply", "ok", "no vcgencmd to ask, so not a Raspberry Pi")
    bits = int(match[1], 16)
    found = [words for bit, words in THROTTLING.items() if bits >> bit & 1]
    if found:
        action = "Take the power supply made for this board, and cool it."
        return _said("power supply", "warn", ", ".join(found), action)
    return _said("power supply", "ok", "never throttled since the start")


def _camera() -> Check:
    devices = sorted(Path("/dev").glob("video*"))
    usable = [str(path) for path in devices if os.access(path, os.R_OK | os.W_OK)]
    if usable:
        return _said("camera", "ok", ", ".join(usable[:4]))
    if devices:
        action = f"`sudo usermod -aG video {_user()}`, then log in anew."
        return _said("camera", "fail", f"this user may not use {devices[0]}", action)
    return _said("camera", "warn", "there is no /dev/video*", "Plug one in, or check its cable.")


def _nearest(place: Place) -> Path:
    """The folder of the releases, or the one in which it will be made."""
    return next(path for path in (place.root, *place.root.parents) if path.is_dir())


def _is_online() -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("pypi.org", 443), timeout=2):
        return True
    return False


def _memory_of(name: str) -> int:
    match = re.search(rf"^{name}:\s*(\d+) kB", _read("/proc/meminfo"), re.MULTILINE)
    return 1024 * int(match[1]) if match else 0


def _user() -> str:
    return pwd.getpwuid(os.getuid()).pw_name


def _number(request: dict[str, Any], name: str) -> int:
    value = request.get(name)
    return value if isinstance(value, int) and 0 <= value < 2**53 else 0


def _read(path: str) -> str:
    try:
        return Path(path).read_text(errors="replace")
    except OSError:
        return ""


def _output(*command: str) -> str:
    """What a program printed, if it ended well."""
    code, said = call(list(command), SLOWEST_S)
    return said if code == 0 else ""


def _succeeds(*command: str) -> bool:
    return call(list(command), SLOWEST_S)[0] == 0
