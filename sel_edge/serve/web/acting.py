"""What changes something: labels, learning on request, going back, frames, sessions."""

from __future__ import annotations

from concurrent.futures import Future
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import Response

from sel_edge.runtime.samples.desk import LabelDesk
from sel_edge.runtime.samples.records import Outcome
from sel_edge.serve.web.messages import Changed, Learned, Session
from sel_edge.serve.web.operations import Call, json_answer
from sel_edge.serve.web.reading import NO_STORE, at_desk
from sel_edge.serve.web.refusals import RefusalError, busy
from sel_edge.serve.web.site import Site

DONE, UNDER_WAY = 200, 202


async def session(site: Site, call: Call) -> Response:
    """How this client stands; asking for it is no error."""
    try:
        site.keeper.require(call.request)
    except RefusalError:
        return json_answer(Session(token_needed=True, signed_in=False))
    return json_answer(Session(token_needed=site.keeper.needs_token, signed_in=True))


async def sign_in(site: Site, call: Call) -> Response:
    """The token for a cookie."""
    site.keeper.check(call.request, call.values["token"])
    answer = Response(status_code=204, headers=NO_STORE)
    if site.keeper.needs_token:
        _set_cookie(site, call.request, answer, site.keeper.sign_in(), site.limits.session_s)
    return answer


async def sign_out(site: Site, call: Call) -> Response:
    """The cookie is worth nothing any more."""
    site.keeper.sign_out(call.request)
    answer = Response(status_code=204, headers=NO_STORE)
    _set_cookie(site, call.request, answer, "", 0)
    return answer


async def label(site: Site, call: Call) -> Response:
    """What a frame of the queue shows."""
    name, given = call.values["id"], call.values["label"]

    def answer(desk: LabelDesk) -> Outcome:
        return desk.answer(name, given)

    outcome = await at_desk(site, answer)
    site.device.answered()
    return json_answer(outcome)


async def adapt(site: Site, call: Call) -> Response:
    """Learn now."""
    sentences = await site.workshop.wait(site.device.adapt(), site.limits.wait_s)
    done = sentences is not None
    return json_answer(Learned(done, sentences or ()), DONE if done else UNDER_WAY)


async def rollback(site: Site, call: Call) -> Response:
    """Go back to an earlier network, or forward again."""
    return await _changed(site, site.device.rollback(call.values["to"]))


async def reload(site: Site, call: Call) -> Response:
    """Open the bundle anew."""
    return await _changed(site, site.device.reload())


async def frame(site: Site, call: Call) -> Response:
    """A frame by HTTP, and what the network says of it."""
    assert call.picture is not None  # noqa: S101 - the table says that it takes one
    future = site.device.submit(call.picture)
    answer = await site.workshop.wait(future, site.limits.wait_s)
    if answer is None:
        future.cancel()
        raise busy(f"The frame was not answered within {site.limits.wait_s:g} s.")
    return json_answer(answer)


async def _changed(site: Site, future: Future[str]) -> Response:
    name = await site.workshop.wait(future, site.limits.wait_s)
    done = name is not None
    return json_answer(Changed(done, name), DONE if done else UNDER_WAY)


def _set_cookie(site: Site, request: Request, answer: Response, value: str, seconds: float) -> None:
    """A browser says by which scheme it came, also where a proxy stands between."""
    answer.set_cookie(
        site.keeper.cookie,
        value,
        max_age=int(seconds),
        secure=urlsplit(request.headers.get("Origin", "")).scheme == "https",
        httponly=True,
        samesite="strict",
    )
