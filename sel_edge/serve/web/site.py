"""What every handler works with."""

from __future__ import annotations

from starlette.requests import Request

from sel_edge.serve.device import Device
from sel_edge.serve.web.access import Keeper
from sel_edge.serve.web.buckets import Buckets, client_of
from sel_edge.serve.web.feed import Feed
from sel_edge.serve.web.metrics import Metrics
from sel_edge.serve.web.places import Places
from sel_edge.serve.web.refusals import too_many
from sel_edge.serve.web.settings import WebSettings
from sel_edge.serve.web.workshop import Workshop


class Site:
    """One server's parts; made inside its event loop, and used there only.

    Args:
        device: that it serves.
        settings: of its owner.
        port: it listens on.

    Attributes:
        device, limits: as given.
        keeper: knows who may ask.
        feed: wakes the streams.
        workshop: does slow work.
        frames: places for frames, from the first byte of a body to the answer.
        pictures: places for pictures that are taken in, which takes much memory.
        metrics: for Prometheus.
        document: of OpenAPI, as JSON.
    """

    def __init__(self, device: Device, settings: WebSettings, port: int) -> None:
        self.device, self.limits = device, settings.limits
        self.keeper = Keeper(settings, port)
        self.feed = Feed(device, self.limits)
        self.workshop = Workshop(self.limits.work)
        self.metrics = Metrics(device)
        self.document = b"{}"
        limits = self.limits
        self.frames = Places(limits.frames, limits.place_s, "Too many frames are under way.")
        self.pictures = Places(limits.pictures, limits.place_s, "Too many pictures are taken in.")
        self._frame_rates = Buckets(limits.frames_per_s, limits.frames_per_s)

    def count_frame(self, request: Request) -> None:
        """One more frame of a client comes.

        Raises:
            RefusalError: 429 for a client that sends too many.
        """
        client = client_of(request.client.host if request.client else "")
        if wait := self._frame_rates.take(client):
            raise too_many("rate", "Too many frames come from this address.", wait)

    def close(self) -> None:
        """Let everybody who waits go."""
        self.feed.close()
        self.workshop.close()
