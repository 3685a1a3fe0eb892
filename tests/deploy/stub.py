"""A wheelhouse whose sel-edge is a stand-in of a few lines, good or bad in a chosen way.

It costs a second to install instead of a minute; real ones are deployed in tests/e2e.
"""

from __future__ import annotations

import ensurepip
import hashlib
import zipfile
from base64 import urlsafe_b64encode
from pathlib import Path
from typing import Literal

import sel_edge

Manner = Literal["good", "mute", "crash", "unready", "errors", "dies", "other"]
"""What is bad: mute gives no answer when installed; crash ends at its start; unready never is;
errors answers with errors; dies ends once it was ready. other is as good as good."""

PROGRAM = """
import json, os, pathlib, socket, sys, threading, time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

MANNER = "MANNER_HERE"
START = time.monotonic()


def main():
    verb, bundle = sys.argv[1], pathlib.Path(sys.argv[2])
    manifest = json.loads((bundle / "manifest.json").read_bytes())
    if verb == "inspect":
        sys.exit("no answer" if MANNER == "mute" else None)
    if MANNER == "crash":
        sys.exit("out of order")
    options = dict(zip(sys.argv[3::2], sys.argv[4::2]))
    state = pathlib.Path(options["--state"])
    with (state / "starts").open("a") as file:
        file.write(f"{time.time()}\\n")
    bundle_hash = manifest["bundle_hash"]

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            age_s = time.monotonic() - START
            ready = MANNER != "unready"
            body = {"ready": ready, "first_answer": True, "frames": int(age_s * 20), "error": "",
                    "errors": int(age_s * 20) if MANNER == "errors" else 0,
                    "bundle": bundle_hash, "phase": "running"}
            self.send_response(200 if ready else 503)
            self.end_headers()
            self.wfile.write(json.dumps(body).encode())

        def log_message(self, *words):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", int(options["--port"])), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    notify.connect(os.environ["NOTIFY_SOCKET"])
    notify.send(b"READY=1")
    print("serving", MANNER, bundle_hash, flush=True)
    while MANNER != "dies" or time.monotonic() < START + 1.5:
        notify.send(b"WATCHDOG=1")
        time.sleep(0.3)
    os._exit(7)
"""


def make_wheelhouse(folder: Path, manner: Manner) -> Path:
    """A folder with a wheel of such a sel-edge, of this version, and one of pip."""
    folder.mkdir(parents=True)
    version = sel_edge.__version__
    about = f"sel_edge-{version}.dist-info"
    members = {
        "sel_edge_stub.py": PROGRAM.replace("MANNER_HERE", manner),
        f"{about}/METADATA": f"Metadata-Version: 2.1\nName: sel-edge\nVersion: {version}\n"
        "Provides-Extra: serve\n",
        f"{about}/WHEEL": "Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\n"
        "Tag: py3-none-any\n",
        f"{about}/entry_points.txt": "[console_scripts]\nsel-edge = sel_edge_stub:main\n",
    }
    lines = []
    for name, text in members.items():
        digest = urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
        lines.append(f"{name},sha256={digest},{len(text.encode())}\n")
    members[f"{about}/RECORD"] = "".join(lines) + f"{about}/RECORD,,\n"
    with zipfile.ZipFile(folder / f"sel_edge-{version}-py3-none-any.whl", "w") as wheel:
        for name, text in members.items():
            wheel.writestr(zipfile.ZipInfo(name, (2026, 1, 1, 0, 0, 0)), text)
    (pip,) = (Path(ensurepip.__file__).parent / "_bundled").glob("pip-*.whl")
    (folder / pip.name).write_bytes(pip.read_bytes())
    return folder
