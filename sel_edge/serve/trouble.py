"""Ticks that end in an error, one after the other, and when it is worth trying again."""

from __future__ import annotations

import time

FIRST_PAUSE_S, LONGEST_PAUSE_S = 1.0, 30.0


class Trouble:
    """Counts errors.

    Attributes:
        errors: so far.
        text: the newest, in words; "" once a try was good.
    """

    def __init__(self) -> None:
        self.errors, self.text = 0, ""
        self._pause_s, self._not_before_s = FIRST_PAUSE_S, 0.0

    @property
    def is_resting(self) -> bool:
        """Whether it is too early to try again."""
        return time.monotonic() < self._not_before_s

    def failed(self, error: Exception) -> bool:
        """Take in an error; whether it is news, and not the one before once more."""
        is_news, self.text = str(error) != self.text, str(error)
        self.errors += 1
        self._not_before_s = time.monotonic() + self._pause_s
        self._pause_s = min(2 * self._pause_s, LONGEST_PAUSE_S)
        return is_news

    def recovered(self) -> None:
        """A try was good."""
        self.text = ""
        self._pause_s, self._not_before_s = FIRST_PAUSE_S, 0.0
