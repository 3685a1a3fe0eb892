"""The page's files, all of them read once; nothing else can be asked for."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import resources

from starlette.requests import Request
from starlette.responses import Response

from sel_edge.core.files import sha256_bytes
from sel_edge.serve.web.modules import joined

INDEX = "index.html"
MODULES, ENTRY = "modules", "page"
TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
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
    """Path -> file, with "/" for the page itself; its modules are one script."""
    folder = resources.files("sel_edge.serve") / "page"
    contents = {entry.name: entry.read_bytes() for entry in folder.iterdir() if entry.is_file()}
    modules = {
        entry.name.removesuffix(".js"): entry.read_text("utf-8")
        for entry in (folder / MODULES).iterdir()
    }
    contents[f"{ENTRY}.js"] = joined(modules, ENTRY).encode()
    found = {f"/{name}": _file(name, content) for name, content in contents.items()}
    return {**found, "/": found[f"/{INDEX}"]}


def _file(name: str, content: bytes) -> PageFile:
    suffix = name[name.rfind(".") :]
    return PageFile(content, TYPES[suffix], f'"{sha256_bytes(content)[:32]}"')
