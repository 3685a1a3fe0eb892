"""Choosing the wheels that a board installs, on the workstation, by the board's tags."""

from __future__ import annotations

import fcntl
import re
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import sel_edge
from sel_edge.core.errors import DeployError, MissingDependencyError
from sel_edge.core.files import sha256_bytes, storage_errors

EXTRA = "serve"
OLDEST_GLIBC = 17
"""Minor version of manylinux2014."""
_LEGACY = {"manylinux1": 5, "manylinux2010": 12, "manylinux2014": 17}
_SLOWEST_S = 1800
_TAIL_LINES = 4


@dataclass(frozen=True)
class Platform:
    """What decides which wheels fit.

    Attributes:
        machine: as `uname -m` says it.
        python: minor version of Python 3.
        glibc: minor version of glibc 2; 0 for another C library.
    """

    machine: str
    python: int
    glibc: int

    @classmethod
    def of(cls, facts: dict[str, object]) -> Platform:
        """The platform in the facts that an agent told.

        Raises:
            DeployError: no wheel is for such a machine.
        """
        python = re.fullmatch(r"3\.(\d{1,3})\.\d+\S*", str(facts.get("python")))
        libc = facts.get("libc")
        name, version = libc if isinstance(libc, list) and len(libc) == 2 else ("", "")
        glibc = re.fullmatch(r"2\.(\d{1,3})", str(version)) if name == "glibc" else None
        machine = re.fullmatch(r"[a-z][a-z0-9_]{1,19}", str(facts.get("machine")))
        if python is None or machine is None:
            raise DeployError(
                f"The board has Python {facts.get('python')} on {facts.get('machine')}.",
                "Python 3 on a 64-bit Linux is expected.",
                "Install 64-bit Raspberry Pi OS.",
            )
        return cls(machine[0], int(python[1]), int(glibc[1]) if glibc else 0)

    def fits(self, wheel: str) -> bool:
        """Whether a wheel by this file name can be installed; PEP 425, PEP 600."""
        parts = wheel.removesuffix(".whl").split("-")
        if not wheel.endswith(".whl") or len(parts) not in (5, 6):
            return False
        pythons, abis, platforms = (part.split(".") for part in parts[-3:])
        return any(
            self._runs(python, abi) and self._has(platform, abi)
            for python in pythons
            for abi in abis
            for platform in platforms
        )

    def pip_options(self) -> list[str]:
        """What `pip download` is told about the board."""
        newest_first = range(max(self.glibc, OLDEST_GLIBC), OLDEST_GLIBC - 1, -1)
        platforms = [f"manylinux_2_{minor}_{self.machine}" for minor in newest_first]
        platforms.append(f"manylinux2014_{self.machine}")
        named = [part for platform in platforms for part in ("--platform", platform)]
        return [*named, "--python-version", f"3.{self.python}", "--implementation", "cp"]

    def _runs(self, python: str, abi: str) -> bool:
        if python == "py3":
            return abi == "none"
        match = re.fullmatch(r"(cp|py)3(\d+)", python)
        if match is None:
            return False
        minor = int(match[2])
        if match[1] == "py":
            return abi == "none" and minor <= self.python
        if abi == "abi3":
            return minor <= self.python
        return minor == self.python and abi in ("none", python)

    def _has(self, platform: str, abi: str) -> bool:
        if platform == "any":
            return abi == "none"
        name = platform.removesuffix(f"_{self.machine}")
        if name == platform:
            return False
        match = re.fullmatch(r"manylinux_2_(\d+)", name)
        needed = int(match[1]) if match else _LEGACY.get(name)
        return name == "linux" or (needed is not None and needed <= self.glibc)


@dataclass(frozen=True)
class Wheelhouse:
    """The wheels of a release.

    Attributes:
        wheels: every file, sel-edge's and pip's among them.
        version: of sel-edge.
    """

    wheels: tuple[Path, ...]
    version: str

    @property
    def requirement(self) -> str:
        """What pip is asked for."""
        return f"sel-edge[{EXTRA}]=={self.version}"


def given_wheels(folder: Path, platform: Platform) -> Wheelhouse:
    """The wheels in a folder.

    Raises:
        DeployError: a wheel does not fit the board, or sel-edge's or pip's is not there.
    """
    wheels = sorted(folder.glob("*.whl"))
    if unfit := [path.name for path in wheels if not platform.fits(path.name)]:
        raise DeployError(
            f"{unfit[0]} in {folder} does not fit the board, as {len(unfit)} of {len(wheels)}.",
            f"Wheels for {platform.machine}, Python 3.{platform.python} and glibc "
            f"2.{platform.glibc} are expected.",
            "Leave out --wheels to have them chosen.",
        )
    own = [path for path in wheels if _is_own(path)]
    pips = [path for path in wheels if path.name.startswith("pip-")]
    if len(own) != 1 or len(pips) != 1:
        raise DeployError(
            f"{folder} holds {len(own)} wheels of sel-edge and {len(pips)} of pip.",
            "One of each is expected, and every package that sel-edge needs.",
            f"Make it with `pip wheel 'sel-edge[{EXTRA}]' pip`, or leave out --wheels.",
        )
    return Wheelhouse(tuple(wheels), own[0].name.split("-")[1])


def chosen_wheels(cache: Path, platform: Platform, with_index: bool) -> Wheelhouse:
    """The wheels for a board; what was fetched once is used again, so that nothing changes.

    One at a time chooses; who comes meanwhile waits, and finds them there.

    Args:
        cache: where wheels are kept.
        platform: of the board.
        with_index: the board gets from its own index what is not sel-edge's or pip's.

    Raises:
        DeployError: there is no fitting wheel of a package, or no network to get it from.
        MissingDependencyError: there is no pip here.
        StorageError: the cache cannot be written.
    """
    with _alone(cache):
        return _chosen(cache, platform, with_index)


def _chosen(cache: Path, platform: Platform, with_index: bool) -> Wheelhouse:
    own = own_wheel(cache)
    wanted = ["pip"] if with_index else ["pip", f"{own.resolve()}[{EXTRA}]"]
    reasons = [str(with_index), *_own_needs(own), *platform.pip_options()]
    folder = cache / sha256_bytes("\n".join(reasons).encode())[:16]
    if not folder.is_dir():
        with _beside(folder) as aside:
            only = ["--only-binary", ":all:", *platform.pip_options()]
            _pip("download", *only, "--dest", str(aside), *wanted)
            aside.rename(folder)
    fetched = sorted(path for path in folder.glob("*.whl") if not _is_own(path))
    return Wheelhouse((own, *fetched), own.name.split("-")[1])


def own_wheel(cache: Path) -> Path:
    """The wheel of this very sel-edge: made of its checkout, or got from the index.

    Raises:
        DeployError: pip cannot make or get it.
        MissingDependencyError: there is no pip here.
    """
    checkout = Path(sel_edge.__file__).resolve().parents[1]
    with _beside(cache / "own") as aside:
        if (checkout / "pyproject.toml").is_file():
            isolation = ["--no-build-isolation"] if find_spec("hatchling") else []
            _pip("wheel", "--no-deps", *isolation, "--wheel-dir", str(aside), str(checkout))
        else:
            wanted = f"sel-edge=={sel_edge.__version__}"
            _pip("download", "--no-deps", "--only-binary", ":all:", "--dest", str(aside), wanted)
        (made,) = aside.glob("*.whl")
        return made.replace(cache / made.name)


@contextmanager
def _alone(cache: Path) -> Iterator[None]:
    """Be the only one that puts wheels into a cache; waits for another one to end."""
    with storage_errors(cache):
        cache.mkdir(parents=True, exist_ok=True)
        lock = (cache / ".lock").open("wb")
    with lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@contextmanager
def _beside(path: Path) -> Iterator[Path]:
    """A name in a folder of its own beside a path, which is removed afterwards."""
    with storage_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent) as scratch:
            yield Path(scratch, path.name)


def _is_own(wheel: Path) -> bool:
    return wheel.name.startswith("sel_edge-")


def _own_needs(wheel: Path) -> list[str]:
    """What a wheel requires, as its metadata says."""
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        lines = archive.read(name).decode().splitlines()
    return [line for line in lines if line.startswith("Requires-Dist:")]


def _pip(*arguments: str) -> None:
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", *arguments]
    try:
        done = subprocess.run(  # noqa: S603 - this Python's own pip
            command, capture_output=True, text=True, errors="replace", timeout=_SLOWEST_S
        )
    except subprocess.TimeoutExpired as error:
        raise _no_wheels(f"pip took more than {_SLOWEST_S} s") from error
    if done.returncode == 0:
        return
    if "No module named pip" in done.stderr:
        raise MissingDependencyError(
            "There is no pip in the Python that runs sel-edge.",
            "It gets the wheels that a board needs.",
            "Install it: `python -m ensurepip`; or give --wheels.",
        )
    raise _no_wheels(" / ".join(done.stderr.strip().splitlines()[-_TAIL_LINES:]))


def _no_wheels(detail: str) -> DeployError:
    return DeployError(
        f"The wheels for the board cannot be had: {detail}.",
        "pip is asked for wheels by the board's tags.",
        "Check the network here; or give a folder of wheels with --wheels.",
    )
