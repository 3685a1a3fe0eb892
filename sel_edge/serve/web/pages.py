"""The page's files, all of them read once; nothing else can be asked for."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import resources
from importlib.resources.abc import Traversable

from starlette.requests import Request
from starlette.responses import Response

from sel_edge.core.files import sha256_bytes

INDEX = "index.html"
TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".ico": "image/x-icon",
    ".webmanifest": "application/manifest+json",
}


@dataclass(frozen=True)
class PageFile:
    """One file of the page.

    Attributes:
        content: its bytes.
        media_type: of them.
        etag: changes with them.
    """

    content: bytes
    media_type: str
    etag: str

    def answer(self, request: Request) -> Response:
        """The file, or 304 if the client has it."""
        headers = {"ETag": self.etag, "Cache-Control": "no-cache"}
        known = {tag.strip() for tag in request.headers.get("If-None-Match", "").split(",")}
        if self.etag in known or "*" in known:
            return Response(b"", 304, headers)
        # The header itself, because Starlette adds a charset to some types and not to others.
        return Response(self.content, headers={**headers, "Content-Type": self.media_type})


def page_files() -> dict[str, PageFile]:
    """Path -> file, with "/" for the page itself."""
    found = dict(_files(resources.files("sel_edge.serve") / "page", "/"))
    if index := found.get(f"/{INDEX}"):
        found["/"] = index
    return found


def _files(folder: Traversable, at: str) -> list[tuple[str, PageFile]]:
    found: list[tuple[str, PageFile]] = []
    for entry in sorted(folder.iterdir(), key=lambda entry: entry.name):
        suffix = entry.name[entry.name.rfind(".") :]
        if entry.is_dir():
            found += _files(entry, f"{at}{entry.name}/")
        elif suffix in TYPES:
            content = entry.read_bytes()
            etag = f'"{sha256_bytes(content)[:32]}"'
            found.append((f"{at}{entry.name}", PageFile(content, TYPES[suffix], etag)))
    return found
