"""What people ask of the worker: carried out by its thread, one after the other."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, TypeVar

from sel_edge.core.errors import SelEdgeError
from sel_edge.serve.device import BusyError

T = TypeVar("T")

MAX_REQUESTS = 8
"""That wait at most."""


class Requests:
    """Requests that wait for the worker."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: deque[tuple[Callable[[], Any], Future[Any]]] = deque()
        self._is_closed = False

    def ask(self, work: Callable[[], T]) -> Future[T]:
        """Have something done soon; its result, or a SelEdgeError."""
        future: Future[T] = Future()
        with self._lock:
            if self._is_closed or len(self._waiting) >= MAX_REQUESTS:
                future.set_exception(
                    ending() if self._is_closed else busy("Other requests are waiting.")
                )
            else:
                self._waiting.append((work, future))
        return future

    def serve(self) -> None:
        """Do everything that waits.

        Raises:
            Exception: a defect; whoever asked is told of it, too.
        """
        while (request := self._next()) is not None:
            work, future = request
            if not future.set_running_or_notify_cancel():
                continue
            try:
                future.set_result(work())
            except SelEdgeError as error:
                future.set_exception(error)
            except Exception as error:
                future.set_exception(error)
                raise

    def close(self) -> None:
        """Take no more, and tell those who wait."""
        with self._lock:
            self._is_closed = True
        while (request := self._next()) is not None:
            refuse(request[1], ending())

    def _next(self) -> tuple[Callable[[], Any], Future[Any]] | None:
        with self._lock:
            return self._waiting.popleft() if self._waiting else None


def resolve(future: Future[T] | None, result: T) -> None:
    """Give whoever waits, if anybody does, what it waits for."""
    if future is not None and future.set_running_or_notify_cancel():
        future.set_result(result)


def refuse(future: Future[T] | None, error: SelEdgeError) -> None:
    """Tell whoever waits, if anybody does, why there is nothing."""
    if future is not None and future.set_running_or_notify_cancel():
        future.set_exception(error)


def busy(found: str) -> BusyError:
    """The error for what cannot be done just now."""
    return BusyError(found, "", "Try again a little later.")


def ending() -> BusyError:
    """The error for whoever waits while the service ends."""
    return BusyError("The service is ending.", "", "Try again once it is back.")
