"""The conversation with a board's agent, through the user's own OpenSSH."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO, Any, cast

from sel_edge.bundle.keys import PrivateKey
from sel_edge.bundle.sshsig import sshsig
from sel_edge.core.closing import Closing
from sel_edge.core.errors import DeployError, MissingDependencyError
from sel_edge.core.files import canonical_json
from sel_edge.deploy.program import PROTOCOL, agent_program, sent_program, start_command

TRUST_NAMESPACE = "sel-edge-trust"
PIECE_BYTES = 1024 * 1024
_LONGEST_ANSWER, _LONGEST_LINE = 64 * 1024 * 1024, 64 * 1024
_SAID_BYTES = 4000
_MISSING_PROGRAM, _SSH_FAILED = 127, 255
_END_S = 10
_OPTIONS = ("BatchMode=yes", "ConnectTimeout=20", "ServerAliveInterval=10", "ServerAliveCountMax=3")
"""No questions, and a dead line is noticed within half a minute."""

Progress = Callable[[str], None]


class LostError(DeployError):
    """The connection ended before there was an answer."""


class RefusedByBoardError(DeployError):
    """The agent's answer was no.

    Attributes:
        reason: request, signature, release, storage, busy, install or service.
    """

    def __init__(self, host: str, answer: dict[str, Any]) -> None:
        self.reason = str(answer.get("kind"))
        found, expected, action = (
            str(answer.get(part, ""))[:_SAID_BYTES] for part in ("found", "expected", "action")
        )
        super().__init__(f"{host} refuses: {found}", expected, action)


class Conversation(Closing):
    """Asks the agent of one board.

    Args:
        host: as ssh takes it.
        options: for ssh, as in its configuration file.

    Attributes:
        host: the same.
        hello: what the agent told about itself.

    Raises:
        DeployError: the board cannot be reached, or has no agent and no Python to run one.
        MissingDependencyError: there is no ssh.
    """

    def __init__(self, host: str, options: Sequence[str] = ()) -> None:
        self.host = host
        self._said = tempfile.TemporaryFile()  # noqa: SIM115 - closed by `close`
        command = ssh_command(host, options)
        try:
            self._process = subprocess.Popen(  # noqa: S603 - the user's own ssh
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._said
            )
        except OSError as error:
            self._said.close()
            raise MissingDependencyError(
                f"There is no program {command[0]}: {error.strerror}.",
                "Boards are reached through OpenSSH.",
                "Install it: `apt-get install openssh-client`.",
            ) from error
        self._sink = cast(IO[bytes], self._process.stdin)
        self._source = cast(IO[bytes], self._process.stdout)
        try:
            self.hello = self._greeted()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """End the conversation; the agent ends the work under way and then itself."""
        for stream in (self._sink, self._source):
            try:
                stream.close()
            except OSError:
                continue
        try:
            self._process.wait(_END_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._said.close()

    def ask(self, op: str, progress: Progress | None = None, **fields: Any) -> dict[str, Any]:
        """Send a request and wait for its answer.

        Args:
            op: what is asked for.
            progress: takes what the agent says meanwhile.
            fields: of the request.

        Raises:
            RefusedByBoardError: the answer is no.
            LostError: there is none.
        """
        self._send(json.dumps({"op": op, **fields}).encode() + b"\n")
        return self._answer(progress)

    def put(self, release: str, path: str, offset: int, piece: bytes) -> None:
        """Send a piece of a file.

        Raises:
            RefusedByBoardError: it is not wanted, or its file is not what the release says.
            LostError: there is no answer.
        """
        fields = {"hash": release, "path": path, "offset": offset, "bytes": len(piece)}
        self._send(json.dumps({"op": "put", **fields}).encode() + b"\n" + piece)
        self._answer(None)

    def signed(self, key: PrivateKey, **said: Any) -> str:
        """A signature of what is said, that holds in this conversation only.

        Args:
            key: one that the board trusts.
            said: fields of a request that changes whom the board trusts.
        """
        told = {**said, "nonce": str(self.hello.get("nonce"))}
        return sshsig(key, TRUST_NAMESPACE, canonical_json(told)).decode()

    def lines(self) -> Iterator[str]:
        """What the agent sends behind its last answer, until it ends; long lines in pieces."""
        while line := self._source.readline(_LONGEST_LINE):
            yield line.decode(errors="replace").rstrip("\n")

    def _greeted(self) -> dict[str, Any]:
        first = self._line()
        if first == {"agent": None}:
            self._send(sent_program(agent_program()))
            first = self._line()
        if first.get("protocol") != PROTOCOL:
            raise DeployError(
                f"The agent of {self.host} speaks version {first.get('protocol')!r}.",
                f"This sel-edge speaks version {PROTOCOL}.",
                "Use the sel-edge that deployed to it; or `sel-edge undeploy` with that one first.",
            )
        return first

    def _answer(self, progress: Progress | None) -> dict[str, Any]:
        while True:
            answer = self._line()
            if answer.get("ok") is True:
                return answer
            if answer.get("ok") is False:
                raise RefusedByBoardError(self.host, answer)
            if progress is not None:
                progress(str(answer.get("progress"))[:_SAID_BYTES])

    def _send(self, content: bytes) -> None:
        try:
            self._sink.write(content)
            self._sink.flush()
        except OSError as error:
            raise self._lost() from error

    def _line(self) -> dict[str, Any]:
        line = self._source.readline(_LONGEST_ANSWER)
        if not line.endswith(b"\n"):
            raise self._lost()
        try:
            value = json.loads(line)
        except (ValueError, RecursionError):
            value = None
        if not isinstance(value, dict):
            raise DeployError(
                f"{self.host} answers {line[:200]!r}.",
                "Nothing but the agent's answers is expected on the line.",
                "Let the shell's start-up files of that user print nothing when nobody logs in.",
            )
        return value

    def _lost(self) -> DeployError:
        """Why there is no answer, by ssh's exit code and what it said."""
        try:
            code = self._process.wait(_END_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            code = self._process.wait()
        self._said.seek(0)
        told = " ".join(self._said.read(_SAID_BYTES).decode(errors="replace").split())
        if code == _MISSING_PROGRAM:
            return DeployError(
                f"{self.host} has no python3: {told}",
                "Python 3.11 or newer is expected on the board.",
                "Install it, as 64-bit Raspberry Pi OS has it.",
            )
        why = "cannot be reached" if code == _SSH_FAILED else f"broke off (ssh ended with {code})"
        return LostError(
            f"{self.host} {why}: {told or 'the connection ended'}.",
            "What runs on the board goes on running.",
            f"Try `ssh {self.host}` by hand, without a password; then run the command again, "
            "which goes on where it was.",
        )


def ssh_command(host: str, options: Sequence[str]) -> list[str]:
    """The call of ssh, or of what SEL_EDGE_SSH names instead, that starts a board's agent."""
    program = shlex.split(os.environ.get("SEL_EDGE_SSH", "ssh")) or ["ssh"]
    # The first value that ssh finds for an option holds, so the user's go first.
    given = [part for option in (*options, *_OPTIONS) for part in ("-o", option)]
    return [*program, "-T", *given, "--", host, start_command()]


def read_pieces(content: Path | bytes, offset: int) -> Iterator[bytes]:
    """The pieces of a file from a byte on; one empty piece of an empty rest."""
    if isinstance(content, bytes):
        rest = content[offset:]
        yield from (rest[at : at + PIECE_BYTES] for at in range(0, max(1, len(rest)), PIECE_BYTES))
        return
    with content.open("rb") as file:
        file.seek(offset)
        piece = file.read(PIECE_BYTES)
        yield piece
        while piece := file.read(PIECE_BYTES):
            yield piece
