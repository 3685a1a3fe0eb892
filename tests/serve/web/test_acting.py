"""What changes something: labels, learning, going back, frames by HTTP."""

from __future__ import annotations

import io
import struct
import zlib
from concurrent.futures import Future
from threading import Thread

import httpx
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from sel_edge.core.errors import BundleError, DataError, RunDirectoryError, StorageError
from sel_edge.runtime.samples import LabelDesk
from sel_edge.runtime.samples.desk import SAMPLES_FILE
from sel_edge.serve.web.pictures import ACCEPTED, KEPT_SIDE, MAX_PIXELS, read_picture
from sel_edge.serve.web.settings import Limits
from tests.serve.scenery import picture
from tests.serve.stage import Script
from tests.serve.web.visit import until, visit


@pytest.fixture
def device():
    with visit() as found:
        yield found


@pytest.fixture(scope="module")
def shared():
    with visit(limits=Limits(wait_s=0.05)) as found:
        yield found


def first_waiting(found) -> str:
    return str(found.client.get("/api/v1/queue?limit=1").json()["frames"][0]["id"])


def encoded(pixels: np.ndarray, form: str, **options: object) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, form, **options)
    return file.getvalue()


def png_that_says(width: int, height: int, depth: int = 8, colour: int = 2) -> bytes:
    """A small file that claims any size."""

    def chunk(name: bytes, content: bytes) -> bytes:
        crc = zlib.crc32(name + content)
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", crc)

    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    data = zlib.compress(bytes(100_000))
    start = b"\x89PNG\r\n\x1a\n"
    return start + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def send(found, content: bytes, media_type: str = "image/png") -> httpx.Response:
    headers = {"Content-Type": media_type}
    return found.client.post("/api/v1/frames", content=content, headers=headers)


@pytest.mark.parametrize("label", ["cat", "fox", "名前", "<b>", "a" * 255, None])
def test_an_answer_is_in_the_store_when_it_is_confirmed(device, label):
    name = first_waiting(device)
    answer = device.client.post(f"/api/v1/queue/{name}", json={"label": label})
    assert answer.json() == {"id": name, "label": label, "effect": "new", "before": None}
    with LabelDesk(device.stage.state / SAMPLES_FILE) as desk:
        assert name not in {each.id for each in desk.queue(256)}
        counts = desk.counts()
    assert (counts.not_useful == 1) if label is None else (counts.labels[label] >= 1)
    queue = device.client.get("/api/v1/status").json()["queue"]
    assert queue["waiting"] == counts.waiting


def test_an_answer_can_be_taken_back_by_another_and_its_picture_stays(device):
    name = first_waiting(device)
    before = device.client.get(f"/api/v1/queue/{name}/picture").content
    device.client.post(f"/api/v1/queue/{name}", json={"label": "cat"})
    again = device.client.post(f"/api/v1/queue/{name}", json={"label": "dog"}).json()
    assert (again["effect"], again["before"]) == ("changed", "cat")
    assert device.client.get(f"/api/v1/queue/{name}/picture").content == before


@pytest.mark.parametrize(
    "body",
    [
        *(b"", b"{}", b"[]", b"null", b'"cat"', b'{"label":1}', b'{"label":""}', b'{"label":" "}'),
        *(b'{"label":"cat","other":1}', b'{"label":"cat","label":"dog"}', b'{"label":"a\\u0000b"}'),
        *(b'{"label":"a\\ud800b"}', b'{"label":"a\\u2028b"}', b'{"label":NaN}', b'{"label":"cat"'),
        *(b"\xff", b"[" * 5000, b'{"label":"' + b"a" * 256 + b'"}', b'{"Label":"cat"}'),
    ],
)
def test_answers_are_read_strictly(shared, body):
    before = shared.stage.snapshot().queue
    headers = {"Content-Type": "application/json"}
    name = first_waiting(shared)
    answer = shared.client.post(f"/api/v1/queue/{name}", content=body, headers=headers)
    assert answer.status_code == 400
    assert shared.client.get("/api/v1/status").json()["queue"]["waiting"] == before.waiting


@pytest.mark.parametrize("media_type", ["", "text/plain", "application/x-www-form-urlencoded"])
def test_a_form_of_another_page_is_no_answer(shared, media_type):
    headers = {"Content-Type": media_type}
    answer = shared.client.post(
        "/api/v1/queue/f1-00000000", content=b'{"label":"cat"}', headers=headers
    )
    assert answer.status_code == 415


def test_learning_on_request_tells_what_came_of_it_and_a_named_class_is_known(device):
    device.client.post(f"/api/v1/queue/{first_waiting(device)}", json={"label": "fox"})
    answer = device.client.post("/api/v1/adapt")
    assert (answer.status_code, answer.json()["done"]) == (200, True)
    assert answer.json()["sentences"]
    assert device.client.get("/api/v1/status").json()["classes"][-1] == "fox"
    assert device.client.get("/api/v1/events?limit=1").json()["events"][0]["kind"] == "keep"


def test_a_rollback_can_be_undone(device):
    newest = device.stage.snapshot().network
    bundle = device.client.post("/api/v1/rollback", json={"to": "bundle"}).json()
    assert bundle == {"done": True, "hash": device.stage.snapshot().network}
    back = device.client.post("/api/v1/rollback", json={"to": newest[:12]}).json()
    assert back == {"done": True, "hash": newest}
    undone = device.client.post("/api/v1/rollback", json={"to": None})
    assert undone.status_code == 200
    assert undone.json()["hash"] != newest


def test_a_network_that_nobody_knows_is_a_conflict(device):
    answer = device.client.post("/api/v1/rollback", json={"to": "0" * 64})
    assert (answer.status_code, answer.json()["error"]["kind"]) == (409, "bundle")


@pytest.mark.parametrize("to", ["", "BUNDLE", "0" * 7, "0" * 65, "g" * 8, "../../etc", 1, True])
def test_what_is_no_hash_is_not_looked_for(shared, to):
    assert shared.client.post("/api/v1/rollback", json={"to": to}).status_code == 400


@pytest.mark.parametrize(
    ("path", "body", "expected"),
    [
        ("rollback", {"to": "zz"}, "It is `bundle`, the 8 to 64 first digits of a hash, or null."),
        ("queue/f1", {"label": "cat"}, "It is the id of a frame, such as f12-0a1b2c3d."),
        ("session", {"token": "ä"}, "It is a text of at most 1024 visible ASCII characters"),
    ],
)
def test_what_a_field_may_be_is_said_in_words(shared, path, body, expected):
    error = shared.client.post(f"/api/v1/{path}", json=body).json()["error"]
    assert error["expected"].startswith(expected)


def test_an_answer_to_a_frame_that_is_not_there_says_that_it_is_late(device):
    answer = device.client.post("/api/v1/queue/f999999-0a1b2c3d", json={"label": "cat"}).json()
    assert answer["effect"] == "deferred"


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (BundleError("The bundle is damaged.", "A whole one.", "Mend it."), 409),
        (RunDirectoryError("No update was kept.", "One that was.", "Learn."), 409),
        (StorageError("The disk is full.", "Space.", "Make some."), 507),
        (DataError("No.", "Yes.", "Do."), 400),
    ],
)
@pytest.mark.parametrize("path", ["adapt", "reload", "rollback"])
def test_what_the_device_could_not_do_is_told_with_its_reason(shared, error, status, path):
    shared.stage.script.failure = error
    body = {"json": {"to": None}} if path == "rollback" else {}
    answer = shared.client.post(f"/api/v1/{path}", **body)
    shared.stage.script.failure = None
    assert (answer.status_code, answer.json()["error"]["found"]) == (status, error.found)


@pytest.mark.parametrize("path", ["adapt", "reload"])
def test_what_takes_no_body_takes_none(shared, path):
    assert shared.client.post(f"/api/v1/{path}", content=b"{}").status_code == 400


def test_what_takes_long_is_accepted_and_goes_on(shared, monkeypatch):
    future: Future[tuple[str, ...]] = Future()
    monkeypatch.setattr(shared.stage, "adapt", lambda: future)
    answer = shared.client.post("/api/v1/adapt")
    assert (answer.status_code, answer.json()) == (202, {"done": False, "sentences": []})
    assert not future.cancelled()
    future.set_exception(StorageError("Too late.", "", ""))  # nobody waits, and nothing is logged


@pytest.mark.parametrize(("media_type", "form"), ACCEPTED.items())
def test_a_picture_is_answered_and_shown(device, media_type, form):
    before = device.stage.snapshot().flow.seen
    pixels = picture(1, 2, 64)
    answer = send(device, encoded(pixels, form), media_type)
    assert answer.status_code == 200
    assert answer.json()["frame"] == before
    assert answer.json()["prediction"] in device.stage.snapshot().classes
    _, shown = device.stage.view()
    assert shown.shape == pixels.shape
    assert form == "JPEG" or np.array_equal(shown, pixels)


@pytest.mark.parametrize(
    ("content", "media_type", "status"),
    [
        (b"", "image/png", 400),
        (b"no picture", "image/png", 400),
        (png_that_says(2**31 - 1, 2**31 - 1), "image/png", 400),
        (png_that_says(50_000, 50_000), "image/png", 400),
        (png_that_says(4097, 4096), "image/png", 400),
        (png_that_says(0, 0), "image/png", 400),
        (png_that_says(64, 64), "image/jpeg", 400),
        (encoded(np.zeros((8, 8), np.uint16), "PNG"), "image/png", 400),
        (encoded(picture(0, 0), "PNG")[:-200], "image/png", 400),
        (encoded(picture(0, 0), "GIF"), "image/gif", 415),
        (encoded(picture(0, 0), "PNG"), "text/html", 415),
        (bytes(8 * 2**20 + 1), "image/png", 413),
    ],
    ids=lambda value: str(value)[:20],
)
def test_a_picture_that_cannot_be_used_or_would_burst_is_refused(
    shared, content, media_type, status
):
    before = shared.stage.snapshot().flow.seen
    assert send(shared, content, media_type).status_code == status
    assert shared.stage.snapshot().flow.seen == before


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b"", "The picture cannot be used. The body is empty."),
        (b"no picture", "The picture cannot be used. It is no PNG file."),
        (encoded(picture(0, 0), "JPEG"), "The picture cannot be used. It is no PNG file."),
    ],
)
def test_why_a_picture_cannot_be_used_is_said_in_words_and_counted(shared, content, found):
    before = shared.client.get("/api/v1/status").json()["flow"]["refused"]
    error = send(shared, content).json()["error"]
    assert error["found"] == found
    assert shared.client.get("/api/v1/status").json()["flow"]["refused"] == before + 1


@pytest.mark.parametrize(
    ("media_type", "found"),
    [("", "There is no Content-Type."), ("text/html", "Content-Type is 'text/html'.")],
)
def test_a_body_of_another_type_is_told_which_header_is_wanted(shared, media_type, found):
    error = send(shared, encoded(picture(0, 0), "PNG"), media_type).json()["error"]
    assert error["found"] == found
    assert error["action"] == "Send the header Content-Type: image/jpeg or image/png."


@given(st.binary(max_size=200), st.sampled_from(list(ACCEPTED)), st.integers(0, 500))
def test_no_file_does_more_than_be_refused(noise, media_type, cut):
    whole = bytearray(encoded(picture(0, 0), ACCEPTED[media_type]))
    whole[cut : cut + len(noise)] = noise
    for content in (noise, bytes(whole)):
        try:
            pixels = read_picture(content, media_type)
        except DataError as error:
            assert error.action
        else:
            assert pixels.dtype == np.uint8
            assert pixels.ndim == 3
            assert pixels.shape[2] in (1, 3)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK"])
def test_every_common_kind_of_picture_becomes_gray_or_colour(mode):
    file = io.BytesIO()
    form = "JPEG" if mode == "CMYK" else "PNG"
    Image.fromarray(picture(0, 0)).convert(mode).save(file, form)
    pixels = read_picture(file.getvalue(), f"image/{form.lower()}")
    assert pixels.shape == (32, 32, 1 if mode in ("1", "L", "LA") else 3)


def test_of_a_photo_no_more_is_kept_than_is_ever_looked_at():
    pixels = read_picture(encoded(np.zeros((1500, 3000, 3), np.uint8), "JPEG"), "image/jpeg")
    assert pixels.shape == (KEPT_SIDE // 2, KEPT_SIDE, 3)
    assert MAX_PIXELS >= 4056 * 3040  # a Raspberry Pi's HQ camera


def test_a_device_that_is_full_says_so_and_when_to_try_again(shared):
    shared.stage.script.busy = True
    answer = send(shared, encoded(picture(0, 0), "PNG"))
    shared.stage.script.busy = False
    assert (answer.status_code, answer.json()["error"]["kind"]) == (503, "busy")
    assert answer.headers["Retry-After"]


def test_a_device_with_a_camera_takes_no_frames_by_http():
    with visit(Script(source="camera")) as found:
        answer = send(found, encoded(picture(0, 0), "PNG"))
    assert (answer.status_code, answer.json()["error"]["kind"]) == (400, "data")


def test_a_frame_that_is_not_answered_in_time_is_not_answered_at_all(shared, monkeypatch):
    future: Future[object] = Future()
    monkeypatch.setattr(shared.stage, "submit", lambda _: future)
    assert send(shared, encoded(picture(0, 0), "PNG")).status_code == 503
    assert future.cancelled()


def test_only_so_many_frames_are_under_way_at_a_time(monkeypatch):
    with visit(limits=Limits(frames=1)) as found:
        future: Future[object] = Future()
        calls: list[object] = []

        def submit(picture: object) -> Future[object]:
            calls.append(picture)
            return future

        monkeypatch.setattr(found.stage, "submit", submit)
        content = encoded(picture(0, 0), "PNG")
        first = Thread(target=send, args=(found, content))
        first.start()
        assert until(lambda: bool(calls))
        with found.stranger() as other:
            headers = {"Content-Type": "image/png"}
            answer = other.post("/api/v1/frames", content=content, headers=headers)
        future.set_result(found.stage.view()[0])
        first.join()
        assert (answer.status_code, answer.json()["error"]["kind"]) == (503, "busy")


def test_frames_have_a_rate_of_their_own():
    with visit(limits=Limits(frames_per_s=2)) as found:
        statuses = [send(found, b"x").status_code for _ in range(4)]
        assert statuses[:2] == [400, 400]
        assert 429 in statuses
        assert found.client.get("/api/v1/status").status_code == 200
