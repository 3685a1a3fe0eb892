"""The server: a thread with an event loop of its own."""

from __future__ import annotations

import asyncio
import socket
import threading
from concurrent.futures import Future
from contextlib import suppress
from functools import partial

import uvicorn
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.routing import Route

from sel_edge.core.errors import ConfigError, SelEdgeError
from sel_edge.serve.device import Device
from sel_edge.serve.web.openapi import document
from sel_edge.serve.web.operations import routes_of
from sel_edge.serve.web.pages import page_files
from sel_edge.serve.web.protocol import Doorkeeper, GuardedProtocol
from sel_edge.serve.web.refusals import RefusalError, answer_exception
from sel_edge.serve.web.routes import OPERATIONS
from sel_edge.serve.web.settings import WebSettings
from sel_edge.serve.web.shield import HEADER_BYTES, Shield
from sel_edge.serve.web.site import Site
from sel_edge.serve.web.wire import json_bytes

__all__ = ["Server", "WebSettings"]

GRACE_S = 2
"""For answers under way when the server stops."""
STOP_S = 4.0
"""Until `stop` no longer waits for the event loop."""


class Server:
    """Serves a device until it is stopped.

    Args:
        device: whose snapshots are told, and which is asked to act.
        settings: of its owner.

    Attributes:
        port: it listens on, once started.
    """

    def __init__(self, device: Device, settings: WebSettings) -> None:
        self._device, self._settings = device, settings
        self.port = settings.port
        self._doorkeeper = Doorkeeper(settings.limits)
        self._thread: threading.Thread | None = None
        self._ready: Future[None] = Future()
        self._server: uvicorn.Server | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._site: Site | None = None

    @property
    def is_alive(self) -> bool:
        """Whether requests are answered."""
        return self._thread is not None and self._thread.is_alive()

    @property
    def connections(self) -> int:
        """Open now."""
        return self._doorkeeper.open

    def start(self) -> None:
        """Listen; returns when requests are answered.

        Raises:
            ConfigError: the address is not this machine's, or the port is taken.
        """
        listener = _listen(self._settings.host, self._settings.port)
        self.port = listener.getsockname()[1]
        self._thread = threading.Thread(
            target=asyncio.run, args=(self._serve(listener),), name="sel-edge-web", daemon=True
        )
        self._thread.start()
        self._ready.result()

    def stop(self) -> None:
        """Answer what is under way, end streams, and listen no more; may be called twice.

        Returns once slow work that a request began has ended as well, which a disk may delay.
        """
        if self._thread is None or self._loop is None:
            return
        if self._thread.is_alive():
            with suppress(RuntimeError):  # the loop is closed: it ends by itself
                self._loop.call_soon_threadsafe(self._end)
            self._thread.join(STOP_S)
        if self._site is not None:
            self._site.workshop.join()

    async def _serve(self, listener: socket.socket) -> None:
        try:
            self._loop = asyncio.get_running_loop()
            self._site = Site(self._device, self._settings, self.port)
            self._server = uvicorn.Server(self._config(self._site))
        except BaseException as error:
            self._ready.set_exception(error)
            raise
        self._ready.set_result(None)
        try:
            await self._server.serve([listener])
        finally:
            for connection in list(self._server.server_state.connections):
                connection.transport.abort()  # whoever has not let go within the grace
            self._site.close()

    def _config(self, site: Site) -> uvicorn.Config:
        limits = self._settings.limits
        return uvicorn.Config(
            Shield(application(site), site, self._settings),
            http=partial(GuardedProtocol, self._doorkeeper),  # type: ignore[arg-type]
            ws="none",
            lifespan="off",
            log_config=None,
            log_level="error",
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_keep_alive=limits.idle_s,
            timeout_graceful_shutdown=GRACE_S,
            h11_max_incomplete_event_size=HEADER_BYTES,
        )

    def _end(self) -> None:
        if self._site is not None:
            self._site.close()
        if self._server is not None:
            self._server.should_exit = True
            for connection in list(self._server.server_state.connections):
                connection.shutdown()  # uvicorn does so later, when answers may be gone already


def application(site: Site) -> Starlette:
    """Starlette's application: the table of operations, and the page's files."""
    site.document = json_bytes(document(OPERATIONS, site.keeper.cookie))
    routes = routes_of(site, OPERATIONS)
    for path, file in page_files().items():
        routes.append(Route(path, file.answer, methods=["GET"]))
    app = Starlette(
        routes=routes,
        exception_handlers=dict.fromkeys(
            (RefusalError, SelEdgeError, HTTPException, Exception), answer_exception
        ),
    )
    app.router.redirect_slashes = False
    return app


def _listen(host: str, port: int) -> socket.socket:
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, protocol)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
            listener.listen(128)
        except BaseException:
            listener.close()
            raise
    except (OSError, UnicodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "It is no name of a machine"
        raise ConfigError(
            f"{host} port {port} cannot be listened on: {reason}.",
            "A free port of an address of this machine is expected.",
            "Choose another --port or --host, or stop what uses it.",
        ) from error
    return listener
