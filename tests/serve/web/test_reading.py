"""What can be asked for: the newest snapshot in JSON, pictures, the page's files."""

from __future__ import annotations

import io
import math
from dataclasses import asdict
from importlib import resources

import httpx
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image
from prometheus_client.parser import text_string_to_metric_families

from sel_edge.core.errors import StorageError
from sel_edge.runtime.samples import LabelDesk
from sel_edge.runtime.samples.desk import SAMPLES_FILE
from sel_edge.serve.snapshot import PHASES
from sel_edge.serve.web.pictures import png_of, view_of
from sel_edge.serve.web.settings import Limits
from sel_edge.serve.web.wire import json_bytes, plain
from tests.serve.stage import Script
from tests.serve.web.visit import until, visit


@pytest.fixture(scope="module")
def lively():
    with visit() as found:
        yield found


@pytest.fixture(scope="module")
def bare():
    with visit(Script(bare=True)) as found:
        yield found


@pytest.fixture(scope="module")
def signals():
    with visit(Script(signals=True)) as found:
        yield found


def as_json(value):
    return httpx.Response(200, content=json_bytes(value)).json()


def metrics_of(client: httpx.Client) -> dict[tuple[str, ...], float]:
    """(name, values of its labels in the order of their names...) -> value."""
    families = text_string_to_metric_families(client.get("/metrics").text)
    return {
        (sample.name, *(value for _, value in sorted(sample.labels.items()))): sample.value
        for family in families
        for sample in family.samples
    }


@pytest.mark.parametrize("name", ["lively", "bare", "signals"])
def test_status_points_and_events_are_the_snapshot(request, name):
    found = request.getfixturevalue(name)
    snapshot = as_json(found.stage.snapshot())
    status, points, events = (
        found.client.get(f"/api/v1/{path}").json() for path in ("status", "points", "events")
    )
    assert status == {k: v for k, v in snapshot.items() if k not in ("points", "events")}
    assert events["events"] == snapshot["events"]
    assert [point["frame"] for point in points["points"]] == [
        point["frame"] for point in snapshot["points"]
    ]
    for told, known in zip(points["points"], snapshot["points"], strict=True):
        assert told["values"] == pytest.approx(known["values"], abs=1e-4)


@pytest.mark.parametrize("limit", [1, 3, 200])
def test_the_newest_events_come_last(lively, limit):
    events = lively.client.get(f"/api/v1/events?limit={limit}").json()["events"]
    assert events == as_json(lively.stage.snapshot().events[-limit:])


def test_readiness_follows_the_worker_and_its_ticks(lively):
    ready = lively.client.get("/readyz")
    assert (ready.status_code, ready.json()["ready"]) == (200, True)
    lively.stage.fail("the disk is full")
    sick = lively.client.get("/readyz")
    assert (sick.status_code, sick.json()["error"]) == (503, "the disk is full")
    lively.stage.fail("")
    lively.stage.turn("learning")
    assert lively.client.get("/readyz").status_code == 200
    for phase in ("starting", "stopping"):
        lively.stage.turn(phase)
        assert lively.client.get("/readyz").status_code == 503
    lively.stage.turn("running")
    assert lively.client.get("/readyz").json()["first_answer"] is True


def test_an_idle_source_is_ready_once_the_network_was_tried(bare):
    bare.stage.turn("starting")
    assert bare.client.get("/readyz").json()["first_answer"] is False
    bare.stage.turn("running")
    answer = bare.client.get("/readyz")
    assert (answer.status_code, answer.json()["first_answer"]) == (200, True)


def test_health_is_that_of_the_worker(lively):
    assert lively.client.get("/healthz").json() == {"alive": True}
    lively.stage.script.dead = True
    assert lively.client.get("/healthz").status_code == 503
    lively.stage.script.dead = False


def test_metrics_are_the_snapshot_in_prometheus_words(lively):
    snapshot = lively.stage.snapshot()
    found = metrics_of(lively.client)
    assert found["sel_edge_frames_total",] == snapshot.flow.seen
    assert found["sel_edge_frames_dropped_total",] == snapshot.flow.dropped
    for name, windows in snapshot.embarrassment.items():
        assert found["sel_edge_embarrassment_nats", name, "standin"] == windows.standin
        assert found.get(("sel_edge_embarrassment_nats", name, "exact")) == windows.exact
    for spent in snapshot.spent:
        key = ("sel_edge_energy_joules_total", spent.energy.origin, spent.purpose)
        assert found[key] == pytest.approx(spent.energy.joules)
    for balance in snapshot.balances:
        units = {"flops_per_day": "flops", "flash_writes_per_day": "writes"}
        unit = units.get(balance.resource, "joules")
        assert found[f"sel_edge_wallet_left_{unit}", balance.resource] == balance.left
    assert found["sel_edge_processor_celsius",] == snapshot.celsius
    phases = {key[1]: value for key, value in found.items() if key[0] == "sel_edge_phase"}
    assert phases == {phase: float(phase == snapshot.phase) for phase in PHASES}
    assert 'sel_edge_phase{phase="running"} 1.0' in lively.client.get("/metrics").text
    assert found["process_resident_memory_bytes",] > 0


def test_answered_requests_are_counted_by_status(lively):
    before = metrics_of(lively.client)
    for path in ("/healthz", "/nothing", "/nothing"):
        lively.client.get(path)
    after = metrics_of(lively.client)
    key = "sel_edge_http_requests_total"
    assert after[key, "404"] - before.get((key, "404"), 0) == 2
    assert after[key, "200"] - before.get((key, "200"), 0) >= 2


def test_hostile_class_names_stay_names_everywhere():
    names = ('"} evil 1\n', "<script>alert(1)</script>", "naïve \u2028 名前", "back\\slash")
    with visit(Script(classes=names)) as found:
        assert found.client.get("/api/v1/status").json()["classes"] == list(names)
        told = {key[1] for key in metrics_of(found.client) if key[0].endswith("normal_nats")}
        assert told == set(names)
        answer = found.client.get("/api/v1/view").headers["X-Frame-Answer"]
        assert found.stage.snapshot().answer is not None
        assert httpx.Response(200, text=answer).json()["prediction"] in names


def test_the_view_is_the_newest_frame(lively):
    lively.stage.step()
    newest, frame = lively.stage.view()
    answer = lively.client.get("/api/v1/view")
    assert answer.headers["X-Frame-Number"] == str(newest.frame)
    assert httpx.Response(200, text=answer.headers["X-Frame-Answer"]).json() == as_json(newest)
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(answer.content))), frame)


def test_before_the_first_frame_there_is_nothing_to_see_and_no_error(bare):
    answer = bare.client.get("/api/v1/view")
    assert (answer.status_code, answer.content) == (204, b"")
    assert bare.client.get("/api/v1/queue").json()["frames"] == []


@pytest.mark.parametrize("name", ["lively", "signals"])
def test_the_queue_is_the_desks_and_its_pictures_are_the_frames(request, name):
    found = request.getfixturevalue(name)
    with LabelDesk(found.stage.state / SAMPLES_FILE) as desk:
        waiting = desk.queue(5)
    told = found.client.get("/api/v1/queue?limit=5").json()
    assert [each["id"] for each in told["frames"]] == [each.id for each in waiting]
    assert told["classes"] == list(found.stage.snapshot().classes)
    for each in waiting:
        answer = found.client.get(f"/api/v1/queue/{each.id}/picture")
        assert answer.headers["Content-Type"] == "image/png"
        assert answer.content == png_of(each.frame)


@pytest.mark.parametrize(
    ("name", "status"),
    [
        ("f1-00000000", 404),
        ("f1", 400),
        ("1", 400),
        ("..%2f..%2fledger.sqlite", 404),
        ("f1-00000000%00", 400),
        ("F1-00000000", 400),
        ("f" + "1" * 19 + "-00000000", 400),
    ],
)
def test_pictures_of_nothing_are_not_made(lively, name, status):
    assert lively.client.get(f"/api/v1/queue/{name}/picture").status_code == status


def test_history_is_that_of_the_slots(lively):
    told = lively.client.get("/api/v1/history").json()
    assert told["current"] == lively.stage.snapshot().network
    assert told["entries"]
    assert told["base"] == lively.stage.snapshot().bundle


def test_a_device_that_kept_nothing_has_an_empty_history(bare):
    assert bare.client.get("/api/v1/history").json()["entries"] == []


@pytest.mark.parametrize(
    "query",
    [
        *("limit=0", "limit=257", "limit=-1", "limit=1.0", "limit=", "limit=+1", "limit=%D9%A1"),
        *("limit=1&limit=2", "other=1", "limit=1&other", "=1", "limit=99999999999999999999"),
    ],
)
def test_queries_are_read_strictly(lively, query):
    assert lively.client.get(f"/api/v1/queue?{query}").status_code == 400


@pytest.mark.parametrize(
    "path",
    [
        *("/..", "/../snapshot.py", "/%2e%2e/snapshot.py", "/page.css/../../snapshot.py"),
        *("//etc/passwd", "/index.html/", "/.", "/page", "/__init__.py", "/%00", "/api/v1/status/"),
    ],
)
def test_no_path_leads_anywhere_else(lively, path):
    with lively.connect() as bare:
        bare.sendall(
            f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode()
        )
        assert bare.recv(65536).startswith(b"HTTP/1.1 404 ")


def test_the_page_is_served_byte_by_byte_and_only_if_it_changed(lively):
    folder = resources.files("sel_edge.serve") / "page"
    files = {entry.name: entry.read_bytes() for entry in folder.iterdir() if entry.is_file()}
    for name, content in {**files, "": files["index.html"]}.items():
        answer = lively.client.get(f"/{name}")
        assert answer.content == content
        known = {"If-None-Match": f'"other", {answer.headers["ETag"]}'}
        again = lively.client.get(f"/{name}", headers=known)
        assert (again.status_code, again.content) == (304, b"")
    assert lively.client.get("/modules/page.js").status_code == 404


def test_a_head_has_the_headers_and_no_body(lively):
    for path in ("/", "/healthz", "/api/v1/status", "/api/v1/stream"):
        answer = lively.client.head(path)
        assert (answer.status_code, answer.content) == (200, b"")


@given(
    hnp.arrays(
        np.float32,
        st.tuples(st.integers(1, 8), st.integers(1, 700)),
        elements=st.floats(width=32, allow_nan=True, allow_infinity=True),
    )
)
def test_any_signal_can_be_drawn(signal):
    content, media_type = view_of(signal)
    assert media_type == "image/png"
    assert Image.open(io.BytesIO(content)).size == (640, 320)


@given(st.integers(1, 1500), st.integers(1, 1500), st.sampled_from([1, 3]))
def test_any_picture_can_be_seen_at_most_640_pixels_wide(height, width, channels):
    content, _ = view_of(np.zeros((height, width, channels), np.uint8))
    shown = Image.open(io.BytesIO(content))
    assert shown.width == min(width, 640)
    assert math.isclose(shown.height, max(1, height * shown.width / width), abs_tol=0.51)


@given(st.recursive(st.none() | st.floats() | st.text() | st.integers(), st.lists, max_leaves=9))
def test_json_has_no_number_that_json_lacks(value):
    def expected(part):
        if isinstance(part, list):
            return [expected(each) for each in part]
        return None if isinstance(part, float) and not math.isfinite(part) else part

    assert as_json(value) == expected(value) == plain(value)


def test_trouble_of_the_device_is_told_and_not_hidden(lively, monkeypatch):
    error = StorageError("The disk is full.", "Nothing was changed.", "Free some space.")

    def fail(*_):
        raise error

    monkeypatch.setattr("sel_edge.serve.web.reading.LabelDesk", fail)
    answer = lively.client.get("/api/v1/queue")
    assert answer.status_code == 507
    assert answer.json()["error"] == {
        "kind": "storage",
        "found": error.found,
        "expected": error.expected,
        "action": error.action,
    }


def test_a_mistake_of_the_server_ends_in_one_plain_sentence(lively, monkeypatch, caplog):
    def fail(*_):
        raise ZeroDivisionError("secret details")

    monkeypatch.setattr("sel_edge.serve.web.reading.LabelDesk", fail)
    answer = lively.client.get("/api/v1/queue")
    assert (answer.status_code, answer.json()["error"]["kind"]) == (500, "bug")
    assert "secret" not in answer.text
    assert answer.headers["Connection"] == "close"
    assert until(lambda: "ZeroDivisionError" in caplog.text)
    assert answer.headers["X-Content-Type-Options"] == "nosniff"


def test_work_that_piles_up_is_refused_and_the_rest_goes_on(monkeypatch):
    with visit(limits=Limits(work=0)) as found:
        assert found.client.get("/api/v1/queue").status_code == 503
        assert found.client.get("/healthz").status_code == 200


def test_snapshots_and_their_parts_are_plain_data(lively):
    snapshot = lively.stage.snapshot()
    assert plain(snapshot.flow) == asdict(snapshot.flow)
