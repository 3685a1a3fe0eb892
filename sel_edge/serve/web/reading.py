"""What can be asked for without changing anything."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TypeVar

from starlette.responses import Response

from sel_edge.bundle.keys import load_public_key, public_path
from sel_edge.runtime.samples.desk import SAMPLES_FILE, LabelDesk
from sel_edge.runtime.slot_history import History, read_history
from sel_edge.runtime.slots import KEY_FILE, SLOTS_DIRECTORY
from sel_edge.serve.snapshot import Point
from sel_edge.serve.web.messages import (
    Candidate,
    Events,
    Health,
    Points,
    Queue,
    readiness_of,
)
from sel_edge.serve.web.metrics import MEDIA_TYPE
from sel_edge.serve.web.operations import JSON, Call, json_answer
from sel_edge.serve.web.pictures import png_of, view_of
from sel_edge.serve.web.refusals import RefusalError, Trouble
from sel_edge.serve.web.site import Site
from sel_edge.serve.web.wire import json_bytes, plain

T = TypeVar("T")
NO_STORE = {"Cache-Control": "no-store"}
FOREVER = {"Cache-Control": "private, max-age=86400, immutable"}
"""An id holds a digest of its picture."""
UNTOLD = "The last tick ended in an error; the token opens which."
FRAME_NUMBER, FRAME_ANSWER = "X-Frame-Number", "X-Frame-Answer"
"""The answer is JSON in ASCII, so that a page shows a frame with what was said of that very one."""


async def health(site: Site, call: Call) -> Response:
    """Whether the process and its worker live."""
    alive = site.device.is_alive
    return json_answer(Health(alive), 200 if alive else 503)


async def readiness(site: Site, call: Call) -> Response:
    """Whether the device does its work; what is wrong, which names places, not for everybody."""
    found = readiness_of(site.device.snapshot())
    if found.error and not site.keeper.is_trusted(call.request):
        found = replace(found, error=UNTOLD)
    return json_answer(found, 200 if found.ready else 503)


async def metrics(site: Site, call: Call) -> Response:
    """Everything for Prometheus."""
    text = await site.workshop.run(site.metrics.text)
    return Response(text, headers={**NO_STORE, "Content-Type": MEDIA_TYPE})


async def document(site: Site, call: Call) -> Response:
    """What can be asked for."""
    return Response(site.document, 200, NO_STORE, JSON)


async def status(site: Site, call: Call) -> Response:
    """The newest snapshot."""
    return Response(site.feed.status(site.device.snapshot()), 200, NO_STORE, JSON)


async def points(site: Site, call: Call) -> Response:
    """Embarrassment over time; with many classes there is much of it."""
    found = site.device.snapshot().points

    def told() -> bytes:
        return json_bytes(Points(tuple(map(_rounded, found))))

    return Response(await site.workshop.run(told), 200, NO_STORE, JSON)


async def events(site: Site, call: Call) -> Response:
    """The newest decisions."""
    return json_answer(Events(site.device.snapshot().events[-call.values["limit"] :]))


async def stream(site: Site, call: Call) -> Response:
    """The same as they happen."""
    return site.feed.stream(partial(site.keeper.still_may, call.request))


async def view(site: Site, call: Call) -> Response:
    """The newest frame; 204 before the first."""
    newest = site.device.view()
    if newest is None:
        return Response(status_code=204, headers=NO_STORE)
    answer, frame = newest
    content, media_type = await site.workshop.run(partial(view_of, frame))
    told = {FRAME_NUMBER: str(answer.frame), FRAME_ANSWER: json.dumps(plain(answer))}
    headers = {**NO_STORE, **told, "Content-Type": media_type}
    return Response(content, headers=headers)


async def queue(site: Site, call: Call) -> Response:
    """The frames whose labels would teach most."""
    limit = call.values["limit"]

    def look(desk: LabelDesk) -> Queue:
        frames = tuple(
            Candidate(each.id, each.number, each.predicted, each.score, each.reason, each.seen)
            for each in desk.queue(limit)
        )
        return Queue(frames, desk.classes, desk.counts().waiting)

    return json_answer(await at_desk(site, look))


async def queue_picture(site: Site, call: Call) -> Response:
    """One of these frames."""
    name = call.values["id"]

    def draw(desk: LabelDesk) -> bytes | None:
        frame = desk.frame(name)
        return None if frame is None else png_of(frame)

    content = await at_desk(site, draw)
    if content is None:
        trouble = Trouble("frame", f"Nothing is kept of the frame {name}.", "", "Choose another.")
        raise RefusalError(404, trouble)
    return Response(content, 200, FOREVER, "image/png")


async def history(site: Site, call: Call) -> Response:
    """The updates that were kept."""
    return json_answer(await site.workshop.run(partial(_history, site.device.state)))


async def at_desk(site: Site, work: Callable[[LabelDesk], T]) -> T:
    """What is done at a desk of its own, because a desk serves one thread."""

    def there() -> T:
        with LabelDesk(site.device.state / SAMPLES_FILE) as desk:
            return work(desk)

    return await site.workshop.run(there)


def _rounded(point: Point) -> Point:
    """With four digits of a nat, which is more than anybody sees."""
    return replace(point, values={name: round(nats, 4) for name, nats in point.values.items()})


def _history(state: Path) -> History:
    key = public_path(state / KEY_FILE)
    if not key.exists():
        return History(None, None, None, True, (), ())
    return read_history(state / SLOTS_DIRECTORY, {load_public_key(key)})
