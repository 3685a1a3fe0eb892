"""Write the generated parts of README.md and docs/ from the records and from the command line.

A generated part stands between `<!-- table: NAME -->` and `<!-- end -->`. docs/CLI.md is generated
as a whole. `tests/test_docs.py` checks that both are what this tool would write.

    python tools/make_docs.py [--check]
"""

from __future__ import annotations

import argparse
import inspect
import re
import sys
from pathlib import Path

import click

from sel_edge.cli.main import cli, exit_codes
from tools.record_tables import TABLES

ROOT = Path(__file__).resolve().parents[1]
DOCUMENTS = ("README.md", "docs/MEASURING.md")
PART = re.compile(r"(<!-- table: (?P<name>[\w-]+) -->\n).*?(<!-- end -->)", re.DOTALL)


def main() -> None:
    """Write, or with --check only say what differs."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--check", action="store_true")
    check = parser.parse_args().check
    stale = [path for path, text in generated().items() if not _same(path, text)]
    for path in stale:
        if not check:
            path.write_text(generated()[path])
        print(f"{'stale' if check else 'wrote'} {path.relative_to(ROOT)}")
    sys.exit(1 if check and stale else 0)


def generated() -> dict[Path, str]:
    """Every document with generated parts, and its full text."""
    texts = {ROOT / "docs" / "CLI.md": command_line()}
    for name in DOCUMENTS:
        path = ROOT / name
        texts[path] = PART.sub(
            lambda found: found[1] + TABLES[found["name"]]() + found[3], path.read_text()
        )
    return texts


def command_line() -> str:
    """Every command with its options, and the exit codes."""
    parts = ["# Command line", "", "Generated from the commands by `tools/make_docs.py`.", ""]
    context = click.Context(cli, info_name="sel-edge")
    for name in cli.list_commands(context):
        _, command, _ = cli.resolve_command(context, [name])
        if isinstance(command, click.Group):
            for part, subcommand in command.commands.items():
                parts += _described(subcommand, f"{name} {part}")
        elif command is not None:
            parts += _described(command, name)
    parts += ["## Exit codes", "", "| code | meaning |", "|---|---|"]
    parts += [f"| {code} | {meaning} |" for code, meaning in exit_codes()]
    return "\n".join(parts) + "\n"


def _described(command: click.Command, name: str) -> list[str]:
    """A command's help text and its options; click's own layout differs between its versions."""
    arguments = [p.human_readable_name for p in command.params if isinstance(p, click.Argument)]
    lines = [f"## `{' '.join(['sel-edge', name, *arguments])}`", ""]
    lines += [*inspect.cleandoc(command.help or "").splitlines(), ""]
    lines += ["| option | value | default | meaning |", "|---|---|---|---|"]
    for option in command.params:
        if isinstance(option, click.Option):
            cells = (f"`{option.opts[0]}`", _value(option), _default(option), option.help or "")
            lines.append(f"| {' | '.join(cells)} |")
    return [*lines, ""]


def _value(option: click.Option) -> str:
    if option.is_flag:
        return "flag"
    if isinstance(option.type, click.Choice):
        return ", ".join(option.type.choices)
    return option.metavar or option.type.name


def _default(option: click.Option) -> str:
    if option.required:
        return "needed"
    return str(option.default) if option.show_default else ""


def _same(path: Path, text: str) -> bool:
    return path.exists() and path.read_text() == text


if __name__ == "__main__":
    main()
