"""What happens to a staged device: weather that comes and goes, and what it does about it."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sel_edge.core.errors import SelEdgeError
from sel_edge.core.ledger import ClassEmbarrassment
from sel_edge.core.measurement import Energy
from sel_edge.serve.snapshot import Answer, Balance, Event, Phase, Point, Spent
from tests.serve.scenery import CIFAR_CLASSES

FRAME_S = 0.5
CYCLE = 400
"""Frames from one fog to the next."""
FOG = range(120, 260)
"""Frames of a cycle in which there is fog, if nothing was learned against it."""
ASKS, FIRES, ENDS = 150, 210, 222
"""Frames of a cycle at which the device wants labels, begins to learn, and ends that."""
FOGGED_NATS = 1.5
"""By which fog embarrasses its classes."""
INFERENCE_J, FLOPS_PER_J = 0.021, 3e9


@dataclass
class Script:
    """What a device is like.

    Attributes:
        classes: of the bundle.
        signals: whether its frames are signals.
        bare: nothing limits it, nothing was seen, and no thermometer is there.
        source: as the user named it; frames by HTTP are taken if it is "http".
        busy: whether it refuses frames because too many wait.
        dead: whether its worker has ended.
        failure: what requests end in; None if they succeed.
    """

    classes: tuple[str, ...] = CIFAR_CLASSES
    signals: bool = False
    bare: bool = False
    source: str = "http"
    busy: bool = False
    dead: bool = False
    failure: SelEdgeError | None = None


class Life:
    """All that changes from frame to frame, and nothing that is on disk.

    Args:
        script: what the device is like.
        started: when, seconds since 1970.
        commit: keeps an update.

    Attributes:
        classes: that it knows; learned ones come behind the bundle's.
        frame: frames seen.
        dropped: frames let go.
        refused: pictures that could not be used.
        phase: what the worker does.
        points, events: as in a snapshot.
        newest: the newest answer with its frame; None before the first.
    """

    def __init__(self, script: Script, started: float, commit: Callable[[], None]) -> None:
        self._script, self._commit = script, commit
        self.started = started
        self.classes = list(script.classes)
        self.frame = self.dropped = self.refused = 0
        self.phase: Phase = "running"
        self.points: deque[Point] = deque(maxlen=240)
        self.events: deque[Event] = deque(maxlen=200)
        self.newest: tuple[Answer, NDArray[Any]] | None = None
        self._rng = np.random.default_rng(0)
        self._fogged = set(script.classes[2:5] or script.classes[:1])
        self._nats = {name: self.normal(name) for name in script.classes}
        self._joules = {"inference": 0.0}
        self._updates, self._learned_at = 0, -CYCLE

    @property
    def utc_s(self) -> float:
        """Its clock."""
        return self.started + FRAME_S * self.frame

    @property
    def fogged(self) -> tuple[str, ...]:
        """The classes that fog is about."""
        return tuple(sorted(self._fogged))

    def normal(self, name: str) -> float:
        """What is normal for a class, in nats."""
        return 0.15 + 0.04 * (sum(name.encode()) % 7)

    def draw_kind(self) -> int:
        """Number of the class that comes next."""
        return int(self._rng.integers(len(self._script.classes)))

    def see(self, content: NDArray[Any], kind: int) -> Answer:
        """Answer a frame of a class."""
        self.frame += 1
        self._joules["inference"] += INFERENCE_J
        self.dropped += bool(self._rng.random() < 0.01)
        moment = self.frame % CYCLE
        foggy = moment in FOG and self.frame - self._learned_at > CYCLE // 2
        for name in self.classes:
            target = self.normal(name) + FOGGED_NATS * (foggy and name in self._fogged)
            level = self._nats.get(name, target)
            noise = self._rng.normal(0, 0.015)
            self._nats[name] = max(0.0, level + 0.12 * (target - level) + noise)
        self._decide(moment, foggy)
        answer = self._said(kind, foggy)
        self.newest = (answer, content)
        if self.frame % 4 == 0:
            self.points.append(Point(self.utc_s, self.frame, dict(self._nats)))
        return answer

    def conclude(self, classes: Sequence[str], kept: bool) -> str:
        """End an update; the reason."""
        joules = 8.0 + 2.0 * self._rng.random()
        self._joules["head"] = self._joules.get("head", 0.0) + joules
        self._updates += 1
        reason = "held-out embarrassment fell from 1.62 to 1.55 nats only (p = 0.31)"
        if kept:
            reason = "held-out embarrassment fell from 1.62 to 0.41 nats (p = 0.01)"
            self._learned_at = self.frame
            self._commit()
        self.tell("keep" if kept else "reject", reason, classes, joules)
        return reason

    def tell(
        self, kind: str, reason: str, classes: Sequence[str] = (), joules: float | None = None
    ) -> None:
        """One decision more."""
        energy = None if joules is None else Energy(joules, "estimated")
        self.events.append(Event(self.utc_s, self.frame, kind, reason, tuple(classes), energy))

    def embarrassment(self) -> Mapping[str, ClassEmbarrassment]:
        """Every other class has labels, and so have those in the fog."""
        if not self.frame:
            return {}
        exact = {*self.classes[::2], *self._fogged}
        return {
            name: ClassEmbarrassment(
                exact=self._nats[name] if name in exact else None,
                standin=0.9 * self._nats[name] + 0.03,
                labels=12 if name in exact else 0,
            )
            for name in self.classes
            if name in self._nats
        }

    def balances(self) -> tuple[Balance, ...]:
        """The wallet."""
        if self._script.bare:
            return ()
        spent = self._joules.get("head", 0.0)
        return (
            Balance("energy_j_per_day", max(0.0, 200.0 - spent), 200.0),
            Balance("flops_per_day", max(0.0, 1e12 - spent * FLOPS_PER_J), 1e12),
            Balance("flash_writes_per_day", 2000.0 - 6 * self._updates, 2000.0),
        )

    def spent(self) -> tuple[Spent, ...]:
        """Where the joules went."""
        return tuple(
            Spent(purpose, Energy(joules, "estimated"), int(joules * FLOPS_PER_J), joules / 4)
            for purpose, joules in self._joules.items()
        )

    def celsius(self) -> float | None:
        """Of the processor."""
        return None if self._script.bare else 52.5 + 6 * math.sin(self.frame / 90)

    def _decide(self, moment: int, foggy: bool) -> None:
        if moment == ASKS and foggy:
            self.tell("wants_labels", "the stand-in is 4.1 sigma above normal", self.fogged)
        elif moment == FIRES and foggy:
            self.tell("fire", "CUSUM 9.3 above the limit 8 in 3 ticks in a row", self.fogged)
            self.phase = "learning"
        elif moment == ENDS and self.phase == "learning":
            self.phase = "running"
            self.conclude(self.fogged, kept=self._updates % 3 != 1)

    def _said(self, kind: int, foggy: bool) -> Answer:
        share = float(np.clip(self._rng.beta(2, 2) if foggy else self._rng.beta(9, 1.5), 0.1, 1))
        is_novel = bool(self._rng.random() < 0.02)
        prediction = self._script.classes[kind]
        return Answer(self.frame - 1, self.utc_s, prediction, share, int(foggy), is_novel)
