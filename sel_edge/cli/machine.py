"""What every command does that lets a bundle live: name the machine, refuse what does not fit."""

from __future__ import annotations

from pathlib import Path

from sel_edge.bundle.bundle import Bundle
from sel_edge.cli.board import open_board
from sel_edge.core.budget import Budget, load_budget
from sel_edge.core.errors import ConfigError, DataError
from sel_edge.core.frames import described
from sel_edge.data.stream import Stream
from sel_edge.energy.profile import load_profile
from sel_edge.runtime.board import Board


def named_board(profile: str | None) -> Board:
    """This machine, with the profile of that name; a detected one without a name."""
    return open_board(load_profile(profile) if profile else None)


def given_budget(path: Path | None) -> Budget:
    """The budget in a file; without a file, one without limits."""
    return load_budget(path) if path else Budget()


def require_fitting(network: Bundle, stream: Stream, state: Path, option: str) -> None:
    """Refuse, before anything is written, what can only fail or do harm.

    Args:
        network: the bundle.
        stream: what it is to see.
        state: where the runtime is to keep what it learns.
        option: that named this place.

    Raises:
        DataError: the stream's frames are not of the bundle's kind and shape.
        ConfigError: the state would lie inside the bundle, which would damage it.
    """
    expected = network.manifest.preprocessing.frame_shape
    if stream.frame_shape != expected:
        raise DataError(
            f"The frames of {stream.spec} are {described(stream.frame_shape)}.",
            f"The bundle was made for {described(expected)}.",
            "Name a source of that kind; ?size= and ?mode= convert images, and ?channels= says how "
            "rows of a text file divide.",
        )
    require_outside(network, state, option)


def require_outside(network: Bundle, state: Path, option: str) -> None:
    """Refuse a place inside the bundle, which would be damaged.

    Args:
        network: the bundle.
        state: where something is to be kept.
        option: that named this place.

    Raises:
        ConfigError: it lies inside.
    """
    inside = state.resolve()
    if network.path.resolve() in (inside, *inside.parents):
        raise ConfigError(
            f"{option} {state} lies inside the bundle.",
            "A bundle holds nothing but its own files.",
            "Choose a directory outside it.",
        )


def boards_folder(network: Bundle, state: Path | None) -> Path:
    """Where the directories of boards are that were given a bundle.

    Raises:
        ConfigError: it lies inside the bundle.
    """
    place = network.path.resolve()
    folder = state or place.with_name(f"{place.name}.boards")
    require_outside(network, folder, "--state")
    return folder
