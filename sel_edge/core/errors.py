"""Every error a user can cause, and the exit code it ends in."""

from __future__ import annotations

from typing import ClassVar


class SelEdgeError(Exception):
    """An error with three parts: what was found, what was expected, what to do next.

    Args:
        found: what is wrong and where, as a full sentence.
        expected: the rule it broke, as a full sentence ("" when `found` already says it).
        action: what the user can do now, as a full sentence.
    """

    exit_code: ClassVar[int] = 1
    kind: ClassVar[str] = "error"

    def __init__(self, found: str, expected: str, action: str) -> None:
        self.found, self.expected, self.action = found, expected, action
        super().__init__(" ".join(part for part in (found, expected, action) if part))


class DataError(SelEdgeError):
    """A data set, archive, image or stream specification that cannot be used."""

    exit_code = 3
    kind = "data"


class BundleError(SelEdgeError):
    """A bundle or network that is damaged, incomplete, foreign or of an unknown version."""

    exit_code = 4
    kind = "bundle"


class RunDirectoryError(SelEdgeError):
    """A run directory that is in use, missing, or holds something else than was asked for."""

    exit_code = 5
    kind = "run directory"


class ConfigError(SelEdgeError):
    """A recipe, device profile or option with unknown keys or impossible values."""

    exit_code = 6
    kind = "configuration"


class MissingDependencyError(SelEdgeError):
    """A package, tool or download that this command needs and this machine lacks."""

    exit_code = 7
    kind = "missing dependency"


class StorageError(SelEdgeError):
    """The disk is full, read-only or failing; what existed before is untouched."""

    exit_code = 8
    kind = "storage"


class GateError(SelEdgeError):
    """A curriculum stage did not reach its threshold within its extra epochs."""

    exit_code = 9
    kind = "stage gate"


class DivergenceError(SelEdgeError):
    """Training ran away: the loss is no longer a finite number."""

    exit_code = 10
    kind = "divergence"


INTERRUPTED_EXIT_CODE = 130

ERROR_KINDS: tuple[type[SelEdgeError], ...] = (
    DataError,
    BundleError,
    RunDirectoryError,
    ConfigError,
    MissingDependencyError,
    StorageError,
    GateError,
    DivergenceError,
)
