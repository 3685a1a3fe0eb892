"""systemctl, journalctl and loginctl of a Pi without systemd, by the name they are called by.

An option that they do not know is an error: what a test has not tried must not pass.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import sys
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

from tests.deploy.supervisor import JOURNAL, LINGER, SOCKET


def systemctl(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser("systemctl", allow_abbrev=False)
    parser.add_argument("--user", action="store_true", required=True)
    for flag in ("--no-block", "--value"):
        parser.add_argument(flag, action="store_true")
    parser.add_argument("--property", "-p", action="append", default=[])
    parser.add_argument("verb")
    parser.add_argument("units", nargs="*")
    asked = parser.parse_intermixed_args(arguments)
    request = {
        "verb": asked.verb,
        "units": asked.units,
        "no_block": asked.no_block,
        "value": asked.value,
        "properties": [name for value in asked.property for name in value.split(",")],
    }
    try:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(str(SOCKET))
            connection.sendall(json.dumps(request).encode() + b"\n")
            status, text = json.loads(connection.makefile().readline())
    except OSError:
        print("Failed to connect to bus: No medium found", file=sys.stderr)
        return 1
    if text:
        is_asking = asked.verb.startswith("is-") or asked.verb == "show"
        print(text, file=sys.stdout if is_asking else sys.stderr)
    return int(status)


def journalctl(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser("journalctl", allow_abbrev=False)
    parser.add_argument("--user", action="store_true", required=True)
    for flag in ("--no-pager", "--follow"):
        parser.add_argument(flag, action="store_true")
    parser.add_argument("--unit", "-u", action="append", default=[])
    parser.add_argument("--lines", "-n", default="all")
    parser.add_argument("--output", "-o", choices=["short", "cat"], default="short")
    asked = parser.parse_args(arguments)
    names = {name if "." in name else f"{name}.service" for name in asked.unit}
    last = "10" if asked.follow and asked.lines == "all" else asked.lines
    entries = list(_entries(names, False))
    for entry in entries if last == "all" else entries[len(entries) - int(last) :]:
        _print(entry, asked.output)
    if asked.follow:
        for index, entry in enumerate(_entries(names, True)):
            if index >= len(entries):
                _print(entry, asked.output)
    return 0


def _entries(names: set[str], follow: bool) -> Iterator[dict[str, object]]:
    if not JOURNAL.exists():
        return
    with JOURNAL.open() as file:
        while True:
            line = file.readline()
            if line:
                entry = json.loads(line)
                if not names or entry["unit"] in names:
                    yield entry
            elif follow:
                time.sleep(0.1)
            else:
                return


def _print(entry: dict[str, object], output: str) -> None:
    head = ""
    if output != "cat":
        moment = datetime.fromtimestamp(float(str(entry["time_s"])))
        head = f"{moment:%b %d %H:%M:%S} pi {entry['unit']}[{entry['pid']}]: "
    print(head + str(entry["message"]), flush=True)


def loginctl(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser("loginctl", allow_abbrev=False)
    parser.add_argument("--property", "-p", action="append", default=[])
    parser.add_argument("--value", action="store_true")
    parser.add_argument("verb", choices=["enable-linger", "show-user"])
    parser.add_argument("user", nargs="?", default=os.environ["USER"])
    asked = parser.parse_intermixed_args(arguments)
    file = LINGER / asked.user
    if asked.verb == "show-user":
        answer = "yes" if file.exists() else "no"
        print(answer if asked.value else f"Linger={answer}")
    else:
        file.touch()
    return 0


if __name__ == "__main__":
    name = Path(sys.argv[1]).name
    program = {"systemctl": systemctl, "journalctl": journalctl, "loginctl": loginctl}[name]
    sys.exit(program(sys.argv[2:]))
