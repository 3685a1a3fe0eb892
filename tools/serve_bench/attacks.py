"""The requests that mean no good, byte by byte."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterable

import numpy as np
from PIL import Image

from sel_edge.serve.web.routes import OPERATIONS
from tools.serve_bench.hostile import Attack

FRAMES, ROLLBACK, LABEL = "/api/v1/frames", "/api/v1/rollback", "/api/v1/queue/f1-00000000"
PNG, JSON = "Content-Type: image/png", "Content-Type: application/json"
NO_HTTP = (0, 400)
"""What is no HTTP may be told so, or nothing at all."""
TOO_LONG = (0, 400, 413, 414, 431)


def with_token(token: str) -> list[Attack]:
    """All that is tried on a device with a token."""
    own = f"Authorization: Bearer {token}"
    kinds = (_large, _no_http, _json, _pictures, _paths, _slow)
    return [*_strangers(), *(attack for kind in kinds for attack in kind(own))]


def without_token() -> list[Attack]:
    """What pages of other sites try on a device without a token."""
    evil = "http://evil.example"
    tried: list[tuple[str, str, list[str]]] = [
        ("a foreign name", "evil.example", []),
        ("a name that begins well", "localhost.evil.example", []),
        ("a name with a user", "localhost@evil.example", []),
        ("another site's page", "localhost", [f"Origin: {evil}"]),
        ("a page from nowhere", "localhost", ["Origin: null"]),
        ("a page of another port", "localhost", ["Origin: http://localhost:1"]),
        ("what a browser calls foreign", "localhost", ["Sec-Fetch-Site: cross-site"]),
        ("a form", "localhost", ["Content-Type: text/plain"]),
    ]
    return [
        _attack(
            f"rollback by {name}",
            _request("POST", ROLLBACK, *headers, JSON, host=host, body=b'{"to": null}'),
            (400, 403, 415, 421),
        )
        for name, host, headers in tried
    ]


def _attack(name: str, sent: bytes, wanted: Iterable[int], drip: bytes = b"") -> Attack:
    return Attack(name, sent, frozenset(wanted), drip)


def _request(
    method: str, path: str, *headers: str, host: str = "localhost", body: bytes | None = None
) -> bytes:
    """A request that is answered with the connection's end."""
    lines = [f"{method} {path} HTTP/1.1", f"Host: {host}", "Connection: close", *headers]
    if body is not None:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + (body or b"")


def _strangers() -> list[Attack]:
    """Nothing that needs the token is done or told without it."""
    found = []
    for operation in OPERATIONS:
        if not operation.is_open:
            path = operation.path.replace("{id}", "f1-00000000")
            sent = _request(operation.method, path)
            found.append(_attack(f"{operation.name} without token", sent, (401,)))
    shown = {
        "wrong": "Bearer wrong-wrong-wrong-wrong",
        "empty": "Bearer ",
        "basic": "Basic dXNlcjpwYXNz",
        "not ASCII": "Bearer \xff\xfe\xe9" * 9,
        "long": "Bearer " + 12_000 * "a",
    }
    for name, value in shown.items():
        sent = _request("GET", "/api/v1/status", f"Authorization: {value}")
        found.append(_attack(f"a token that is {name}", sent, (400, 401)))
    cookies = "Cookie: sel_edge_session=x; sel_edge_session_8765=" + 43 * "A"
    found.append(_attack("a made-up session", _request("GET", "/api/v1/status", cookies), (401,)))
    sent = _request("GET", "/api/v1/status?token=abc")
    return [*found, _attack("a token in the URL", sent, (400,))]


def _large(own: str) -> list[Attack]:
    chunk = b"10000\r\n" + bytes(0x10000) + b"\r\n"
    chunked = ("POST", FRAMES, own, PNG, "Transfer-Encoding: chunked")
    return [
        _attack(
            "JSON of 1 MB",
            _request("POST", ROLLBACK, own, JSON, body=b'{"to":"' + 1_000_000 * b"a" + b'"}'),
            (413,),
        ),
        _attack(
            "10 GB announced",
            _request("POST", FRAMES, own, PNG, f"Content-Length: {10**10}"),
            (413,),
        ),
        _attack(
            "a length of 400 digits",
            _request("POST", FRAMES, own, PNG, f"Content-Length: {'9' * 400}"),
            (0, 400, 413),
        ),
        _attack("chunks without end", _request(*chunked) + 200 * chunk, (413,)),
        _attack("a URL of 100 KB", _request("GET", "/" + 100_000 * "a", own), TOO_LONG),
        _attack("a header of 100 KB", _request("GET", "/healthz", f"X: {100_000 * 'a'}"), TOO_LONG),
        _attack(
            "5000 headers",
            _request("GET", "/healthz", *(f"X-{n}: 1" for n in range(5000))),
            TOO_LONG,
        ),
    ]


def _no_http(own: str) -> list[Attack]:
    body = b'{"to": null}'
    lengths = ("Content-Length: 12", "Content-Length: 13")
    post = ("POST", ROLLBACK, own, JSON)
    sent = {
        "noise": bytes(np.random.default_rng(0).integers(0, 256, 4096, np.uint8)) + b"\r\n\r\n",
        "TLS": bytes.fromhex("16030100a5010000a10303") + bytes(160) + b"\r\n\r\n",
        "HTTP/9.9": b"GET / HTTP/9.9\r\nHost: localhost\r\n\r\n",
        "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        "no host": b"GET /healthz HTTP/1.1\r\n\r\n",
        "two hosts": _request("GET", "/healthz", "Host: evil.example"),
        "two lengths": _request(*post, *lengths) + body,
        "length and chunks": _request(*post, "Transfer-Encoding: chunked", body=b"0\r\n\r\n"),
        "two codings": _request(*post, "Transfer-Encoding: gzip, chunked") + b"0\r\n\r\n",
        "a negative length": _request(*post, "Content-Length: -1") + body,
        "a length in hex": _request(*post, "Content-Length: 0x0c") + body,
        "a chunk of no size": _request(*post, "Transfer-Encoding: chunked") + b"zz\r\n\r\n",
        "a bare carriage return": b"GET /healthz HTTP/1.1\nHost: localhost\nX: a\rb\n\n",
        "a NUL in a header": _request("GET", "/healthz", "X: a\0b"),
        "a space in a name": _request("GET", "/healthz", "X : 1"),
    }  # fmt: skip
    return [_attack(name, content, NO_HTTP) for name, content in sent.items()]


def _json(own: str) -> list[Attack]:
    bodies: dict[str, bytes] = {
        "nothing": b"",
        "half": b'{"to": ',
        "an array": b"[]",
        "a number": b"1",
        "another type": b'{"to": 1}',
        "an unknown key": b'{"to": null, "x": 1}',
        "no key": b"{}",
        "a key twice": b'{"to": null, "to": "bundle"}',
        "NaN": b'{"to": NaN}',
        "10^5 brackets": 5000 * b"[" + 5000 * b"]",
        "a long number": b'{"to": ' + 5000 * b"9" + b"}",
        "no UTF-8": b'{"to": "\xff\xfe"}',
        "a lone surrogate": b'{"to": "\\ud800"}',
        "a NUL": b'{"to": "\\u0000"}',
        "a path": b'{"to": "../../../../etc/passwd"}',
    }  # fmt: skip
    found = [
        _attack(f"JSON: {name}", _request("POST", ROLLBACK, own, JSON, body=body), (400,))
        for name, body in bodies.items()
    ]
    zipped = _request("POST", ROLLBACK, own, JSON, "Content-Encoding: gzip", body=_bomb()[:1000])
    plain = _request("POST", ROLLBACK, own, "Content-Type: text/html", body=b'{"to": null}')
    return [
        *found,
        _attack("JSON: zipped", zipped, (400, 415)),
        _attack("JSON: as HTML", plain, (415,)),
        _attack("a label with a line feed", _labelled(own, b'"a\\nb"'), (400,)),
        _attack("a label of 10 KB", _labelled(own, b'"' + 10_000 * b"a" + b'"'), (400,)),
    ]


def _labelled(own: str, label: bytes) -> bytes:
    return _request("POST", LABEL, own, JSON, body=b'{"label": ' + label + b"}")


def _pictures(own: str) -> list[Attack]:
    image = Image.fromarray(np.zeros((32, 32, 3), np.uint8))
    png, jpeg = _file(image, "PNG"), _file(image, "JPEG")
    bodies = {
        "nothing": b"",
        "noise": bytes(range(256)) * 8,
        "half a PNG": png[: len(png) // 2],
        "a JPEG named PNG": jpeg,
        "a GIF": _file(image.convert("P"), "GIF"),
        "a TIFF": _file(image, "TIFF"),
        "SVG": b'<svg xmlns="http://www.w3.org/2000/svg"><image href="file:///etc/passwd"/></svg>',
        "PostScript": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(/etc/passwd) run\n",
        "65535 x 65535 pixels": _png(65_535, 65_535, b""),
        "a bomb": _png(20_000, 20_000, _bomb()),
        "no pixels": _png(0, 0, b""),
        "16 bits": _file(Image.fromarray(np.zeros((9, 9), np.uint16)), "PNG"),
        "a comment that is a bomb": _png(32, 32, b"", _chunk(b"zTXt", b"a\0\0" + _bomb())),
    }  # fmt: skip
    found = [
        _attack(f"a picture: {name}", _request("POST", FRAMES, own, PNG, body=body), (400, 413))
        for name, body in bodies.items()
    ]
    webp = _request("POST", FRAMES, own, "Content-Type: image/webp", body=png)
    return [*found, _attack("a picture: WebP", webp, (415,))]


def _file(image: Image.Image, form: str) -> bytes:
    file = io.BytesIO()
    image.save(file, form)
    return file.getvalue()


def _bomb() -> bytes:
    """100 MB that compress to 100 KB."""
    packer = zlib.compressobj(9)
    return b"".join([packer.compress(bytes(10**6)) for _ in range(100)]) + packer.flush()


def _chunk(name: bytes, content: bytes) -> bytes:
    checked = name + content
    return struct.pack(">I", len(content)) + checked + struct.pack(">I", zlib.crc32(checked))


def _png(width: int, height: int, packed: bytes, extra: bytes = b"") -> bytes:
    """A gray PNG that says to be of some size, with these compressed pixels."""
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    chunks = _chunk(b"IHDR", header) + extra + _chunk(b"IDAT", packed) + _chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunks


def _paths(own: str) -> list[Attack]:
    tricks = (
        "/../../../../etc/passwd",
        "/..%2f..%2f..%2fetc%2fpasswd",
        "/%2e%2e/%2e%2e/%2e%2e/etc/passwd",
        "/%252e%252e/etc/passwd",
        "//etc/passwd",
        "/..\\..\\..\\etc\\passwd",
        "/page.css/../../settings.py",
        "/page.css%00.js",
        "/PAGE.CSS",
        "/.git/config",
        "/index.html/",
        "/api/v1/queue/..%2f..%2f..%2fkey.pem/picture",
        "/api/v1/queue/../../key.pem/picture",
        "/api/v1/queue/f1-00000000%0d%0aX:%201/picture",
        "/api/v1/../v1/../../key.pem",
        "http://evil.example/../etc/passwd",
        "*",
    )
    found = [
        _attack(f"path {path}", _request("GET", path, own), (400, 404, 405)) for path in tricks
    ]
    queries = (
        "limit=-1",
        "limit=1e9",
        "limit=1&limit=2",
        f"limit={'9' * 5000}",
        "x=1",
        "limit=%00",
    )
    found += [
        _attack(f"query {query[:16]}", _request("GET", f"/api/v1/queue?{query}", own), (400,))
        for query in queries
    ]
    found += [
        _attack(f"method {method}", _request(method, "/api/v1/status", own), (400, 404, 405, 501))
        for method in ("TRACE", "CONNECT", "PUT", "PATCH", "DELETE", "PROPFIND", "get")
    ]
    return found


def _slow(own: str) -> list[Attack]:
    """Clients that keep a connection, and what they hold on to, for ever."""
    begun = _request("POST", FRAMES, own, PNG, "Content-Length: 100000")
    json = _request("POST", ROLLBACK, own, JSON, "Content-Length: 1000")
    chunks = _request("POST", FRAMES, own, PNG, "Transfer-Encoding: chunked")
    return [
        _attack("slow: a body", begun, (408,), b"a"),
        _attack("slow: JSON", json, (408,), b" "),
        _attack("slow: chunks", chunks, (408,), b"1\r\na\r\n"),
        _attack("slow: headers", b"GET / HTTP/1.1\r\nHost: localhost\r\n", (0, 408), b"X: 1\r\n"),
        _attack("slow: a first line", b"GET /", (0, 400, 408), b"a"),
        _attack("slow: line feeds", b"\r\n", (0, 400, 408), b"\r\n"),
    ]
