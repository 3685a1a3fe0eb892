"""Deployments that are cut off: at which step, in which way, and what is left on the Pi."""

from __future__ import annotations

import json
import random
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Literal, get_args

from sel_edge.core.errors import SelEdgeError
from sel_edge.deploy.deployment import Order, Outcome
from sel_edge.deploy.release import Health
from tests.deploy.pi import Pi
from tests.deploy.workstation import Workstation

Way = Literal["line", "cable", "agent", "power"]
"""What is cut: line closes the connection; cable lets it fall silent; agent kills all agents with
SIGKILL; power ends every process of the Pi, which then boots."""

Step = Literal["talk", "send", "install", "activate", "watch", "after"]
"""What a deployment was doing, as the Pi's files show it."""

WAYS: tuple[Way, ...] = get_args(Way)
STEPS: tuple[Step, ...] = get_args(Step)
ROOT = ".local/share/sel-edge"
PATIENT = Health(ready_s=90, watch_s=2)
SETTLED_S = 150.0
LOOK_S = 0.01
AGENTS = ("agent.pyz", "runpy.run_path")


@dataclass(frozen=True)
class Cut:
    """One to be made.

    Attributes:
        number: which of all.
        way: how.
        step: while this is done.
        share: how far into the step, 0 to 1 of the time that it took without a cut.
        is_first: whether no release was there before.
    """

    number: int
    way: Way
    step: Step
    share: float
    is_first: bool


@dataclass(frozen=True)
class Found:
    """What a cut came to.

    Attributes:
        cut: which.
        hit: the step that the Pi was found in when it was made.
        ran: release that worked afterwards: `old`, `new` or `none`.
        broken: what was wrong; "" for nothing.
    """

    cut: Cut
    hit: Step
    ran: str
    broken: str


def plan_cuts(n_cuts: int, seed: int) -> list[Cut]:
    """All ways at all steps alike, in rounds that go ever deeper into the steps; in each round one
    step is cut on Pis without a release."""
    rng = random.Random(seed)  # noqa: S311 - no secret
    cut_steps = STEPS[:-1]
    n_rounds = max(1, n_cuts // (len(WAYS) * len(cut_steps)))
    cuts = []
    for number in range(n_cuts):
        turn, way = divmod(number, len(WAYS))
        done, step = divmod(turn, len(cut_steps))
        share = min(1.0, (done + rng.random()) / n_rounds)
        is_first = (step + done) % len(cut_steps) == 0
        cuts.append(Cut(number, WAYS[way], cut_steps[step], share, is_first))
    return cuts


class Stage:
    """Pis with and without a release, and what a deployment takes when nothing cuts it.

    Args:
        place: an empty folder. SEL_EDGE_SSH has to be `ssh_for(place)`.
    """

    def __init__(self, place: Path) -> None:
        self._place = place
        (place / "desk").mkdir()
        self._desk = Workstation(place / "desk")
        self._old = self._order("good", "bundle-v1")
        self._new = self._order("other", "bundle-v2")
        self._empty, self._full = Pi(place / "empty", "empty"), Pi(place / "full", "full")
        with self._full:
            self._deploy(self._full, self._old)
        self._durations_s = {is_first: self._measure(is_first) for is_first in (True, False)}

    def make(self, cut: Cut) -> Found:
        """Deploy the new release, cut it off, look, and deploy again."""
        name = f"pi-{cut.number}"
        with Pi(self._place / name, name, self._empty if cut.is_first else self._full) as pi:
            if not cut.is_first:
                _wait(lambda: works(pi), SETTLED_S)
            delay_s = cut.share * self._durations_s[cut.is_first][cut.step]
            hit, ran, broken = self._cut_off(pi, cut, delay_s)
            broken = broken or self._again(pi)
        # Its logs are worth keeping only if something went wrong.
        if not broken:
            shutil.rmtree(self._place / name)
        return Found(cut, hit, ran, broken)

    def _cut_off(self, pi: Pi, cut: Cut, delay_s: float) -> tuple[Step, str, str]:
        """The step that was hit, which release works then, and what is wrong with that.

        The Pi is judged before any workstation can reach it again: it has to heal by itself.
        """
        with ThreadPoolExecutor(1) as pool:
            deployment = pool.submit(self._deploy, pi, self._new)
            while STEPS.index(step_of(pi, self._old)) < STEPS.index(cut.step):
                if deployment.done():
                    break
                time.sleep(LOOK_S)
            time.sleep(delay_s)
            hit = step_of(pi, self._old)
            cut_off(pi, cut.way)
            ran, broken = self._judge(pi, cut)
            pi.air.cut_after(None)
            with suppress(SelEdgeError):
                deployment.result()
        return hit, ran, broken

    def _judge(self, pi: Pi, cut: Cut) -> tuple[str, str]:
        if not _wait(lambda: is_settled(pi), SETTLED_S):
            return "none", "a trial does not end"
        current = current_bundle(pi)
        is_allowed_none = cut.is_first and current is None
        if not is_allowed_none and not _wait(lambda: works(pi), SETTLED_S):
            return "none", "the release does not work"
        if current is None:
            return "none", ""
        return ("old" if current == self._hash(self._old) else "new"), ""

    def _again(self, pi: Pi) -> str:
        """What is wrong with deploying again."""
        try:
            outcome = self._deploy(pi, self._new)
        except SelEdgeError as error:
            return f"deploying again: {error}"
        if outcome.result not in ("good", "unchanged") or not works(pi):
            return f"deploying again: {outcome.result} {outcome.reason}"
        is_new = current_bundle(pi) == self._hash(self._new)
        return "" if is_new else "deploying again brought another release"

    def _measure(self, is_first: bool) -> dict[Step, float]:
        name = f"measured-{is_first}"
        entered_s: dict[Step, float] = {}
        with Pi(self._place / name, name, self._empty if is_first else self._full) as pi:
            if not is_first:
                _wait(lambda: works(pi), SETTLED_S)
            with ThreadPoolExecutor(1) as pool:
                deployment = pool.submit(self._deploy, pi, self._new)
                while not deployment.done():
                    entered_s.setdefault(step_of(pi, self._old), time.monotonic())
                    time.sleep(LOOK_S)
            entered_s.setdefault("after", time.monotonic())
            ends_s = [*list(entered_s.values())[1:], time.monotonic() + 0.5]
        took_s = dict.fromkeys(STEPS, 0.0)
        for (step, begun_s), end_s in zip(entered_s.items(), ends_s, strict=True):
            took_s[step] = end_s - begun_s
        return took_s

    def _order(self, manner: Literal["good", "other"], bundle: str) -> Order:
        return replace(self._desk.order(manner, bundle), health=PATIENT)

    def _deploy(self, pi: Pi, order: Order) -> Outcome:
        return self._desk.deploy(pi, order, lambda line: None)

    @staticmethod
    def _hash(order: Order) -> str:
        return order.bundle.manifest.bundle_hash


def cut_off(pi: Pi, way: Way) -> None:
    """Make a cut now; the Pi cannot be reached until its air carries again."""
    pi.air.cut_after(0, "silence" if way == "cable" else "close")
    if way == "agent":
        pi.kill(AGENTS)
    if way == "power":
        pi.cut_power()
        pi.boot()
    if way != "cable":
        pi.air.cut()


def step_of(pi: Pi, old: Order) -> Step:
    """What a deployment over `old` is doing."""
    root = pi.path(ROOT)
    current = current_bundle(pi)
    if (root / "trial.json").exists():
        is_old = current in (None, old.bundle.manifest.bundle_hash)
        return "activate" if is_old else "watch"
    if current not in (None, old.bundle.manifest.bundle_hash):
        return "after"
    n_before = 0 if current is None else 1
    n_releases = len(list((root / "releases").glob("*")))
    if n_releases > n_before:
        return "install"
    is_receiving = (root / "incoming").is_dir() and any((root / "incoming").iterdir())
    return "send" if is_receiving else "talk"


def current_bundle(pi: Pi) -> str | None:
    """Hash of the bundle that the Pi's current release has; None without one."""
    root = pi.path(ROOT)
    try:
        # The link is relative; resolved here, it stays below the home.
        release = root / (root / "current").readlink()
        return str(json.loads((release / "release.json").read_bytes())["bundle"])
    except FileNotFoundError:
        return None


def is_settled(pi: Pi) -> bool:
    """Whether no trial is open any more."""
    return not pi.path(f"{ROOT}/trial.json").exists()


def works(pi: Pi) -> bool:
    """Whether the service runs, is ready, and has the bundle of the current release, in which
    every file is as release.json says."""
    done = pi.does("systemctl --user is-active sel-edge.service && curl -sf 127.0.0.1:8765/readyz")
    if done.returncode != 0:
        return False
    told = json.loads(done.out.splitlines()[-1])
    return bool(told["ready"]) and told["bundle"] == current_bundle(pi)


def make_all(cuts: list[Cut], place: Path, jobs: int, told: Callable[[Found], None]) -> list[Found]:
    """Make cuts, some at a time."""
    stage, lock = Stage(place), threading.Lock()

    def make(cut: Cut) -> Found:
        found = stage.make(cut)
        with lock:
            told(found)
        return found

    with ThreadPoolExecutor(jobs) as pool:
        return list(pool.map(make, cuts))


def summary(found: list[Found]) -> dict[str, object]:
    """Numbers for a record."""

    def counted(values: Iterator[str]) -> dict[str, int]:
        counts: dict[str, int] = {}
        for value in values:
            counts[value] = counts.get(value, 0) + 1
        return counts

    return {
        "deploy_cuts": len(found),
        "left_broken": sum(bool(one.broken) for one in found),
        "ways": counted(one.cut.way for one in found),
        "steps": counted(one.hit for one in found),
        "ran_afterwards": counted(one.ran for one in found),
        "broken": [asdict(one) for one in found if one.broken],
    }


def _wait(holds: Callable[[], bool], limit_s: float) -> bool:
    until_s = time.monotonic() + limit_s
    while not holds():
        if time.monotonic() > until_s:
            return False
        time.sleep(0.1)
    return True
