"""The gratings of the runtime's tests in a bundle for a microcontroller, and boards with it."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sel_edge.bundle.bundle import Bundle, open_bundle
from sel_edge.cli.main import run
from sel_edge.link.client import Client
from sel_edge.mcu.keys import device_key
from sel_edge.mcu.reference import infer
from sel_edge.mcu.running import Running
from tests.link.boards import talking
from tests.runtime.conftest import CLASSES, MEAN, STD, Network, Patterns, build_bundle

HOST_KEY = bytes(range(32))


@cache
def _network() -> Network:
    return Network()


def make_bundle(folder: Path, *options: object) -> Bundle:
    """Export the network, with a model image.

    Args:
        folder: empty; the bundle becomes `bundle` in it.
        options: more of `sel-edge export`.
    """
    graph = build_bundle(folder / "plain", _network()).path / "infer.onnx"
    (folder / "names.txt").write_text("\n".join(CLASSES) + "\n")
    frames, names = Patterns().draw(400, seed=3)
    exam, truths = Patterns().draw(200, seed=4)
    data = folder / "gratings.npz"
    labels, exam_labels = np.array(names), np.array(truths)
    np.savez(data, x_train=frames, y_train=labels, x_test=exam, y_test=exam_labels)
    given = ["export", "--onnx", graph, "--classes", folder / "names.txt", "--data", f"npz:{data}"]
    given += ["--mean", MEAN, "--std", STD, "--held-out", "--rungs", "head", "--out"]
    given += [folder / "bundle", "--target", "mcu", "--profile", "esp32-c3", *options]
    assert run([str(argument) for argument in given]) == 0
    return open_bundle(folder / "bundle")


def set_up(port: str, bundle: Bundle, host_key: bytes = HOST_KEY) -> bytes:
    """Give a board its key and the bundle's image; returns the key."""
    with talking(port) as client:
        key = device_key(host_key, client.hello().device_id)
        client.provision(key)
        client.install(bundle.mcu_image().content, key)
    return key


def tilted(count: int, seed: int) -> tuple[NDArray[np.uint8], list[str]]:
    """Frames of a tilted camera, which the network is bad at, and what they show."""
    return Patterns().draw(count, seed, tilted=True)


def runs(client: Client, network: Running, frames: Sequence[NDArray[np.uint8]]) -> bool:
    """Whether a board computes what this network does."""
    expected = infer(network, np.stack(frames)).logits
    found = [client.infer(frame.tobytes(), logits=True).logits for frame in frames]
    return bool((np.array(found) == expected).all())
