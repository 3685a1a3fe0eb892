"""The OpenAPI document of a table of operations (OpenAPI 3.1.0)."""

from __future__ import annotations

from collections.abc import Sequence
from http import HTTPStatus
from typing import Any

from sel_edge import __version__
from sel_edge.serve.snapshot import Snapshot
from sel_edge.serve.web.fields import object_schema
from sel_edge.serve.web.messages import APART, Failure
from sel_edge.serve.web.operations import JSON, Answer, Operation
from sel_edge.serve.web.schemas import Schemas

ALWAYS = (400, 403, 421, 429, 431, 503)
"""Statuses that any operation may end in."""
WITH_TOKEN = (401,)
WITH_BODY = (408, 413, 415)


def document(operations: Sequence[Operation], cookie: str) -> dict[str, Any]:
    """All that can be asked for.

    Args:
        operations: the table.
        cookie: name of the session's cookie.
    """
    schemas = Schemas()
    schemas.without(Snapshot, APART)
    paths: dict[str, dict[str, Any]] = {}
    for operation in operations:
        paths.setdefault(operation.path, {})[operation.method.lower()] = _described(
            operation, schemas
        )
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "sel-edge",
            "version": __version__,
            "description": "A device that goes on learning: what it is embarrassed about, what "
            "it did about that, and what people can tell it.",
        },
        "servers": [{"url": "/"}],
        "security": [{"token": []}, {"session": []}],
        "paths": paths,
        "components": {
            "schemas": schemas.components,
            "securitySchemes": {
                "token": {"type": "http", "scheme": "bearer"},
                "session": {"type": "apiKey", "in": "cookie", "name": cookie},
            },
        },
    }


def _described(operation: Operation, schemas: Schemas) -> dict[str, Any]:
    statuses = {*ALWAYS, *operation.refusals}
    statuses |= set() if operation.is_open else set(WITH_TOKEN)
    body = _body(operation)
    statuses |= set(WITH_BODY) if body else set()
    failure = Answer(0, "Why not.", Failure)
    answers = {
        str(status): _answer(failure, schemas) | {"description": HTTPStatus(status).phrase}
        for status in sorted(statuses)
    }
    for answer in operation.answers:
        known = answers.get(str(answer.status))
        answers[str(answer.status)] = _either(_answer(answer, schemas), known)
    described = {
        "operationId": operation.name,
        "summary": operation.about,
        "parameters": [
            *(_parameter(field, "path") for field in operation.place),
            *(_parameter(field, "query") for field in operation.query),
        ],
        "responses": answers,
    }
    if operation.is_open:
        described["security"] = []
    return described | ({"requestBody": body} if body else {})


def _parameter(field: Any, place: str) -> dict[str, Any]:
    return {
        "name": field.name,
        "in": place,
        "required": place == "path",
        "description": field.about,
        "schema": field.schema(),
    }


def _body(operation: Operation) -> dict[str, Any] | None:
    if operation.fields is not None:
        content = {JSON: {"schema": object_schema(operation.fields)}}
    elif operation.pictures:
        content = {media: {} for media in operation.pictures}
    else:
        return None
    return {"required": True, "content": content}


def _answer(answer: Answer, schemas: Schemas) -> dict[str, Any]:
    described: dict[str, Any] = {"description": answer.about}
    if answer.content is not None:
        described["content"] = {JSON: {"schema": schemas.of(answer.content)}}
    elif answer.media:
        described["content"] = {media: {} for media in answer.media}
    return described


def _either(answer: dict[str, Any], refusal: dict[str, Any] | None) -> dict[str, Any]:
    """One status that stands for an answer and for a refusal as well."""
    if refusal is None:
        return answer
    both = [each["content"][JSON]["schema"] for each in (answer, refusal)]
    return answer | {"content": {JSON: {"schema": {"anyOf": both}}}}
