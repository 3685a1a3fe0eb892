"""One row of the table of what can be asked for, and how a request becomes a call."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from sel_edge.core.errors import DataError
from sel_edge.serve.device import Picture
from sel_edge.serve.web.fields import Field, Text, Whole, read_object, read_path, read_query
from sel_edge.serve.web.pictures import read_picture
from sel_edge.serve.web.refusals import RefusalError, Trouble, bad_request
from sel_edge.serve.web.site import Site
from sel_edge.serve.web.wire import json_bytes

JSON = "application/json"


@dataclass(frozen=True)
class Answer:
    """What an operation may answer.

    Attributes:
        status: of HTTP.
        about: in words.
        content: a dataclass if it is JSON; None without content, or where `media` says it all.
        media: media types other than JSON.
    """

    status: int
    about: str
    content: type | None = None
    media: tuple[str, ...] = ()


@dataclass(frozen=True)
class Call:
    """A request that was checked.

    Attributes:
        request: itself.
        values: name -> value, of path, query and a JSON body.
        picture: that was sent; None if none was to be.
    """

    request: Request
    values: Mapping[str, Any]
    picture: Picture | None = None


@dataclass(frozen=True)
class Operation:
    """A method of a path.

    Attributes:
        method, path: in Starlette's words.
        name: of the operation in the document.
        about: what it is for.
        run: does it.
        answers: of success.
        refusals: statuses besides those that any operation may end in.
        place: fields of the path.
        query: fields of the query.
        fields: of a JSON body; None without one.
        pictures: media types of a body that is a picture.
        is_open: whether it needs no token.
    """

    method: str
    path: str
    name: str
    about: str
    run: Callable[[Site, Call], Awaitable[Response]]
    answers: tuple[Answer, ...]
    refusals: tuple[int, ...] = ()
    place: tuple[Text, ...] = ()
    query: tuple[Whole, ...] = ()
    fields: tuple[Field, ...] | None = None
    pictures: tuple[str, ...] = field(default=())
    is_open: bool = False


def routes_of(site: Site, operations: Sequence[Operation]) -> list[Route]:
    """Starlette's routes: one for each path, so that it knows which methods a path has."""
    by_path: dict[str, dict[str, Operation]] = {}
    for operation in operations:
        by_path.setdefault(operation.path, {})[operation.method] = operation
    return [
        Route(path, _endpoint(site, methods), methods=list(methods))
        for path, methods in by_path.items()
    ]


def json_answer(value: Any, status: int = 200) -> Response:
    """A value of `plain` as an answer that nobody may keep."""
    return Response(json_bytes(value), status, {"Cache-Control": "no-store"}, JSON)


def _endpoint(
    site: Site, methods: Mapping[str, Operation]
) -> Callable[[Request], Awaitable[Response]]:
    async def endpoint(request: Request) -> Response:
        operation = methods["GET" if request.method == "HEAD" else request.method]
        if not operation.is_open:
            site.keeper.require(request)
        values = read_path(operation.place, request.path_params)
        values |= read_query(operation.query, request.query_params.multi_items())
        if operation.pictures:
            return await _with_picture(site, operation, request, values)
        if operation.fields is not None:
            _require_type(request, (JSON,))
            body = await read_body(site, request, site.limits.json_bytes)
            values |= read_object(operation.fields, body)
        elif operation.method != "GET" and _has_body(request):
            raise bad_request("The request has a body.", "It has none.")
        return await operation.run(site, Call(request, values))

    return endpoint


async def _with_picture(
    site: Site, operation: Operation, request: Request, values: Mapping[str, Any]
) -> Response:
    media_type = _require_type(request, operation.pictures)
    site.count_frame(request)
    async with site.frames.one():
        async with site.pictures.one():
            body = await read_body(site, request, site.limits.picture_bytes)
            try:
                picture = await site.workshop.run(partial(read_picture, body, media_type))
            except DataError:
                site.device.refused()
                raise
        return await operation.run(site, Call(request, values, picture))


async def read_body(site: Site, request: Request, limit: int) -> bytes:
    """The body of a request.

    Args:
        site: with its limits.
        request: whose body was not read yet.
        limit: bytes.

    Raises:
        RefusalError: 413 for a longer one, 408 for one that takes too long or is cut off.
    """
    announced = request.headers.get("Content-Length", "0")
    if len(announced) > 15 or int(announced) > limit:
        raise _too_long(limit)
    content = bytearray()
    try:
        async with asyncio.timeout(site.limits.body_s):
            async for part in request.stream():
                content += part
                if len(content) > limit:
                    raise _too_long(limit)
    except (TimeoutError, ClientDisconnect) as error:
        found = "The body did not come, or not all of it."
        rule = f"It is there within {site.limits.body_s:g} s."
        raise RefusalError(408, Trouble("request", found, rule, "Send it again.")) from error
    return bytes(content)


def _too_long(limit: int) -> RefusalError:
    rule = f"At most {limit:,} bytes are expected."
    trouble = Trouble("request", "The body is too long.", rule, "Send a shorter one.")
    return RefusalError(413, trouble)


def _has_body(request: Request) -> bool:
    return (
        request.headers.get("Content-Length", "0") != "0" or "Transfer-Encoding" in request.headers
    )


def _require_type(request: Request, expected: tuple[str, ...]) -> str:
    """The media type of a body, if it is one of those expected."""
    found = request.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    if found not in expected:
        types = " or ".join(expected)
        trouble = Trouble(
            "request",
            f"Content-Type is {ascii(found)[:80]}." if found else "There is no Content-Type.",
            f"It is {types}.",
            f"Send the header Content-Type: {types}.",
        )
        raise RefusalError(415, trouble)
    return found
