"""Graphs in onnxruntime, set up for small boards. The one place that imports onnxruntime."""

from __future__ import annotations

import ctypes
from collections.abc import Container, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from sel_edge.core.errors import BundleError

Array = NDArray[Any]

_ONLY_ERRORS = 3
_MMAP_THRESHOLD = -3
"""The name that glibc's malloc.h gives to the size from which blocks are mapped one by one."""
_LARGE_BLOCK_BYTES = 2**20
_TYPES = ("tensor(float)", "tensor(int64)")


class Session:
    """One graph.

    Args:
        path: an ONNX file; external data lie beside it.
        threads: threads of onnxruntime, at least 1; None lets it use every core.
        parameters: float32 arrays to copy in place of the external data of the same names.
        keep_memory: whether memory that one run needed stays for the next, which saves time where
            a graph runs again and again. Otherwise it is free in between.

    Attributes:
        inputs, outputs: name -> shape; a dimension known only when the graph runs is a text.

    Raises:
        BundleError: onnxruntime cannot load the graph.
    """

    def __init__(
        self,
        path: Path,
        threads: int | None,
        parameters: Mapping[str, Array] | None = None,
        keep_memory: bool = True,
    ) -> None:
        options = _options(threads)
        options.enable_cpu_mem_arena = keep_memory
        values = {
            name: onnxruntime.OrtValue.ortvalue_from_numpy(np.ascontiguousarray(value))
            for name, value in (parameters or {}).items()
        }
        try:
            if values:
                options.add_external_initializers(list(values), list(values.values()))
            self._session = onnxruntime.InferenceSession(
                str(path), options, ["CPUExecutionProvider"]
            )
        except Exception as error:  # onnxruntime has no common error type
            raise unusable(path, str(error)) from error
        inputs, outputs = self._session.get_inputs(), self._session.get_outputs()
        strange = {t.name: t.type for t in (*inputs, *outputs) if t.type not in _TYPES}
        if strange:
            raise unusable(path, f"it has tensors of other types than float and int64: {strange}")
        self.inputs = {tensor.name: tuple(tensor.shape) for tensor in inputs}
        self.outputs = {tensor.name: tuple(tensor.shape) for tensor in outputs}

    def run(self, feeds: Mapping[str, Array], wanted: list[str] | None = None) -> dict[str, Array]:
        """Run once, with new arrays for the outputs.

        The whole graph runs, whatever is wanted of it: `only_execute_path_to_fetches` of the run
        options does nothing in onnxruntime's released packages, which are built without training.

        Args:
            feeds: what the graph takes; other names are ignored.
            wanted: names of outputs; None for all.
        """
        names = list(self.outputs) if wanted is None else wanted
        found = self._session.run(names, {name: feeds[name] for name in self.inputs})
        return dict(zip(names, found, strict=True))

    def bind(self, inputs: Mapping[str, Buffer], outputs: Mapping[str, Buffer]) -> Binding:
        """Tie the graph to buffers; inputs that are still missing are set later."""
        return Binding(self._session, self.inputs, inputs, {n: outputs[n] for n in self.outputs})


class Binding:
    """A graph that runs from buffers into buffers and copies nothing.

    Args:
        session: onnxruntime's session.
        names: inputs of the graph.
        inputs, outputs: buffers by name; others than the graph's inputs are ignored.
    """

    def __init__(
        self,
        session: onnxruntime.InferenceSession,
        names: Container[str],
        inputs: Mapping[str, Buffer],
        outputs: Mapping[str, Buffer],
    ) -> None:
        self._session, self._names = session, names
        self._binding = session.io_binding()
        self._bound: dict[str, Buffer] = {}  # the binding alone keeps no array alive
        self.set(inputs)
        self._outputs = dict(outputs)
        for name, buffer in outputs.items():
            self._binding.bind_ortvalue_output(name, buffer.value)

    def set(self, inputs: Mapping[str, Buffer]) -> None:
        """Bind these inputs, in place of earlier ones of the same names."""
        for name, buffer in inputs.items():
            if name in self._names and self._bound.get(name) is not buffer:
                self._binding.bind_ortvalue_input(name, buffer.value)
                self._bound[name] = buffer

    def run(self) -> None:
        """Run once."""
        self._session.run_with_iobinding(self._binding)


class Buffer:
    """An array that sessions read and write in place.

    Args:
        array: float32 or int64; used as it is, unless it is not contiguous.
    """

    def __init__(self, array: Array) -> None:
        self.array = np.ascontiguousarray(array).reshape(array.shape)
        self.value = onnxruntime.OrtValue.ortvalue_from_numpy(self.array)


def give_back() -> None:
    """Return free memory to the system, where the C library (glibc) would keep it.

    To lay constant weights out for its kernels, onnxruntime holds them up to three times.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def spare_memory() -> None:
    """Let this process give every large block back when it is freed, where glibc would keep some.

    By itself glibc raises the size from which it does so with every such block that is freed. The
    copies of weights that onnxruntime makes while it opens a graph then stay beside the next ones.

    For a process that runs this runtime and little else: whatever allocates and frees large blocks
    again and again, as torch does, becomes much slower.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_MMAP_THRESHOLD, _LARGE_BLOCK_BYTES)


def unusable(path: Path, detail: str) -> BundleError:
    """The error for a graph that cannot be used."""
    return BundleError(
        f"onnxruntime cannot use the graph {path}: {detail.strip()}.",
        "A graph as `sel-edge export` writes it is expected.",
        "Run `sel-edge doctor`, then export the bundle again.",
    )


def _options(threads: int | None) -> onnxruntime.SessionOptions:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = _ONLY_ERRORS
    options.intra_op_num_threads = threads or 0
    options.inter_op_num_threads = 1
    # A pattern is planned after the first run and allocated beside what that run took: twice the
    # memory, for no time that could be measured.
    options.enable_mem_pattern = False
    # A thread that spins while it waits costs energy and gains nothing between two frames.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.add_session_config_entry("session.inter_op.allow_spinning", "0")
    return options
