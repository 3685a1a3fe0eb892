"""`sel-edge doctor`: what this machine has, what is missing and how to get it."""

from __future__ import annotations

import json
import os
import platform
import re
import shutil
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import click

from sel_edge import __version__
from sel_edge.core import provenance
from sel_edge.core.errors import MissingDependencyError
from sel_edge.data.cache import cache_directory
from sel_edge.energy.meter import choose_meter

EDGE = (
    "click",
    "cryptography",
    "jinja2",
    "numpy",
    "pillow",
    "pyserial",
    "rich",
    "safetensors",
)
SERVE = ("opencv-python-headless", "paho-mqtt", "prometheus-client", "starlette", "uvicorn")
TRAIN = ("matplotlib", "nvidia-ml-py", "onnx", "onnxscript", "scikit-learn", "torch", "torchvision")


@dataclass(frozen=True)
class Finding:
    """One thing looked at.

    Attributes:
        name: what it is.
        state: "ok", "optional" (missing, and only some commands need it), "untested" (a version
            outside of those tested on this kind of processor) or "missing".
        detail: the version or value found, or how to get it.
    """

    name: str
    state: str
    detail: str


@click.command("doctor")
@click.option("--json", "as_json", is_flag=True, help="Print everything as one JSON line.")
def command(as_json: bool) -> int:
    """Say what this machine has, what is missing and how to get it.

    Ends with exit code 7 if something is missing that every command needs.
    """
    findings = examine()
    if as_json:
        click.echo(json.dumps(_as_dict(findings)))
    else:
        width = max(len(finding.name) for finding in findings)
        for finding in findings:
            click.echo(f"{finding.state:<9} {finding.name:<{width}} {finding.detail}")
    return (
        MissingDependencyError.exit_code
        if any(finding.state == "missing" for finding in findings)
        else 0
    )


def examine() -> list[Finding]:
    """Look at Python, packages, processor, energy meter and cache."""
    machine = provenance.machine()
    findings = [
        Finding("sel-edge", "ok", __version__),
        Finding("python", "ok", platform.python_version()),
        Finding("processor", "ok", f"{machine['processor']} ({machine['architecture']})"),
        Finding("threads", "ok", f"{machine['cores']} cores usable, {_thread_limit()}"),
        Finding("memory", "ok", f"{machine['memory_bytes'] / 2**30:.1f} GiB"),
    ]
    findings += [_package(name, "missing", f"pip install {name}") for name in EDGE]
    findings.append(_onnxruntime(machine["architecture"], _requirement("onnxruntime")))
    for extra, names in (("serve", SERVE), ("train", TRAIN)):
        findings += [_package(n, "optional", f"pip install 'sel-edge[{extra}]'") for n in names]
    return [*findings, _gpu(), _meter(), _cache()]


def _thread_limit() -> str:
    limit = os.environ.get("OMP_NUM_THREADS")
    return f"OMP_NUM_THREADS={limit}" if limit else "no OMP_NUM_THREADS limit"


def _package(name: str, state_if_absent: str, remedy: str) -> Finding:
    try:
        return Finding(name, "ok", metadata.version(name))
    except metadata.PackageNotFoundError:
        return Finding(name, state_if_absent, f"not installed: {remedy}")


def _requirement(name: str) -> str:
    """What this package asks for, e.g. "numpy>=1.26"; the bare name where it is not installed."""
    try:
        stated = metadata.requires("sel-edge") or []
    except metadata.PackageNotFoundError:
        stated = []
    return next((line for line in stated if re.match(rf"{name}(?![\w-])", line)), name)


def _onnxruntime(architecture: str, requirement: str) -> Finding:
    """The range that this package asks for is the one whose tests pass on emulated Arm boards."""
    found = _package("onnxruntime", "missing", f"pip install '{requirement}'")
    if architecture != "aarch64" or found.state != "ok" or _allows(requirement, found.detail):
        return found
    remedy = f"pip install '{requirement}'"
    return Finding(found.name, "untested", f"{found.detail}, not tested on 64-bit Arm: {remedy}")


def _allows(requirement: str, version: str) -> bool:
    """Whether a version, e.g. "1.27.0", lies within the ">=" and "<" of a requirement."""
    limits = re.findall(r"(>=|<)([\d.]+)", requirement)
    found = _numbers(version)
    return all((found >= _numbers(limit)) == (relation == ">=") for relation, limit in limits)


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(digits) for digits in re.findall(r"\d+", version))


def _gpu() -> Finding:
    if shutil.which("nvidia-smi") is None:
        return Finding("gpu", "optional", "no NVIDIA driver found: pretrain uses the CPU")
    return Finding("gpu", "ok", "NVIDIA driver found: pretrain uses the GPU if torch has CUDA")


def _meter() -> Finding:
    choice = choose_meter()
    found = f"{choice.meter.origin}, from {choice.meter.name}"
    return Finding("energy", "ok", "; ".join([found, *choice.refused]))


def _cache() -> Finding:
    folder = cache_directory()
    nearest = next(p for p in (folder, *folder.parents) if p.exists())
    free = shutil.disk_usage(nearest).free
    if not os.access(nearest, os.W_OK):
        return Finding("cache", "optional", f"{folder} is not writable: set SEL_EDGE_CACHE")
    return Finding("cache", "ok", f"{folder}, {free / 2**30:.1f} GiB free")


def _as_dict(findings: list[Finding]) -> dict[str, Any]:
    return {
        "machine": provenance.machine(),
        "versions": provenance.versions(),
        "findings": [asdict(finding) for finding in findings],
        "path": str(Path(__file__).resolve().parents[1]),
    }
