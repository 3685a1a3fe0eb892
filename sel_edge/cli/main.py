"""`sel-edge`: finds the command, runs it, and turns every user error into one paragraph."""

from __future__ import annotations

import importlib
import os
import signal
import sys
import textwrap
from typing import Any

import click

from sel_edge import __version__
from sel_edge.core.errors import (
    ERROR_KINDS,
    INTERRUPTED_EXIT_CODE,
    MissingDependencyError,
    SelEdgeError,
)
from sel_edge.report.wording import printable

COMMANDS = {
    "demo": "The whole thread on one data set: pretrain, compare, export, run, report.",
    "pretrain": "Train a ResNet-18 with a recipe.",
    "compare": "Put a dense and a staged run side by side: tables and plots.",
    "export": "Make a bundle that an edge device can run.",
    "inspect": "Verify a bundle and say what is in it.",
    "keys": "Make keys, let them vouch for bundles, check who signed.",
    "run": "Run a bundle on a stream of frames and let it adapt.",
    "simulate": "Replay days of a device on battery and sun in minutes.",
    "label": "List the frames whose labels would teach most, and take answers.",
    "adapt": "Learn now from the labels that a device has.",
    "history": "List the updates that a device has kept.",
    "rollback": "Undo updates that a device has kept, or a deployment.",
    "deploy": "Bring a bundle to a machine over SSH, or to a microcontroller.",
    "status": "Say what machines over SSH run, and how they are.",
    "logs": "Print what the service on a machine says.",
    "undeploy": "Remove from a machine what was deployed to it.",
    "push": "Send what was learned elsewhere to a microcontroller.",
    "device": "Look at a microcontroller, undo what it was sent, take its samples.",
    "gateway": "Learn on this host for the microcontrollers at its ports.",
    "serve": "Run a bundle on live frames and serve a page about it.",
    "report": "Write one HTML page about runs and adaptations.",
    "watch": "Keep of a video what is new in it.",
    "energy": "Calibrate a profile to a meter, say what was spent.",
    "devices": "List the board profiles, and which one fits this machine.",
    "doctor": "Say what this machine has, what is missing and how to get it.",
}

# What the edge install leaves out.
TRAIN_PACKAGES = ("torch", "torchvision", "onnx", "onnxscript", "matplotlib", "sklearn")


class Commands(click.Group):
    """A group that imports a command's module when the command is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names in the order of the main job."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        """Import `sel_edge.cli.NAME` and return its `command`."""
        if name not in COMMANDS:
            return None
        module = importlib.import_module(f"sel_edge.cli.{name}")
        command: click.Command = module.command
        return command

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; a reader that has gone (`| head`) is no defect."""
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            # Python would complain again when it flushes at exit.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 0

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the exit codes."""
        with formatter.section("Exit codes"):
            formatter.write_dl(exit_codes())


def exit_codes() -> list[tuple[str, str]]:
    """Every exit code with its meaning, in order."""
    table = [
        ("0", "Done."),
        ("1", "A defect of sel-edge: please report it."),
        ("2", "Wrong usage."),
    ]
    for kind in ERROR_KINDS:
        summary = (kind.__doc__ or "").strip().splitlines()[0]
        table.append((str(kind.exit_code), summary))
    table.append((str(INTERRUPTED_EXIT_CODE), "Interrupted; what was saved can be resumed."))
    return table


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="sel-edge")
def cli() -> None:
    """Train by embarrassment, then go on learning at the edge."""


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and exit with a documented code."""
    sys.exit(run(arguments))


def run(arguments: list[str] | None = None) -> int:
    """Run the command line and return its exit code; see `exit_codes`."""
    interrupted = False

    def interrupt(*_: object) -> None:
        nonlocal interrupted
        interrupted = True
        raise KeyboardInterrupt

    previous = signal.signal(signal.SIGINT, interrupt)
    try:
        return _run(arguments)
    except (KeyboardInterrupt, click.exceptions.Abort):
        pass
    except Exception:
        # Libraries that are being imported swallow the interruption and fail over it later.
        if not interrupted:
            raise
    finally:
        signal.signal(signal.SIGINT, previous)
    click.echo("Interrupted.", err=True)
    return INTERRUPTED_EXIT_CODE


def _run(arguments: list[str] | None) -> int:
    try:
        result: Any = cli.main(arguments, prog_name="sel-edge", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except SelEdgeError as error:
        show_error(error.kind, str(error))
        return error.exit_code
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        if missing not in TRAIN_PACKAGES:
            raise
        show_error(MissingDependencyError.kind, missing_package(missing))
        return MissingDependencyError.exit_code
    return result if isinstance(result, int) else 0


def missing_package(module: str) -> str:
    """The paragraph for a package that the edge install leaves out."""
    return (
        f"This command needs the Python package {module!r}, which is not installed. "
        "The edge install leaves it out on purpose. "
        f"On a workstation, install it with: pip install 'sel-edge[train]'."
    )


def show_error(kind: str, text: str) -> None:
    """Print one paragraph to stderr; names of other people's files may be in it."""
    paragraph = textwrap.fill(
        f"Error ({kind}): {printable(text)}", 100, break_long_words=False, break_on_hyphens=False
    )
    click.echo(paragraph, err=True)
