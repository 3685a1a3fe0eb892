"""The table of all that can be asked for; the application and its document are made from it."""

from __future__ import annotations

from sel_edge.runtime.samples.records import MAX_CLASS_CHARACTERS, Outcome
from sel_edge.runtime.slot_history import History
from sel_edge.serve.snapshot import Answer as FrameAnswer
from sel_edge.serve.snapshot import Snapshot
from sel_edge.serve.web import acting, reading
from sel_edge.serve.web.fields import Printable, Text, Whole
from sel_edge.serve.web.messages import (
    Changed,
    Events,
    Health,
    Learned,
    Points,
    Queue,
    Readiness,
    Session,
)
from sel_edge.serve.web.metrics import MEDIA_TYPE
from sel_edge.serve.web.operations import Answer, Operation
from sel_edge.serve.web.pictures import ACCEPTED

V1 = "/api/v1"
FRAME_ID = Text(
    "id",
    "The id of a frame, as the queue tells it.",
    r"f[0-9]{1,18}-[0-9a-f]{8}",
    28,
    "the id of a frame, such as f12-0a1b2c3d",
)
LABEL = Printable(
    "label",
    "A class name, known or new; null, or `not useful`, if the frame teaches nothing.",
    MAX_CLASS_CHARACTERS,
)
TO = Text(
    "to",
    "The hash of a network, or its first digits, at least 8; `bundle` for the network as it was "
    "exported; null for the one before the last update.",
    "(bundle|[0-9a-f]{8,64})",
    64,
    "`bundle`, the 8 to 64 first digits of a hash, or null",
    or_null=True,
)
TOKEN = Text(
    "token",
    "The token of the device.",
    r"[\x21-\x7e]+",
    1024,
    "a text of at most 1024 visible ASCII characters without spaces",
)
BY_STATE = (409, 507)
"""Statuses of whatever looks into the state directory, or has the device do so."""
DEFERRED = "`deferred`: it waits no more, and counts only if the device still remembers it."
UNDER_WAY = "It goes on; the stream tells of its end."
OPEN_METRICS = MEDIA_TYPE.partition(";")[0]

OPERATIONS: tuple[Operation, ...] = (
    Operation(
        *("GET", "/healthz", "health", "Whether the worker lives.", reading.health),
        answers=(Answer(200, "It does.", Health), Answer(503, "It does not.", Health)),
        is_open=True,
    ),
    Operation(
        *("GET", "/readyz", "readiness", "Whether the device does its work.", reading.readiness),
        answers=(Answer(200, "It does.", Readiness), Answer(503, "It does not.", Readiness)),
        is_open=True,
    ),
    Operation(
        *("GET", "/metrics", "metrics", "Everything, for Prometheus.", reading.metrics),
        answers=(Answer(200, "Metrics.", media=(OPEN_METRICS,)),),
    ),
    Operation(
        *("GET", f"{V1}/openapi.json", "document", "This document.", reading.document),
        answers=(Answer(200, "OpenAPI 3.1.", media=("application/json",)),),
    ),
    Operation(
        *("GET", f"{V1}/session", "session", "Whether this client may ask.", acting.session),
        answers=(Answer(200, "How it stands.", Session),),
        is_open=True,
    ),
    Operation(
        *("POST", f"{V1}/session", "sign_in", "Exchange the token for a cookie.", acting.sign_in),
        answers=(Answer(204, "The cookie is set, if a token is asked for."),),
        refusals=(401,),
        fields=(TOKEN,),
        is_open=True,
    ),
    Operation(
        *("DELETE", f"{V1}/session", "sign_out", "End the cookie's session.", acting.sign_out),
        answers=(Answer(204, "It has ended."),),
        is_open=True,
    ),
    Operation(
        *("GET", f"{V1}/status", "status", "The device now.", reading.status),
        answers=(Answer(200, "The newest snapshot.", Snapshot),),
    ),
    Operation(
        *("GET", f"{V1}/points", "points", "Embarrassment over time.", reading.points),
        answers=(Answer(200, "At most 240 points.", Points),),
    ),
    Operation(
        *("GET", f"{V1}/events", "events", "The newest decisions.", reading.events),
        answers=(Answer(200, "Decisions with their reasons.", Events),),
        query=(Whole("limit", "At most so many.", 1, 200, 200),),
    ),
    Operation(
        *("GET", f"{V1}/stream", "stream", "All that changes, as it changes.", reading.stream),
        answers=(
            Answer(
                200,
                "Server-sent events: `status` with what /status answers, at first and then at "
                "most twice a second; `decision` with one of what /events answers, for every new "
                "one. Comments in between are signs of life.",
                media=("text/event-stream",),
            ),
        ),
    ),
    Operation(
        *("GET", f"{V1}/view", "view", "The newest frame, for people.", reading.view),
        answers=(
            Answer(
                200,
                "At most 640 pixels wide; X-Frame-Number has its number, X-Frame-Answer what was "
                "said of it, as JSON.",
                media=("image/jpeg", "image/png"),
            ),
            Answer(204, "No frame was answered yet."),
        ),
    ),
    Operation(
        *("GET", f"{V1}/queue", "queue", "Frames that would teach most.", reading.queue),
        answers=(Answer(200, "Best first.", Queue),),
        refusals=BY_STATE,
        query=(Whole("limit", "At most so many.", 1, 256, 24),),
    ),
    Operation(
        *("GET", f"{V1}/queue/{{id}}/picture", "picture", "One of them.", reading.queue_picture),
        answers=(Answer(200, "The frame, pixel by pixel.", media=("image/png",)),),
        refusals=(404, *BY_STATE),
        place=(FRAME_ID,),
    ),
    Operation(
        *("POST", f"{V1}/queue/{{id}}", "label", "Say what a frame shows.", acting.label),
        answers=(Answer(200, f"What that did. {DEFERRED}", Outcome),),
        refusals=BY_STATE,
        place=(FRAME_ID,),
        fields=(LABEL,),
    ),
    Operation(
        *("GET", f"{V1}/history", "history", "The updates that were kept.", reading.history),
        answers=(Answer(200, "In the order of their making.", History),),
        refusals=BY_STATE,
    ),
    Operation(
        *("POST", f"{V1}/rollback", "rollback", "Go back, or forward again.", acting.rollback),
        answers=(Answer(200, "It is done.", Changed), Answer(202, UNDER_WAY, Changed)),
        refusals=BY_STATE,
        fields=(TO,),
    ),
    Operation(
        *("POST", f"{V1}/adapt", "adapt", "Learn now.", acting.adapt),
        answers=(Answer(200, "What came of it.", Learned), Answer(202, UNDER_WAY, Learned)),
        refusals=BY_STATE,
    ),
    Operation(
        *("POST", f"{V1}/reload", "reload", "Open the bundle anew.", acting.reload),
        answers=(Answer(200, "It is done.", Changed), Answer(202, UNDER_WAY, Changed)),
        refusals=BY_STATE,
    ),
    Operation(
        *("POST", f"{V1}/frames", "frame", "Have a frame answered.", acting.frame),
        answers=(Answer(200, "What the network says.", FrameAnswer),),
        refusals=BY_STATE,
        pictures=tuple(ACCEPTED),
    ),
)
