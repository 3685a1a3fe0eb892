"""The command line, called in this process, and one small finished job to work on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import settings

from sel_edge.cli.main import run
from sel_edge.data.sources import load_splits

# No timed asserts: machines that run tests are slow and busy.
settings.register_profile("sel-edge", deadline=None)
settings.load_profile("sel-edge")


COLLECTED = pytest.StashKey[list[str]]()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Remember the names of all tests, those that are deselected too."""
    config.stash[COLLECTED] = [item.nodeid for item in items]


DATA = "digits?classes=0,1,2,3"
QUICK = ["--width", "8", "--device", "cpu", "--precision", "fp32", "--epochs-scale", "0.07"]


@dataclass(frozen=True)
class Result:
    """What a command left: its exit code and what it printed."""

    code: int
    out: str
    err: str

    def says(self, *words: str) -> None:
        """Stderr is one paragraph that starts with Error, holds the words, and no traceback."""
        text = " ".join(self.err.split())
        assert text.startswith("Error ("), text
        assert "Traceback" not in text
        assert "\n\n" not in self.err.strip()
        for word in words:
            assert word in text, (word, text)


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str]) -> Callable[..., Result]:
    """Call `sel-edge` with arguments."""

    def call(*arguments: object) -> Result:
        capsys.readouterr()
        code = run([str(argument) for argument in arguments])
        printed = capsys.readouterr()
        return Result(code, printed.out, printed.err)

    return call


@pytest.fixture(scope="session", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory):
    """Tests leave the user's cache alone."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SEL_EDGE_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
def workshop(tmp_path_factory: pytest.TempPathFactory, cache: None) -> Path:
    """A directory with runs `dense` and `sel-paper` and a `bundle`."""
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("workshop")
    for recipe in ("dense", "sel-paper"):
        arguments = ["pretrain", "--data", DATA, "--recipe", recipe, "--out", folder / recipe]
        arguments += ["--holdout", "10", "--set", "flip = false", "--set", "crop_padding = 1"]
        assert run([str(argument) for argument in [*arguments, *QUICK]]) == 0
    assert run(["export", str(folder / "dense"), "--out", str(folder / "bundle")]) == 0
    return folder


@pytest.fixture(scope="session")
def frames(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Digits as an .npz, for environments without scikit-learn."""
    path = tmp_path_factory.mktemp("frames") / "digits.npz"
    splits = load_splits(DATA)
    names = np.array(splits.train.classes)
    np.savez(
        path,
        x_train=splits.train.frames,
        y_train=names[splits.train.labels],
        x_test=splits.test.frames,
        y_test=names[splits.test.labels],
    )
    return path
