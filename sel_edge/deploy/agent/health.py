"""The health window: whether a release that was just started works."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .release import Release

PAUSE_S = 0.5
MOST_RESTARTS = 3
"""Of a release that has not been ready yet: a port may be free only a moment later."""
LONGEST_UNREADY_S = 5.0
FEW_ERRORS, WORST_ERRORS = 3, 0.05

Show = Callable[[], "dict[str, str]"]
Ask = Callable[[], "dict[str, Any] | None"]


class Window:
    """Watches the service of a release.

    Args:
        release: which one.
        show: how systemd sees the service.
        ask: what /readyz answers.
        clock: seconds that never go back.
        sleep: waits for so many seconds.
    """

    def __init__(
        self,
        release: Release,
        show: Show,
        ask: Ask,
        clock: Callable[[], float],
        sleep: Callable[[float], None],
    ) -> None:
        self._release, self._show, self._ask = release, show, ask
        self._clock, self._sleep = clock, sleep

    def failure(self) -> str:
        """Why the release is no good, as a full sentence; "" if it is good."""
        return self.unready() or self._unsteady()

    def unready(self) -> str:
        """Wait until it is ready; why it is not, or ""."""
        end_s = self._clock() + self._release.ready_s
        while True:
            state, answer = self._show(), self._ask()
            if state.get("ActiveState") == "failed":
                return f"The service failed: {_cause(state)}."
            if _restarts(state) >= MOST_RESTARTS:
                return f"The service was restarted {_restarts(state)} times: {_cause(state)}."
            if self._is_ready(answer):
                return ""
            if self._clock() >= end_s:
                said = "nothing" if answer is None else _said(answer)
                return f"It was not ready within {self._release.ready_s} s; /readyz says {said}."
            self._sleep(PAUSE_S)

    def _unsteady(self) -> str:
        """Watch it work, and be ready in the end; what it does wrong, or ""."""
        restarts, first = _restarts(self._show()), self._ask() or {}
        now_s = ready_s = self._clock()
        end_s = now_s + self._release.watch_s
        while now_s < end_s or ready_s < now_s:
            self._sleep(PAUSE_S)
            state, answer, now_s = self._show(), self._ask(), self._clock()
            if state.get("ActiveState") == "failed" or _restarts(state) > restarts:
                return f"The service ended after it was ready: {_cause(state)}."
            if self._is_ready(answer):
                ready_s = now_s
            elif now_s - ready_s > LONGEST_UNREADY_S:
                return f"It is no longer ready; /readyz says {_said(answer or {})}."
            errors = _count(answer, "errors") - _count(first, "errors")
            frames = _count(answer, "frames") - _count(first, "frames")
            if errors > max(FEW_ERRORS, WORST_ERRORS * (errors + frames)):
                return f"{errors} of {errors + frames} frames ended in an error: {_said(answer)}."
        return ""

    def _is_ready(self, answer: dict[str, Any] | None) -> bool:
        return (
            answer is not None
            and answer.get("status") == 200
            and answer.get("ready") is True
            and answer.get("first_answer") is True
            and answer.get("bundle") == self._release.bundle
        )


def _restarts(state: dict[str, str]) -> int:
    text = state.get("NRestarts", "")
    return int(text) if text.isdecimal() else 0


def _count(answer: dict[str, Any] | None, name: str) -> int:
    value = (answer or {}).get(name)
    return value if isinstance(value, int) else 0


def _cause(state: dict[str, str]) -> str:
    parts = [f"result {state.get('Result') or 'unknown'}"]
    if state.get("ExecMainStatus", "0") != "0":
        parts.append(f"exit status {state['ExecMainStatus']}")
    return ", ".join(parts) + "; `sel-edge logs` shows what it said"


def _said(answer: dict[str, Any] | None) -> str:
    """What /readyz told, short enough for one sentence."""
    told = answer or {}
    if not told:
        return "nothing"
    parts = [f"status {told.get('status')}", f"phase {str(told.get('phase'))[:80]}"]
    if told.get("error"):
        parts.append(f"error {str(told['error'])[:300]}")
    return ", ".join(parts)
