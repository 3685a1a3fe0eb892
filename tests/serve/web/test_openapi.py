"""The document is valid, says exactly what the server has, and the server does what it says."""

from __future__ import annotations

import io
from functools import partial

import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from openapi_spec_validator import validate
from PIL import Image
from schemathesis.specs.openapi.checks import positive_data_acceptance

from sel_edge.serve.web.openapi import document
from sel_edge.serve.web.pictures import ACCEPTED
from sel_edge.serve.web.routes import OPERATIONS
from sel_edge.serve.web.settings import Limits
from tests.serve.scenery import picture
from tests.serve.web.visit import TOKEN, visit


def encoded(form: str, image: Image.Image) -> bytes:
    file = io.BytesIO()
    image.save(file, form)
    return file.getvalue()


GENEROUS = Limits(requests_per_s=1e6, burst=1e6, frames_per_s=1e6, failures_per_min=1e6)
ENDLESS = "/api/v1/stream"
DOCUMENT = document(OPERATIONS, "sel_edge_session_0")
PICTURES = st.integers(0, 9).map(lambda kind: Image.fromarray(picture(0, kind)))
schema = schemathesis.openapi.from_dict(DOCUMENT)

for media_type, form in ACCEPTED.items():
    schemathesis.openapi.media_type(media_type, PICTURES.map(partial(encoded, form)))


@pytest.fixture(scope="module")
def served():
    with visit(token=TOKEN, limits=GENEROUS) as found:
        yield found


def test_the_document_is_valid():
    validate(DOCUMENT)


def test_the_server_gives_the_document_with_its_own_cookie(served):
    told = served.client.get("/api/v1/openapi.json").json()
    assert told == document(OPERATIONS, f"sel_edge_session_{served.server.port}")


def test_every_path_has_the_methods_of_the_document_and_no_other(served):
    for path, methods in DOCUMENT["paths"].items():
        answer = served.client.request("TRACE", path.format(id="f1-00000000"))
        allowed = {name.strip().lower() for name in answer.headers["Allow"].split(",")}
        assert allowed - {"head"} == set(methods), path


def test_the_status_tells_the_name_of_the_device():
    described = DOCUMENT["components"]["schemas"]["Snapshot"]
    assert described["properties"]["name"] == {"type": "string"}
    assert "name" in described["required"]


def test_every_operation_is_explained():
    for methods in DOCUMENT["paths"].values():
        for described in methods.values():
            assert described["summary"].endswith(".")
            assert all(each["description"] for each in described["responses"].values())
            assert all(each["description"] for each in described["parameters"])


def ask(case, found) -> None:
    """All of schemathesis' checks: nothing that the server did not mean, status, type and content
    as documented, wrong data refused, right data taken, the token really asked for."""
    headers = {"Authorization": f"Bearer {TOKEN}"}
    label = case.body.get("label") if isinstance(case.body, dict) else None
    # Which characters are printable depends on the edition of Unicode; Python's decides.
    disputed = isinstance(label, str) and not label.isprintable()
    excluded = [positive_data_acceptance] if disputed else []
    answer = case.call_and_validate(
        base_url=found.url, headers=headers, timeout=20, excluded_checks=excluded
    )
    assert answer.status_code != 429  # or nothing would be tried


@schema.exclude(path=ENDLESS).parametrize()
@settings(max_examples=8, derandomize=True, suppress_health_check=list(HealthCheck))
def test_whatever_is_asked_the_answer_is_as_documented(case, served):
    ask(case, served)


@pytest.mark.proof
@schema.exclude(path=ENDLESS).parametrize()
@settings(max_examples=300, suppress_health_check=list(HealthCheck))
def test_however_long_one_tries(case, served):
    ask(case, served)
