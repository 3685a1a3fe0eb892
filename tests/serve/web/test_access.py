"""Who may ask: with a token nobody else gets in, and without one nobody from elsewhere."""

from __future__ import annotations

import json
import string

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.requests import HTTPConnection

from sel_edge.core.errors import ConfigError
from sel_edge.serve.web import access
from sel_edge.serve.web.access import Keeper
from sel_edge.serve.web.headers import HEADERS
from sel_edge.serve.web.refusals import RefusalError
from sel_edge.serve.web.routes import OPERATIONS
from sel_edge.serve.web.settings import Limits, WebSettings, is_loopback
from tests.serve.web.visit import TOKEN, visit

VISIBLE = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1)


@pytest.fixture(scope="module")
def locked():
    with visit(token=TOKEN, limits=Limits(failures_per_min=1e6)) as found:
        yield found


@pytest.fixture(scope="module")
def local():
    with visit(allowed_hosts=("pi.local",)) as found:
        yield found


def connection(cookie: str = "", authorization: str | None = None, client: str = "10.0.0.1"):
    headers = [(b"cookie", cookie.encode())]
    if authorization is not None:
        headers.append((b"authorization", authorization.encode()))
    return HTTPConnection({"type": "http", "headers": headers, "client": (client, 1)})


def keeper(limits: Limits | None = None, clock=lambda: 0.0) -> Keeper:
    return Keeper(WebSettings(token=TOKEN, limits=limits or Limits()), 8765, clock)


def refused(found: Keeper, visitor: HTTPConnection) -> int | None:
    try:
        found.require(visitor)
    except RefusalError as error:
        return error.status
    return None


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda each: each.name)
def test_every_operation_asks_for_the_token_unless_it_says_otherwise(locked, operation):
    path = operation.path.format(id="f1-00000000")
    with locked.stranger() as stranger:
        answer = stranger.request(operation.method, path, headers={"Content-Type": "x/y"})
    assert (answer.status_code == 401) != operation.is_open
    if not operation.is_open:
        assert answer.headers["WWW-Authenticate"].startswith("Bearer")
        assert answer.json()["error"]["kind"] == "token"


def test_what_is_open_tells_nothing_of_classes_or_places(locked, monkeypatch):
    locked.stage.fail(f"Writing {locked.stage.snapshot().state} failed.")
    assert locked.stage.snapshot().state in locked.client.get("/readyz").json()["error"]
    monkeypatch.setattr(access, "is_loopback", lambda _: False)  # as if they came from elsewhere
    assert locked.stage.snapshot().state in locked.client.get("/readyz").json()["error"]
    with locked.stranger() as stranger:
        told = [stranger.get(path).text for path in ("/healthz", "/readyz", "/api/v1/session")]
    snapshot = locked.stage.snapshot()
    for text in told:
        assert not any(name in text for name in (*snapshot.classes, snapshot.state, TOKEN))
    locked.stage.fail("")


@given(VISIBLE)
def test_only_the_token_itself_is_the_token(text):
    assert refused(keeper(), connection(authorization=f"Bearer {text}")) == 401
    assert refused(keeper(), connection(authorization=f"{text} {TOKEN}")) in (401, None)
    assert refused(keeper(), connection(authorization=f"Bearer {TOKEN}")) is None


@given(st.binary(max_size=64), st.binary(max_size=64))
def test_no_header_is_too_strange_for_an_answer(authorization, cookie):
    headers = [(b"authorization", authorization), (b"cookie", cookie)]
    visitor = HTTPConnection({"type": "http", "headers": headers, "client": None})
    assert refused(keeper(), visitor) in (401, 429)


def test_a_session_is_a_cookie_for_this_site_that_scripts_cannot_read(locked):
    with locked.stranger() as browser:
        assert browser.get("/api/v1/status").status_code == 401
        assert browser.get("/api/v1/session").json() == {"token_needed": True, "signed_in": False}
        answer = browser.post("/api/v1/session", json={"token": TOKEN})
        assert (answer.status_code, answer.content) == (204, b"")
        cookie = answer.headers["Set-Cookie"]
        assert "HttpOnly" in cookie
        assert "SameSite=strict" in cookie
        assert TOKEN not in cookie
        assert browser.get("/api/v1/status").status_code == 200
        assert browser.get("/api/v1/session").json() == {"token_needed": True, "signed_in": True}
        browser.delete("/api/v1/session")
        assert browser.get("/api/v1/status").status_code == 401


def test_a_cookie_is_worth_nothing_after_signing_out_even_to_who_kept_it(locked):
    with locked.stranger() as browser:
        browser.post("/api/v1/session", json={"token": TOKEN})
        kept = dict(browser.cookies)
        browser.delete("/api/v1/session")
    assert httpx.get(f"{locked.url}/api/v1/status", cookies=kept).status_code == 401


def test_over_tls_the_cookie_never_goes_without(locked):
    host = locked.url.removeprefix("http://")
    headers = {"Origin": f"https://{host}"}
    answer = httpx.post(f"{locked.url}/api/v1/session", json={"token": TOKEN}, headers=headers)
    assert "Secure" in answer.headers["Set-Cookie"]


def test_sessions_end_by_time_and_the_oldest_makes_room():
    now = [0.0]
    found = keeper(Limits(sessions=2, session_s=100.0), lambda: now[0])
    first, second = (f"{found.cookie}={found.sign_in()}" for _ in range(2))
    assert refused(found, connection(first)) is None
    now[0] = 99.0
    third = f"{found.cookie}={found.sign_in()}"
    assert [refused(found, connection(c)) for c in (first, second, third)] == [401, None, None]
    now[0] = 100.0
    assert [refused(found, connection(c)) for c in (second, third)] == [401, None]


def test_guessing_is_slowed_down_and_the_right_token_always_let_in():
    """Behind a proxy all have one address."""
    now = [0.0]
    found = keeper(Limits(failures_per_min=3.0), lambda: now[0])
    wrong, right = (connection(authorization=f"Bearer {word}") for word in ("wrong", TOKEN))
    session = connection(f"{found.cookie}={found.sign_in()}")
    assert [refused(found, wrong) for _ in range(4)] == [401, 401, 401, 429]
    assert [refused(found, right), refused(found, wrong), refused(found, session)] == [
        *(None, 429, None)
    ]
    elsewhere = connection(authorization="Bearer wrong", client="10.0.0.2")
    assert refused(found, elsewhere) == 401
    now[0] = 21.0
    assert [refused(found, wrong), refused(found, wrong), refused(found, right)] == [401, 429, None]


@pytest.mark.parametrize("header", [TOKEN, f"Basic {TOKEN}", "Bearer", ""])
def test_what_is_no_bearer_token_was_no_guess(header):
    found = keeper(Limits(failures_per_min=1.0))
    for _ in range(3):
        with pytest.raises(RefusalError, match="No header `Authorization: Bearer TOKEN`"):
            found.require(connection(authorization=header))
    assert refused(found, connection(authorization="Bearer wrong")) == 401


def test_what_a_proxy_asks_for_stands_beside_the_session():
    now = [0.0]
    found = keeper(Limits(failures_per_min=1.0, session_s=100.0), lambda: now[0])
    cookie = f"{found.cookie}={found.sign_in()}"
    both = connection(cookie, authorization="Basic bWU6eW91")
    assert [refused(found, both) for _ in range(3)] == [None] * 3
    assert refused(found, connection(authorization="Basic bWU6eW91")) == 401
    now[0] = 100.0
    assert refused(found, both) == 401 and not found.still_may(both)


@pytest.mark.parametrize("query", ["token=x", "Token=x", "a=1&TOKEN=", "%74oken=x"])
def test_a_token_in_a_url_is_refused_wherever_it_stands(locked, query):
    for path in ("/", "/healthz", "/api/v1/status", "/nothing"):
        answer = locked.client.get(f"{path}?{query}")
        assert answer.status_code == 400
        assert "URL" in answer.json()["error"]["found"]


def test_no_token_and_no_guess_is_logged(locked, caplog, capfd):
    with locked.stranger() as stranger:
        stranger.get("/api/v1/status", headers={"Authorization": "Bearer my-secret-guess"})
        stranger.post("/api/v1/session", json={"token": "my-secret-guess"})
        stranger.post("/api/v1/session", content=b"{my-secret-guess")
        stranger.get("/api/v1/status?token=my-secret-guess")
        locked.client.get("/api/v1/status")
    printed = "".join([caplog.text, *capfd.readouterr()])
    assert "my-secret-guess" not in printed
    assert TOKEN not in printed
    assert TOKEN not in repr(WebSettings(token=TOKEN))


@pytest.mark.parametrize(
    ("host", "fits"),
    [
        ("localhost", True),
        ("LOCALHOST:1", True),
        ("127.0.0.1:80", True),
        ("127.9.9.9", True),
        ("[::1]:8765", True),
        ("pi.local", True),
        ("Pi.Local:99", True),
        ("evil.example", False),
        ("localhost.evil.example", False),
        ("127.0.0.1.evil.example", False),
        ("evil.example:80@localhost", False),
        ("192.168.0.7", False),
        ("0.0.0.0", False),  # noqa: S104
        ("[::]", False),
        ("", False),
    ],
)
def test_without_a_token_the_device_answers_to_its_own_names_only(local, host, fits):
    for path in ("/", "/api/v1/status", "/readyz"):
        answer = local.client.get(path, headers={"Host": host})
        assert answer.status_code == (200 if fits else 421), path


@pytest.mark.parametrize("name", ["locked", "local"])
@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:1"},
        {"Origin": "file://{host}"},
        {"Origin": "http://[", "Sec-Fetch-Site": "same-origin"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
)
def test_pages_of_other_sites_cannot_ask_in_the_name_of_a_visitor(request, name, headers):
    found = request.getfixturevalue(name)
    host = found.url.removeprefix("http://")
    sent = {key: value.format(host=host) for key, value in headers.items()}
    before = found.stage.snapshot().events
    assert found.client.post("/api/v1/adapt", headers=sent).status_code == 403
    assert found.stage.snapshot().events == before
    own = {"Origin": f"http://{host}", "Sec-Fetch-Site": "same-origin"}
    assert found.client.post("/api/v1/reload", headers=own).status_code == 200


@pytest.mark.parametrize(
    ("status", "first", "headers"),
    [
        (200, b"/healthz HTTP/1.1", [b"X: " + 10_000 * b"a"]),
        (431, b"/healthz HTTP/1.1", [b"X: " + 60_000 * b"a"]),
        (431, b"/healthz HTTP/1.1", [b"X-%d: a" % number for number in range(3000)]),
        (431, b"/healthz?" + 60_000 * b"a" + b" HTTP/1.1", []),
        (400, b"/healthz HTTP/9.9", []),
    ],
)
def test_headers_are_short_also_when_they_come_in_one_piece(locked, status, first, headers):
    with locked.connect() as connection:
        head = [b"GET " + first, b"Host: localhost", b"Connection: close", *headers, b"", b""]
        connection.sendall(b"\r\n".join(head))
        assert connection.recv(4096).startswith(b"HTTP/1.1 %d " % status)


def test_every_answer_has_the_headers_that_browsers_need(locked):
    with locked.stranger() as stranger:
        answers = [
            stranger.get("/healthz"),
            stranger.get("/api/v1/status"),
            stranger.get("/nothing"),
            stranger.request("TRACE", "/"),
            locked.client.get("/metrics"),
            locked.client.get("/api/v1/view"),
            locked.client.get("/healthz?token=1"),
        ]
    with locked.connect() as bare:
        bare.sendall(b"no http\r\n\r\n")
        raw = bare.recv(65536).decode()
    for name, value in HEADERS.items():
        assert all(answer.headers[name] == value for answer in answers)
        assert f"{name}: {value}" in raw
    assert not any("Server" in answer.headers for answer in answers)
    assert "unsafe" not in HEADERS["Content-Security-Policy"]


@given(st.text(string.printable, max_size=15))
def test_a_short_token_is_refused(text):
    with pytest.raises(ConfigError):
        WebSettings(token=text)


@pytest.mark.parametrize(
    "host",
    ["", "bad host/", "http://pi.local", "pi.local:8765", "[::1]", "*.local", "gerät", "a..b"],
)
def test_an_allowed_host_that_no_browser_would_send_is_refused(host):
    with pytest.raises(ConfigError, match="allow-host"):
        WebSettings(allowed_hosts=("pi.local", host))


@pytest.mark.parametrize("host", ["pi.local", "PI", "cam_1.lan.", "10.0.0.7", "fd00::7"])
def test_a_name_or_an_address_may_be_allowed(host):
    with visit(allowed_hosts=(host,)) as found:
        sent = f"[{host}]" if ":" in host else host
        assert found.client.get("/healthz", headers={"Host": sent}).status_code == 200


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.0.7", "pi.local", ""])  # noqa: S104
def test_what_others_can_reach_needs_a_token(host):
    with pytest.raises(ConfigError, match="token"):
        WebSettings(host)
    assert WebSettings(host, token=TOKEN).host == host
    assert not is_loopback(host)


def test_refusals_say_what_was_found_expected_and_can_be_done(locked):
    with locked.stranger() as stranger:
        error = json.loads(stranger.get("/api/v1/points").text)["error"]
    assert error.keys() == {"kind", "found", "expected", "action"}
    assert all(error.values())
