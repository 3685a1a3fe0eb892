"""A wheel built from the tree works in an empty environment, without torch and onnx."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
EDGE_SITE_LIMIT_MB = 400


@pytest.fixture(scope="module")
def edge(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The `bin` of a fresh environment that holds the wheel and what it depends on."""
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder)]
    subprocess.run([*build, str(ROOT)], check=True, capture_output=True, timeout=300)
    (wheel,) = folder.glob("*.whl")
    subprocess.run([sys.executable, "-m", "venv", str(folder / "env")], check=True, timeout=120)
    pip = [str(folder / "env" / "bin" / "python"), "-m", "pip", "install", "--quiet", str(wheel)]
    subprocess.run(pip, check=True, timeout=600)
    return folder / "env" / "bin"


def call(edge: Path, *arguments: object) -> str:
    done = subprocess.run(
        [edge / "sel-edge", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=120,
        cwd=edge,  # not the checkout: nothing of it may be found by accident
        env={"PATH": os.environ["PATH"], "HOME": str(edge)},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.proof
def test_the_edge_install_is_light_and_whole(edge, workshop, frames, tmp_path):
    installed = subprocess.run(
        [edge / "python", "-m", "pip", "list", "--format=json"],
        check=True,
        capture_output=True,
        text=True,
    )
    names = {package["name"].lower() for package in json.loads(installed.stdout)}
    assert not names & {"torch", "torchvision", "onnx", "onnxscript", "matplotlib", "pandas"}
    site = next((edge.parent / "lib").glob("python*/site-packages"))
    size_mb = sum(p.stat().st_size for p in site.rglob("*") if p.is_file()) / 1e6
    assert size_mb < EDGE_SITE_LIMIT_MB
    assert "onnxruntime" in call(edge, "doctor")
    assert "every hash is right" in call(edge, "inspect", workshop / "bundle")
    state = tmp_path / "state"
    source = f"npz:{frames}:test?n=96&labels=0.3"
    call(edge, "run", workshop / "bundle", "--source", source, "--state", state)
    call(
        edge, "run", workshop / "bundle", "--source", source, "--state", state, "--profile", "pi-4b"
    )
    page = call(edge, "report", state)
    assert "report.html" in page
    assert "<style" in (state / "report.html").read_text()
