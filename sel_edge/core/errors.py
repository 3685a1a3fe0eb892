"""Every error a user can cause, and the exit code it ends in."""

from __future__ import annotations

from collections.abc import Mapping
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


class LinkError(SelEdgeError):
    """A board does not answer, refuses, or answers what cannot be right."""

    exit_code = 11
    kind = "link"


class NoAnswerError(LinkError):
    """Nothing came back in time, however often it was asked."""


class OtherVersionError(LinkError):
    """A board and this program have no version of the messages in common."""


class WrongDeviceError(LinkError):
    """Another board is on the line than the one that was asked for."""


class RefusedError(LinkError):
    """A board's answer was no.

    Attributes:
        status: the number of the answer, as docs/SPEC.md lists them.
        name: its name there.
        fields: what the board told with it; hashes and nonces as hex digits.
    """

    def __init__(
        self,
        status: int,
        name: str,
        fields: Mapping[str, int | str],
        expected: str,
        action: str,
    ) -> None:
        self.status, self.name, self.fields = status, name, dict(fields)
        told = ", ".join(f"{field} {value}" for field, value in fields.items())
        super().__init__(f"The board refused: {name}{told and f' ({told})'}.", expected, action)


class DeployError(SelEdgeError):
    """A machine cannot be reached over SSH, cannot run a release, or did not become healthy."""

    exit_code = 12
    kind = "deployment"


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
    LinkError,
    DeployError,
)
