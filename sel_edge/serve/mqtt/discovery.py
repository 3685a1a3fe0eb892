"""How a device describes itself to Home Assistant, so that nobody has to configure it there.

The format is that of device discovery: https://www.home-assistant.io/integrations/mqtt/ under
"Device discovery payload"; Home Assistant 2025.4.4 has taken it, and its templates. A component
that is gone is first sent with its platform alone, which removes it there, and then left out.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from sel_edge import __version__
from sel_edge.core.files import canonical_json
from sel_edge.report.wording import printable
from sel_edge.serve.mqtt.states import told_classes
from sel_edge.serve.mqtt.topics import PRESS, Topics, identifier
from sel_edge.serve.snapshot import PHASES, Snapshot

Component = Mapping[str, Any]

RESOURCES = {
    "flops_per_day": ("operations left today", "FLOP"),
    "energy_j_per_day": ("energy left today", "J"),
    "watts_mean": ("energy left at this power", "J"),
    "flash_writes_per_day": ("flash writes left today", "writes"),
    "battery": ("battery", "J"),
}
"""Resource -> what people call what is left of it, and its unit."""

_MAX_BYTES, _MAX_COMPONENTS = 2**20, 1000
_KEY = re.compile(r"[a-z]+(_[A-Za-z0-9_-]{1,48})?")


def components(topics: Topics, snapshot: Snapshot) -> dict[str, Component]:
    """Key -> one entity of the device."""
    made = _fixed(topics)
    for name in told_classes(snapshot):
        key, words = identifier(name), f"embarrassment: {printable(name, 64)}"
        made[f"embarrassment_{key}"] = {
            **_member(topics.embarrassment, key, "nats"),
            "name": words,
            "unit_of_measurement": "nat",
            "suggested_display_precision": 2,
        }
    for balance in snapshot.balances:
        key = identifier(balance.resource)
        words, unit = RESOURCES.get(balance.resource, (printable(balance.resource), None))
        made[f"wallet_{key}"] = {
            **_member(topics.wallet, key, "left"),
            "name": f"wallet: {words}",
            "unit_of_measurement": unit,
        }
    return {
        key: {**component, "unique_id": f"{topics.unique}_{key}"} for key, component in made.items()
    }


def description(topics: Topics, name: str, model: str, described: Mapping[str, Component]) -> bytes:
    """The message that describes the device.

    Args:
        topics: of the device.
        name: of the device, for people.
        model: of its network.
        described: key -> entity.
    """
    origin = {"name": "sel-edge", "sw_version": __version__}
    return canonical_json(
        {
            "device": {
                "identifiers": [topics.unique],
                "name": name,
                "manufacturer": "sel-edge",
                "model": printable(model, 64),
                "sw_version": __version__,
            },
            "origin": origin,
            "availability_topic": topics.availability,
            "qos": 1,
            "components": described,
        }
    )


def described_before(content: bytes) -> dict[str, str]:
    """Key -> platform of the entities that an earlier message described, maybe another process's.

    Anybody may write to a broker: what is no such message describes nothing.
    """
    try:
        value = json.loads(content) if len(content) <= _MAX_BYTES else None
    except (ValueError, RecursionError):
        return {}
    found = value.get("components") if isinstance(value, dict) else None
    if not isinstance(found, dict) or len(found) > _MAX_COMPONENTS:
        return {}
    return {
        key: component["platform"]
        for key, component in found.items()
        if _KEY.fullmatch(key)
        and isinstance(component, dict)
        and component.get("platform") in ("sensor", "button")
    }


def _member(topic: str, key: str, value: str) -> Component:
    """A number of a class or resource, in a topic that has those of all; nothing if it is missing.

    Args:
        topic: of a JSON object of objects.
        key: of one of them, an identifier: it becomes part of a template.
        value: which of its values is the number; the rest are attributes.
    """
    return {
        "platform": "sensor",
        "state_topic": topic,
        "value_template": f"{{{{ value_json.get('{key}', {{}}).get('{value}') }}}}",
        "json_attributes_topic": topic,
        "json_attributes_template": f"{{{{ value_json.get('{key}', {{}}) | tojson }}}}",
        "state_class": "measurement",
    }


def _fixed(topics: Topics) -> dict[str, Component]:
    """What every device has."""
    return {
        "adapt": {
            "platform": "button",
            "name": "adapt now",
            "command_topic": topics.adapt,
            "payload_press": PRESS.decode(),
        },
        "phase": {
            "platform": "sensor",
            "name": "phase",
            "state_topic": topics.status,
            "value_template": "{{ value_json.phase }}",
            "device_class": "enum",
            "options": list(PHASES),
        },
        "waiting": {
            "platform": "sensor",
            "name": "frames that wait for a label",
            "state_topic": topics.status,
            "value_template": "{{ value_json.waiting }}",
            "state_class": "measurement",
        },
        "temperature": {
            "platform": "sensor",
            "name": "temperature",
            "state_topic": topics.temperature,
            "value_template": "{{ value_json.celsius }}",
            "json_attributes_topic": topics.temperature,
            "device_class": "temperature",
            "state_class": "measurement",
            "unit_of_measurement": "°C",
        },
        "trigger": {
            "platform": "sensor",
            "name": "last trigger",
            "state_topic": topics.trigger,
            "value_template": "{{ value_json.kind }}",
            "json_attributes_topic": topics.trigger,
        },
    }
