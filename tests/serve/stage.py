"""A scripted device: what the page, the metrics and MQTT see of one that lives, without a network.

Its samples.sqlite and its slots are real ones.

    python -m tests.serve.stage --port 8765 [--token T] [--classes N] [--signals] [--bare]
"""

from __future__ import annotations

import argparse
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sel_edge.bundle.bundle import open_bundle
from sel_edge.core.errors import DataError, SelEdgeError
from sel_edge.runtime.head import Head
from sel_edge.runtime.samples import LabelDesk, SampleStore, teaching_value
from sel_edge.runtime.samples.desk import SAMPLES_FILE
from sel_edge.runtime.slots import open_slots
from sel_edge.serve.device import BusyError, Picture
from sel_edge.serve.snapshot import Answer, Flow, Phase, Snapshot, Waiting
from tests.serve.scenery import CHANNELS, CIFAR_CLASSES, LENGTH, SIDE, picture, signal
from tests.serve.script import FRAME_S, Life, Script

__all__ = ["Script", "Stage", "staged"]

BUNDLE = Path(__file__).parents[1] / "frozen" / "bundle-v2-trainable"
START_UTC_S = 1_750_000_000.0
QUEUED = 24
SEEN_BEFORE = 700
"""Frames that were seen before the first snapshot."""


class Stage:
    """A `Device`. Nothing moves by itself: call `step`, or let it live in `running`.

    Args:
        state: an empty directory.
        script: what it is like.
        now: of its clock at the first snapshot, seconds since 1970.
    """

    def __init__(self, state: Path, script: Script | None = None, now: float = START_UTC_S) -> None:
        self.script = script = script or Script()
        self._state = state
        self._changed = threading.Condition(threading.RLock())
        self._rng = np.random.default_rng(1)
        self._version, self._error, self._errors = 0, "", 0
        self._slots = open_slots(state, open_bundle(BUNDLE))
        past = 0 if script.bare else SEEN_BEFORE
        self._life = Life(script, now - past * FRAME_S, self._commit)
        self._fill_queue()
        self._snapshot = self._made()
        self.step(past)

    @property
    def state(self) -> Path:
        """The directory with samples and slots."""
        return self._state

    @property
    def is_alive(self) -> bool:
        """Whether the script says so."""
        return not self.script.dead

    def snapshot(self) -> Snapshot:
        """The newest."""
        return self._snapshot

    def newer(self, version: int, timeout_s: float) -> Snapshot:
        """The newest, once it is newer than `version` or the time is over."""
        with self._changed:
            self._changed.wait_for(lambda: self._version > version, timeout_s)
            return self._snapshot

    def view(self) -> tuple[Answer, NDArray[np.uint8 | np.float32]] | None:
        """The newest answered frame."""
        with self._changed:
            return self._life.newest

    def submit(self, picture: Picture) -> Future[Answer]:
        """Answer one frame at once."""
        if self.script.source != "http" or self.script.signals:
            raise DataError(
                f"The frames of this device come from {self.script.source}.",
                "Frames by HTTP are taken where the source is `http`, and only pictures.",
                "Start `sel-edge serve` with --source http.",
            )
        if self.script.busy:
            with self._changed:
                self._life.dropped += 1
                self._publish()
            raise BusyError(
                "8 frames wait for their answers.",
                "No more than that may wait.",
                "Send frames more slowly.",
            )
        kind = int(picture.sum(dtype=np.int64)) % len(self.script.classes)
        return self._done(lambda: self._life.see(picture, kind))

    def refused(self) -> None:
        """Count it."""
        with self._changed:
            self._life.refused += 1
            self._publish()

    def answered(self) -> None:
        """Count again what waits."""
        with self._changed:
            self._publish()

    def adapt(self) -> Future[tuple[str, ...]]:
        """Learn at once; what embarrasses is learned, and so are classes that people named."""
        return self._done(self._adapted)

    def rollback(self, to: str | None) -> Future[str]:
        """Go back in the slots."""
        return self._done(lambda: self._rolled_back(to))

    def reload(self) -> Future[str]:
        """The same bundle again."""
        return self._done(self._reloaded)

    def step(self, frames: int = 1) -> None:
        """See some frames."""
        draw = signal if self.script.signals else picture
        with self._changed:
            for _ in range(frames):
                kind = self._life.draw_kind()
                self._life.see(draw(self._life.frame, kind), kind)
            self._publish()

    def fail(self, error: str) -> None:
        """Let ticks end in an error from now on; "" ends that."""
        with self._changed:
            self._error, self._errors = error, self._errors + bool(error)
            self._publish()

    def turn(self, phase: Phase) -> None:
        """Be in another phase."""
        with self._changed:
            self._life.phase = phase
            self._publish()

    @contextmanager
    def running(self, frames_per_s: float = 1 / FRAME_S) -> Iterator[None]:
        """Frames come by themselves."""
        over = threading.Event()

        def live() -> None:
            while not over.wait(1 / frames_per_s):
                self.step()

        thread = threading.Thread(target=live)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()

    def close(self) -> None:
        """Let go of the slots."""
        self._slots.close()

    def _done(self, work: Callable[[], Any]) -> Future[Any]:
        future: Future[Any] = Future()
        try:
            if self.script.failure is not None:
                raise self.script.failure
            with self._changed:
                result = work()
                self._publish()
            future.set_result(result)
        except SelEdgeError as error:
            future.set_exception(error)
        return future

    def _adapted(self) -> tuple[str, ...]:
        new = sorted(self._labelled().keys() - set(self._life.classes))
        self._life.classes += new
        classes = new or self._life.fogged
        self._life.tell("fire", "asked for by a person", classes)
        return (f"keep: {self._life.conclude(classes, kept=True)}",)

    def _rolled_back(self, to: str | None) -> str:
        network = self._slots.rollback(to).hash
        self._life.tell("rollback", f"asked for by a person: {network[:12]} is in use again")
        return network

    def _reloaded(self) -> str:
        self._life.tell("reload", "asked for by a person: the bundle is the same")
        return self._snapshot.bundle

    def _commit(self) -> None:
        """A real update: a row of the classifier, and rows of what was learned."""
        network = self._slots.current()
        head = network.head
        names = (*network.base.classes, *self._life.classes[len(self.script.classes) :])
        weight = np.resize(head.weight, (len(names), head.weight.shape[1]))
        weight[self._rng.integers(len(names))] += 0.1
        bias = np.resize(head.bias, len(names))
        self._slots.commit(network.with_head(Head(weight, bias, names)), self._life.frame)
        self._slots.confirm()

    def _fill_queue(self) -> None:
        """A real sample store, of frames that the network was torn about."""
        draw = signal if self.script.signals else picture
        kinds = [number % len(self.script.classes) for number in range(2 * QUEUED)]
        content = np.stack([draw(number, kind) for number, kind in enumerate(kinds)])
        logits = self._rng.normal(size=(len(kinds), len(self.script.classes))).astype(np.float32)
        logits[range(len(kinds)), kinds] += 1.5
        values = teaching_value(logits, self.script.classes, {}, self._rng.random(len(kinds)))
        predicted = [self.script.classes[number] for number in logits.argmax(axis=1)]
        features = self._rng.normal(size=(len(kinds), 32)).astype(np.float32)
        with SampleStore(self._state / SAMPLES_FILE, clock=lambda: self._life.utc_s) as store:
            store.name_classes(self.script.classes)
            if not self.script.bare:
                store.observe(0, content, predicted, values, features)
                for number in range(QUEUED):
                    store.label(number, self.script.classes[kinds[number]])

    def _labelled(self) -> dict[str, int]:
        with LabelDesk(self._state / SAMPLES_FILE) as desk:
            return dict(desk.counts().labels)

    def _publish(self) -> None:
        self._snapshot = self._made()
        self._changed.notify_all()

    def _made(self) -> Snapshot:
        self._version += 1
        life = self._life
        with LabelDesk(self._state / SAMPLES_FILE) as desk:
            counts = desk.counts()
        return Snapshot(
            version=self._version,
            utc_s=life.utc_s,
            started_utc_s=life.started,
            phase=life.phase,
            name="cellar",
            bundle=self._slots.history().base or "0" * 64,
            network=self._slots.current().hash,
            model="blocks of width 8",
            classes=tuple(life.classes),
            bundle_classes=self.script.classes,
            frame_shape=(CHANNELS, LENGTH) if self.script.signals else (SIDE, SIDE, 3),
            flow=Flow(
                seen=life.frame,
                dropped=life.dropped,
                refused=life.refused,
                frames_per_s=1 / FRAME_S if life.frame else 0.0,
                source=self.script.source,
                source_state="running",
            ),
            answer=life.newest[0] if life.newest else None,
            embarrassment=life.embarrassment(),
            normal={name: life.normal(name) for name in self.script.classes},
            points=tuple(life.points),
            events=tuple(life.events),
            balances=life.balances(),
            spent=life.spent(),
            celsius=life.celsius(),
            throttled=False,
            queue=Waiting(counts.waiting, counts.labels, counts.not_useful),
            errors=self._errors,
            error=self._error,
            state=str(self._state),
        )


@contextmanager
def staged(script: Script | None = None, now: float = START_UTC_S) -> Iterator[Stage]:
    """A stage in a directory of its own, which is removed afterwards."""
    with tempfile.TemporaryDirectory() as folder:
        stage = Stage(Path(folder), script, now)
        try:
            yield stage
        finally:
            stage.close()


def main() -> None:
    """Serve it until Ctrl-C."""
    from sel_edge.serve.web.server import Server, WebSettings

    parser = argparse.ArgumentParser()
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8765)
    parser.add_argument("--token")
    parser.add_argument("--classes", type=int, default=0)
    parser.add_argument("--signals", action="store_true")
    parser.add_argument("--bare", action="store_true")
    parser.add_argument("--frames-per-s", type=float, default=1 / FRAME_S)
    given = parser.parse_args()
    names = tuple(f"class {number}" for number in range(given.classes)) or CIFAR_CLASSES
    script = Script(names, given.signals, given.bare)
    with staged(script, time.time()) as stage, stage.running(given.frames_per_s):
        server = Server(stage, WebSettings(given.host, given.port, given.token))
        server.start()
        print(f"http://{given.host}:{server.port}/", flush=True)
        try:
            threading.Event().wait()
        except KeyboardInterrupt:
            server.stop()


if __name__ == "__main__":
    main()
