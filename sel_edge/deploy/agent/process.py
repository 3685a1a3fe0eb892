"""Calling the board's own programs."""

from __future__ import annotations

import os
import select
import subprocess
from pathlib import Path
from typing import Any, BinaryIO

MISSING, LATE = 127, 124
"""Exit codes for a program that is not there, and for one that did not end in time."""
_PAUSE_S = 0.2


def user_environment() -> dict[str, str]:
    """What programs need to find the user's service manager, also in a session of sshd's."""
    return {"XDG_RUNTIME_DIR": f"/run/user/{os.getuid()}", **os.environ}


def call(
    command: list[str],
    limit_s: float,
    *,
    content: bytes = b"",
    folder: Path | None = None,
    environment: dict[str, str] | None = None,
) -> tuple[int, str]:
    """Run a program to its end; neither a missing nor a slow one raises.

    Args:
        command: its name, looked for on the PATH, and its arguments.
        limit_s: longest time.
        content: for its standard input.
        folder: in which it runs; None is this process's.
        environment: that it gets; None is `user_environment()`.

    Returns:
        Its exit code, and what it printed to both streams.
    """
    said: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    given = user_environment() if environment is None else environment
    try:
        done = subprocess.run(  # noqa: S603 - no shell, and no word of a command comes from outside
            command, input=content, timeout=limit_s, cwd=folder, env=given, check=False, **said
        )
    except FileNotFoundError:
        return MISSING, f"There is no program {command[0]}."
    except PermissionError as error:
        return MISSING, f"{command[0]} cannot be run: {error.strerror}."
    except subprocess.TimeoutExpired:
        return LATE, f"It took more than {limit_s:.0f} s."
    return done.returncode, done.stdout.decode(errors="replace")


def pass_on(command: list[str], source: BinaryIO) -> None:
    """Have a program write to this one's standard output, until it ends or the input does.

    Args:
        command: its name and arguments.
        source: this program's input, whose end says that nobody reads the output any more.
    """
    with subprocess.Popen(  # noqa: S603 - as above
        command, stdin=subprocess.DEVNULL, stderr=subprocess.STDOUT, env=user_environment()
    ) as process:
        while process.poll() is None:
            readable, _, _ = select.select([source], [], [], _PAUSE_S)
            if readable and not source.read(1):
                process.kill()
