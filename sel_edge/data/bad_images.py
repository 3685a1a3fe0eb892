"""Images of a source that cannot be used: how many there are, and which."""

from __future__ import annotations

from dataclasses import dataclass, field

NAMED = 1000
"""Bad images that are remembered by name, so that millions of them fill neither memory nor logs."""
SHOWN = 10


@dataclass
class BadImages:
    """Images that cannot be decoded, or not within the limits of an image.

    Attributes:
        count: all of them.
        reasons: name -> what is wrong with it, of the first thousand.
    """

    count: int = 0
    reasons: dict[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        """Their number and the first ten, such as "2 bad images: a.png (why), b.png (why)"."""
        shown = [f"{name} ({why})" for name, why in list(self.reasons.items())[:SHOWN]]
        more = self.count - len(shown)
        listed = ", ".join(shown) + (f" and {more:,} more" if more else "")
        return f"{self.counted()}: {listed}"

    def counted(self) -> str:
        """Such as "1 bad image"."""
        return f"{self.count:,} bad image{'s' * (self.count != 1)}"

    def add(self, name: str, why: str) -> None:
        """Count one more."""
        self.count += 1
        if len(self.reasons) < NAMED:
            self.reasons[name] = why
