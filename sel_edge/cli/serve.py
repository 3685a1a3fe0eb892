"""`sel-edge serve`: a device that lives in front of a camera, with a page to look at it."""

from __future__ import annotations

import os
import socket
import stat
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import click

from sel_edge.bundle.bundle import open_bundle
from sel_edge.bundle.keys import load_public_key
from sel_edge.cli.machine import named_board, require_outside
from sel_edge.cli.options import budget_option, chosen_rungs, profile_option, threads_option
from sel_edge.core.errors import ConfigError, MissingDependencyError
from sel_edge.core.files import exclusive, storage_errors
from sel_edge.report.wording import printable
from sel_edge.runtime.config import RuntimeConfig
from sel_edge.runtime.session import spare_memory
from sel_edge.serve.daemon import Daemon, Outlet
from sel_edge.serve.live import LiveDevice
from sel_edge.serve.naming import require_name
from sel_edge.serve.residence import Settings
from sel_edge.serve.sources.named import open_source

if TYPE_CHECKING:
    from sel_edge.serve.mqtt.bridge import Bridge
    from sel_edge.serve.web.server import Server

MAX_SECRET_BYTES = 4096


@click.command("serve")
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option(
    "--source", required=True, metavar="SOURCE", help="Where frames come from, as listed above."
)
@click.option(
    "--state",
    type=click.Path(path_type=Path),
    help="Directory in which each bundle has one of its own, named by the first digits of its "
    "hash, for `sel-edge label`, `history` and `report`; default: BUNDLE.served.",
)
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--port", type=click.IntRange(0, 65535), default=8765, show_default=True, help="0: a free one."
)
@click.option(
    "--token-file",
    type=click.Path(path_type=Path),
    help="File with the token that clients must show; needed for any other than a local address.",
)
@click.option(
    "--allow-host",
    "allowed_hosts",
    multiple=True,
    metavar="NAME",
    help="Name under which others reach it, such as that of a proxy.",
)
@click.option(
    "--trust",
    "trusted",
    multiple=True,
    type=click.Path(path_type=Path),
    metavar="KEY.pub.pem",
    help="Run only bundles that one of these keys has signed.",
)
@budget_option
@profile_option
@threads_option
@click.option(
    "--rungs",
    default=",".join(RuntimeConfig.rungs),
    show_default=True,
    help="Ways of learning, as of `sel-edge run`.",
)
@click.option(
    "--mqtt",
    metavar="URL",
    help="Tell a broker, and Home Assistant: mqtt[s]://[USER@]HOST[:PORT][/PREFIX].",
)
@click.option(
    "--mqtt-password-file", type=click.Path(path_type=Path), help="File with that user's password."
)
@click.option(
    "--name", help="Of this device, on its page and at the broker; default: this machine's."
)
def command(
    bundle: Path,
    source: str,
    state: Path | None,
    host: str,
    port: int,
    token_file: Path | None,
    allowed_hosts: tuple[str, ...],
    trusted: tuple[Path, ...],
    budget: Path | None,
    profile: str | None,
    threads: int | None,
    rungs: str,
    mqtt: str | None,
    mqtt_password_file: Path | None,
    name: str | None,
) -> int:
    """Run the bundle in directory BUNDLE on live frames, let it adapt, and serve a page about it.

    \b
    SOURCE is one of
      camera[:NUMBER][?size=WxH&fps=F]   a camera, 0 is the first: picamera2, else OpenCV
      video:PATH[?fps=F&loop=1]          a video file, as fast as it was taken
      rtsp://... or rtsps://...          a network camera
      inbox:DIR                          pictures that appear in a folder, each once
      http                               pictures that are sent to /api/v1/frames
      [stream:]SPEC[&pace=F&loop=1]      a stream as of `sel-edge run`, 10 frames a second

    fps and pace are frames per second; 0 is as fast as they are answered. In PATH and DIR, % and ?
    are percent-encoded. Pictures are cropped around their centre and resized to the bundle's. When
    frames come faster than they can be answered, the newest win, and the others are counted; those
    of an inbox, and at fps=0, wait instead.

    SIGHUP, or the page, opens bundle and budget anew; if that fails the old ones go on. SIGTERM and
    Ctrl-C end it within five seconds. A systemd service of Type=notify is told how it is.
    """
    spare_memory()
    place = bundle.resolve()
    folder = state or place.with_name(f"{place.name}.served")
    require_outside(open_bundle(bundle), folder, "--state")
    token, password = _secret(token_file), _secret(mqtt_password_file)
    name = require_name(socket.gethostname() if name is None else name)
    settings = Settings(
        bundle=bundle,
        state=folder,
        board=named_board(profile),
        name=name,
        budget=budget,
        trusted=frozenset(load_public_key(key) for key in trusted),
        threads=threads,
        config=RuntimeConfig(rungs=chosen_rungs(rungs)),
    )
    with storage_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
    with exclusive(folder):
        device = LiveDevice(settings, open_source(source, folder))
        server = _server(device, host, port, token, allowed_hosts)
        outlets: list[Outlet] = [server]
        if mqtt is not None:
            outlets.append(_bridge(device, mqtt, password, name))
        daemon = Daemon(device, outlets, _say)
        is_good = daemon.run(lambda: f"Serving http://{_shown(host)}:{server.port}/")
    return 0 if is_good else 1


def _server(
    device: LiveDevice, host: str, port: int, token: str | None, allowed_hosts: tuple[str, ...]
) -> Server:
    try:
        from sel_edge.serve.web.server import Server, WebSettings
    except ModuleNotFoundError as error:
        raise _missing(error) from error
    return Server(
        device, WebSettings(host=host, port=port, token=token, allowed_hosts=allowed_hosts)
    )


def _bridge(device: LiveDevice, url: str, password: str | None, name: str) -> Bridge:
    try:
        from sel_edge.serve.mqtt.bridge import Bridge
        from sel_edge.serve.mqtt.settings import MqttSettings
    except ModuleNotFoundError as error:
        raise _missing(error) from error
    return Bridge(device, MqttSettings(url, password, name), _say)


def _missing(error: ModuleNotFoundError) -> MissingDependencyError:
    return MissingDependencyError(
        f"The Python package {error.name} is not installed.",
        "`sel-edge serve` needs it.",
        "Install it with: pip install 'sel-edge[serve]'",
    )


def _secret(path: Path | None) -> str | None:
    """What a file holds that nobody else may read.

    Raises:
        ConfigError: it cannot be read, everybody may read it, or it is no line of text.
    """
    if path is None:
        return None
    try:
        with path.open("rb") as file:
            is_public = bool(os.fstat(file.fileno()).st_mode & stat.S_IROTH)
            text = file.read(MAX_SECRET_BYTES + 1).decode().strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no text"
        raise ConfigError(
            f"The file {path} cannot be read: {reason}.",
            "A text file with nothing but the secret is expected.",
            "Check its path and its permissions.",
        ) from error
    if is_public or not text or len(text) > MAX_SECRET_BYTES or len(text.splitlines()) > 1:
        raise ConfigError(
            f"The file {path} {'may be read by everybody' if is_public else 'holds no secret'}.",
            "One line of text that only its owner or group may read is expected.",
            f"Run chmod 600 {path}." if is_public else "Write the secret into it.",
        )
    return text


def _shown(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _say(sentence: str) -> None:
    with suppress(OSError, ValueError):  # that nobody reads the log is no reason to stop serving
        click.echo(printable(sentence), err=True)
