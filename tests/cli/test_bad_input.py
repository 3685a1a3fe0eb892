"""Whatever a user gets wrong ends in one clear paragraph, a documented code, and nothing lost."""

import io
import json
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sel_edge.cli.main import exit_codes
from tests.conftest import DATA, QUICK


def encoded(mode: str = "RGB", file_format: str = "PNG") -> bytes:
    """One 8x8 image."""
    size = (8, 8)
    image = Image.new("I;16", size, 40_000) if mode == "I;16" else Image.new(mode, size)
    buffer = io.BytesIO()
    image.save(buffer, file_format)
    return buffer.getvalue()


def image_folder(root: Path) -> Path:
    """Two classes, four images each, in both splits."""
    for split in ("train", "test"):
        for name in ("cat", "dog"):
            folder = root / split / name
            folder.mkdir(parents=True)
            for index in range(4):
                (folder / f"{index}.png").write_bytes(encoded())
    return root


def truncated_archive(tmp: Path) -> Path:
    with tarfile.open(tmp / "set.tar.gz", "w:gz") as archive:
        archive.add(image_folder(tmp / "set"), "set")
    path = tmp / "set.tar.gz"
    path.write_bytes(path.read_bytes()[:-200])
    return path


def foreign_archive(tmp: Path) -> Path:
    with zipfile.ZipFile(tmp / "letters.zip", "w") as archive:
        archive.writestr("letters/a.txt", "dear")
    return tmp / "letters.zip"


def missing_class(tmp: Path) -> Path:
    shutil.rmtree(image_folder(tmp / "set") / "test" / "dog")
    return tmp / "set"


def text_as_jpeg(tmp: Path) -> Path:
    (image_folder(tmp / "set") / "train" / "cat" / "note.jpg").write_text("not an image")
    return tmp / "set"


def among_others(mode: str) -> Callable[[Path], Path]:
    def make(tmp: Path) -> Path:
        (image_folder(tmp / "set") / "train" / "dog" / "odd.png").write_bytes(encoded(mode))
        return tmp / "set"

    return make


def one_class(tmp: Path) -> Path:
    root = image_folder(tmp / "set")
    for split in ("train", "test"):
        shutil.rmtree(root / split / "dog")
    return root


def nan_in_npz(tmp: Path) -> Path:
    x = np.zeros((20, 8, 8, 1), dtype=np.float32)
    x[3, 2, 1, 0] = np.nan
    np.savez(tmp / "set.npz", x=x, y=np.arange(20) % 2)
    return tmp / "set.npz"


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (truncated_archive, ["set.tar.gz"]),
        (foreign_archive, ["letters.zip"]),
        (missing_class, ["dog", "test"]),
        (text_as_jpeg, ["note.jpg"]),
        (among_others("L"), ["odd.png", "mode=rgb"]),
        (among_others("RGBA"), ["odd.png", "mode=rgb"]),
        (among_others("I;16"), ["odd.png", "mode="]),
        (one_class, ["two classes"]),
        (nan_in_npz, ["NaN"]),
        (lambda tmp: tmp / "nowhere", ["nowhere"]),
    ],
)
def test_data_that_cannot_be_used(call, tmp_path, make, words):
    out = tmp_path / "run"
    result = call("pretrain", "--data", make(tmp_path), "--out", out, *QUICK)
    assert result.code == 3
    result.says(*words)
    assert not out.exists()


def test_an_unknown_recipe_key(call, tmp_path):
    result = call(
        "pretrain", "--data", DATA, "--out", tmp_path / "run", "--set", "sparsity = 0.9", *QUICK
    )
    assert result.code == 6
    result.says("sparsity", "learning_rate")
    assert not (tmp_path / "run").exists()


def test_a_run_directory_that_already_holds_a_run(call, workshop):
    before = {p: p.read_bytes() for p in (workshop / "dense").iterdir() if p.is_file()}
    result = call("pretrain", "--data", DATA, "--out", workshop / "dense", *QUICK)
    assert result.code == 5
    result.says("already holds a run", "--resume")
    assert all(path.read_bytes() == content for path, content in before.items())


@pytest.mark.parametrize("member", ["manifest.json", "infer.onnx", "weights.safetensors"])
@pytest.mark.parametrize("command", ["inspect", "run"])
def test_a_bundle_with_a_flipped_byte(call, workshop, tmp_path, member, command):
    bundle = tmp_path / "bundle"
    shutil.copytree(workshop / "bundle", bundle)
    content = bytearray((bundle / member).read_bytes())
    content[len(content) // 2] ^= 0x10
    (bundle / member).write_bytes(content)
    more = ["--source", DATA, "--state", tmp_path / "state"] if command == "run" else []
    result = call(command, bundle, *more)
    assert result.code == 4
    result.says("bundle")


def test_a_bundle_that_exists_is_not_overwritten(call, workshop):
    before = (workshop / "bundle" / "manifest.json").read_bytes()
    result = call("export", workshop / "dense", "--out", workshop / "bundle")
    assert result.code == 5
    result.says("already exists")
    assert (workshop / "bundle" / "manifest.json").read_bytes() == before


def test_a_stream_of_another_shape(call, workshop, tmp_path):
    result = call(
        "run", workshop / "bundle", "--source", "digits?size=16", "--state", tmp_path / "state"
    )
    assert result.code == 3
    result.says("[16, 16, 1]", "[8, 8, 1]")


def test_a_state_of_another_bundle(call, workshop, tmp_path):
    other = tmp_path / "other"
    assert call("export", workshop / "sel-paper", "--out", other).code == 0
    source = ["--source", f"{DATA}&n=32", "--state", tmp_path / "state"]
    assert call("run", workshop / "bundle", *source).code == 0
    result = call("run", other, *source)
    assert result.code == 5
    result.says("bundle_hash")


def test_a_directory_with_nothing_to_report(call, tmp_path):
    result = call("report", tmp_path)
    assert result.code == 5
    result.says("nothing to report")


def test_the_demo_replaces_nothing_but_a_demo(call, tmp_path):
    (tmp_path / "letter.txt").write_text("dear")
    result = call("demo", "--out", tmp_path, "--replace")
    assert result.code == 5
    result.says("not an empty directory")
    assert (tmp_path / "letter.txt").read_text() == "dear"


def test_exit_codes_are_distinct():
    codes = [code for code, _ in exit_codes()]
    assert len(set(codes)) == len(codes)


def test_an_earlier_demo_survives_a_demo_that_cannot_begin(call, tmp_path):
    (tmp_path / ".sel-edge-demo").touch()
    (tmp_path / "summary.json").write_text("{}")
    result = call("demo", "--data", tmp_path / "typo", "--out", tmp_path, "--replace")
    assert result.code == 3
    assert (tmp_path / "summary.json").read_text() == "{}"


@pytest.mark.parametrize("place", ["file/run", "file", "x" * 300])
def test_a_place_that_cannot_be_written(call, tmp_path, place):
    (tmp_path / "file").write_text("dear")
    result = call("pretrain", "--data", DATA, "--out", tmp_path / place, *QUICK)
    assert result.code in (5, 8)
    result.says("another")
    assert (tmp_path / "file").read_text() == "dear"


@pytest.mark.parametrize("place", ["file/run", "none", "x" * 300])
def test_a_place_that_holds_no_run_to_go_on_with(call, tmp_path, place):
    (tmp_path / "file").write_text("dear")
    result = call("pretrain", "--resume", "--out", tmp_path / place)
    assert result.code == 5
    result.says("run.json")


@pytest.mark.parametrize("key", ["threads", "data.sha256", "energy.meter", "model.width"])
def test_a_run_log_that_lacks_something(call, workshop, tmp_path, key):
    shutil.copytree(workshop / "dense", tmp_path / "run")
    info = json.loads((tmp_path / "run" / "run.json").read_text()) | {"finished": False}
    *outer, last = key.split(".")
    del (info[outer[0]] if outer else info)[last]
    (tmp_path / "run" / "run.json").write_text(json.dumps(info))
    result = call("pretrain", "--resume", "--out", tmp_path / "run")
    assert result.code == 5
    result.says(f"run.json has no {key}")


@pytest.mark.parametrize("number", ["nan", "inf", "-inf"])
@pytest.mark.parametrize(
    "command",
    [
        ["pretrain", "--out", "none", "--epochs-scale"],
        ["simulate", "none", "--days"],
        ["export", "none", "--share"],
    ],
)
def test_numbers_are_finite(call, command, number):
    result = call(*command, number)
    assert result.code == 2 and f"Invalid value for '{command[-1]}'" in result.err


def test_more_steps_than_a_recipe_may_have(call, tmp_path):
    longer = ["--set", "steps_min = 1000000", "--epochs-scale", "2"]
    result = call("pretrain", "--data", DATA, "--out", tmp_path / "run", *QUICK, *longer)
    assert result.code == 6
    result.says("steps_min")
    assert not (tmp_path / "run").exists()


def test_a_bundle_that_is_not_there_leaves_no_state_behind(call, tmp_path):
    result = call("run", tmp_path / "typo", "--source", DATA)
    assert result.code == 4
    result.says("typo")
    assert list(tmp_path.iterdir()) == []


def test_a_bundle_may_be_the_working_directory(call, workshop, tmp_path, monkeypatch):
    bundle = tmp_path / "bundle"
    shutil.copytree(workshop / "bundle", bundle)
    monkeypatch.chdir(bundle)
    assert call("run", ".", "--source", f"{DATA}&n=16").code == 0
    assert (tmp_path / "bundle.state" / "ledger.sqlite").exists()


@pytest.mark.parametrize(
    "options",
    [
        ["--device", "meta"],
        ["--device", "toaster"],
        ["--holdout", "1"],
        ["--init", "imagenet"],
        ["--set", "batch_size = 1e400"],
    ],
)
def test_options_that_cannot_be_met(call, tmp_path, options):
    arguments = ["--data", DATA, "--out", tmp_path / "run", *QUICK, *options]
    result = call("pretrain", *arguments)
    assert result.code == 6
    result.says("Error (configuration)")
    assert not (tmp_path / "run").exists()


def test_a_reader_that_has_gone_is_no_defect():
    program = f"{sys.executable} -c 'from sel_edge.cli.main import main; main()' doctor"
    script = f"set -o pipefail; {program} | true; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == "0" and done.stderr == ""
