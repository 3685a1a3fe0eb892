"""An emulated board: the firmware is built, started on a file as its flash, and ended.

The board is the `virt` machine of qemu-system-riscv32 with the port in
devices/firmware/ports/qemu_virt_rv32. Its serial line is a TCP port of this machine, its flash a
file that outlives it, so that a board that is killed and started again is one whose power went.
"""

from __future__ import annotations

import fcntl
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from sel_edge.core.errors import LinkError, MissingDependencyError

FIRMWARE = Path(__file__).resolve().parents[2] / "devices" / "firmware"
FLASH_BYTES = 32 << 20
SETTINGS_AT = FLASH_BYTES - (256 << 10)
"""Of the flash: the sector of the port's settings, which begins with the device id."""
BUILDERS = {
    "riscv64-unknown-elf-gcc": "gcc-riscv64-unknown-elf picolibc-riscv64-unknown-elf",
    "make": "make",
}
EMULATORS = {"qemu-system-riscv32": "qemu-system-misc"}
START_TIMEOUT_S = 30.0


def check_tools() -> None:
    """See that the firmware can be built and emulated here.

    Raises:
        MissingDependencyError: a program is missing; it names Debian's packages.
    """
    for program, packages in (BUILDERS | EMULATORS).items():
        if shutil.which(program) is None:
            raise MissingDependencyError(
                f"{program} is missing.",
                "Firmware for an emulated board is built and run with it.",
                f"Install Debian's packages {packages}.",
            )


def build(name: str) -> Path:
    """Build a program of the port if it is not up to date.

    Args:
        name: `fw.elf` or `bench.elf`.

    Raises:
        MissingDependencyError: as `check_tools`.
        RuntimeError: as `made`.
    """
    check_tools()
    return made(name)


def made(name: str) -> Path:
    """What the firmware's Makefile builds, up to date.

    Args:
        name: of the file in its build folder.

    Raises:
        RuntimeError: it does not compile; the compiler's words are in it.
    """
    command = ["make", "--silent", "-C", str(FIRMWARE), f"build/{name}"]
    with (FIRMWARE / "Makefile").open() as held:
        fcntl.flock(held, fcntl.LOCK_EX)  # two processes would build the same file at once
        done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{name} does not compile:\n{done.stderr}")
    return FIRMWARE / "build" / name


def make_flash(path: Path, device_id: bytes = b"emulated") -> None:
    """Make the file of a flash chip that holds nothing but the board's identity.

    Args:
        path: of a file that is made or replaced, 32 MB.
        device_id: 8 bytes.

    Raises:
        ValueError: the id has another length.
    """
    if len(device_id) != 8:
        raise ValueError(f"a device id has 8 bytes, not {len(device_id)}")
    with path.open("wb") as file:
        file.write(b"\xff" * FLASH_BYTES)
        file.seek(SETTINGS_AT)
        file.write(device_id)


def machine(program: Path, memory: str, counted: bool) -> list[str]:
    """The command line of a board without line and flash.

    Args:
        program: an ELF file for it.
        memory: its RAM, as qemu takes it.
        counted: its clock counts instructions, one each nanosecond, and runs repeat exactly.
    """
    command = ["qemu-system-riscv32", "-M", "virt", "-cpu", "rv32,d=false,f=false,a=false"]
    command += ["-m", memory, "-bios", "none", "-display", "none", "-monitor", "none"]
    command += ["-device", f"loader,file={program},cpu-num=0"]
    return command + (["-icount", "shift=0,sleep=off"] if counted else [])


class EmulatedBoard:
    """A board that runs while the context is open.

    Args:
        flash: file of `make_flash`; made if it is missing.
        counted: see `machine`; slower.
        wrapper: command that starts the emulator, such as ["chrt", "-i", "0"].

    Attributes:
        url: of its serial line, for pyserial. One at a time may listen; who comes next goes on.
        pid: of the emulator.
    """

    def __init__(self, flash: Path, *, counted: bool = False, wrapper: Sequence[str] = ()) -> None:
        self._program = build("fw.elf")
        if not flash.exists():
            make_flash(flash)
        self._flash, self._counted, self._wrapper = flash, counted, tuple(wrapper)
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Of the serial line."""
        return f"socket://127.0.0.1:{self._port}"

    @property
    def pid(self) -> int:
        """Of the emulator."""
        return self._running().pid

    def start(self) -> None:
        """Start it and wait until it listens.

        Raises:
            LinkError: the emulator ended, or the firmware said nothing in time.
        """
        # The emulator gets a socket that listens already: no other program can take the port in
        # between. A connection inherits its TCP_NODELAY, without which answers wait for 40 ms.
        with socket.socket() as line, tempfile.TemporaryFile() as errors:
            line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            line.bind(("127.0.0.1", 0))
            line.listen(1)
            self._port = int(line.getsockname()[1])
            command = [*self._wrapper, *machine(self._program, "8M", self._counted)]
            command += ["-chardev", f"socket,id=line,server=on,wait=on,fd={line.fileno()}"]
            command += ["-serial", "chardev:line"]
            command += ["-drive", f"if=pflash,unit=1,format=raw,file={self._flash}"]
            self._process = subprocess.Popen(
                command, pass_fds=[line.fileno()], stdin=subprocess.DEVNULL, stderr=errors
            )
            try:
                self._await_firmware()
            except OSError as error:
                self.kill()
                errors.seek(0)
                told = " ".join(errors.read().decode(errors="replace").split()[-40:])
                raise LinkError(
                    f"The emulated board does not start: {error}. {told}",
                    f"It says a byte of 0 within {START_TIMEOUT_S:g} s.",
                    "Try its command line by hand.",
                ) from error

    def kill(self) -> None:
        """End it at once, as if its power went; what it has written to flash stays."""
        process = self._running()
        process.kill()
        process.wait()
        self._process = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._process is not None:
            self.kill()

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            raise RuntimeError("the board is not running")
        return self._process

    def _await_firmware(self) -> None:
        """The emulator waits for someone on the line before it starts the board."""
        with socket.create_connection(("127.0.0.1", self._port), START_TIMEOUT_S) as listener:
            if listener.recv(1) != b"\0":
                raise ConnectionError("the line was closed or brought something else")


def main() -> None:
    """Run a board with the flash of the file that is named, until Ctrl-C; prints its port."""
    with EmulatedBoard(Path(sys.argv[1])) as board:
        print(board.url, flush=True)
        signal.sigwait({signal.SIGINT, signal.SIGTERM})


if __name__ == "__main__":
    main()
