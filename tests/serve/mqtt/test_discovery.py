"""What Home Assistant is told: by its own rules, its templates find every number, and no name of a
class, which can be anything, becomes more than a name."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jinja2.sandbox import ImmutableSandboxedEnvironment

from sel_edge.core.ledger import ClassEmbarrassment
from sel_edge.report.wording import printable
from sel_edge.serve.mqtt.discovery import components, described_before, description
from sel_edge.serve.mqtt.states import states
from sel_edge.serve.mqtt.topics import Topics, identifier
from sel_edge.serve.snapshot import Balance, Snapshot
from tests.serve.stage import staged

TOPICS = Topics("sel-edge", "pi")
OBJECT_ID = re.compile(r"[a-zA-Z0-9_-]+")  # of the discovery topic, as Home Assistant matches it
# Keys that both platforms know, https://www.home-assistant.io/integrations/sensor.mqtt/ and button.
SHARED = {"platform", "name", "unique_id"}
KEYS = {
    "button": SHARED | {"command_topic", "payload_press"},
    "sensor": SHARED
    | {"state_topic", "value_template", "json_attributes_topic", "json_attributes_template"}
    | {"unit_of_measurement", "device_class", "state_class", "options"}
    | {"suggested_display_precision"},
}
NAMES = st.text(min_size=1, max_size=60)
NATS = st.none() | st.floats(0, 20)
LEVELS = st.none() | st.builds(ClassEmbarrassment, NATS, NATS, st.just(3))
NASTY = ["{{ 1/0 }}", "'); x", '"', "a b", "A B", "a_b", "größe", "大", "", "\n", "../..", "+/#"]


@pytest.fixture(scope="module")
def snapshot() -> Snapshot:
    with staged() as stage:
        whole = stage.snapshot()
        return replace(whole, points=(), events=whole.events[-3:])  # hypothesis prints it


def rendered(template: str, content: bytes) -> str:
    """As Home Assistant does: the JSON of the message is `value_json`."""
    made = ImmutableSandboxedEnvironment().from_string(template)
    return made.render(value_json=json.loads(content))


@given(names=st.sets(NAMES | st.sampled_from(NASTY), min_size=2))
def test_identifiers_are_plain_and_all_different(names: set[str]) -> None:
    made = {identifier(name) for name in names}
    assert len(made) == len(names)
    assert all(re.fullmatch(r"[A-Za-z0-9_-]{1,48}", each) for each in made)
    assert {identifier(each) for each in made}.isdisjoint(made - names) or made == names


@pytest.mark.parametrize("name", ["cat", "class-7", "A_b"])
def test_a_plain_name_is_its_own_identifier(name: str) -> None:
    assert identifier(name) == name
    assert identifier(identifier(f"{name}!")) != identifier(f"{name}!")


@settings(max_examples=30)
@given(known=st.dictionaries(NAMES | st.sampled_from(NASTY), LEVELS, max_size=5))
def test_every_entity_is_by_the_rules_and_finds_its_number(
    snapshot: Snapshot, known: dict[str, ClassEmbarrassment | None]
) -> None:
    classes = list(known)
    level = {name: found for name, found in known.items() if found is not None}
    changed = replace(snapshot, classes=tuple(classes), embarrassment=level)
    described = components(TOPICS, changed)
    said = states(TOPICS, changed)
    assert len({each["unique_id"] for each in described.values()}) == len(described)
    for key, each in described.items():
        assert OBJECT_ID.fullmatch(key) and printable(each["name"]) == each["name"].strip(" ")
        assert each.keys() <= KEYS[each["platform"]]
        if each["platform"] == "sensor":
            rendered(each["value_template"], said[each["state_topic"]])
    for name in classes:
        each = described[f"embarrassment_{identifier(name)}"]
        found = level.get(name, ClassEmbarrassment(None, None, 0))
        number = found.standin if found.exact is None else found.exact
        value = rendered(each["value_template"], said[TOPICS.embarrassment])
        assert value == str(None if number is None else round(number, 2))
        told = json.loads(
            rendered(each["json_attributes_template"], said[each["json_attributes_topic"]])
        )
        assert told["by"] == ("stand-in" if found.exact is None else "labels")


def test_a_state_from_before_the_entity_is_unknown_and_no_error(snapshot: Snapshot) -> None:
    for key, each in components(TOPICS, snapshot).items():
        if key.startswith(("embarrassment_", "wallet_")):
            assert rendered(each["value_template"], b"{}") == "None"
            assert rendered(each["json_attributes_template"], b"{}") == "{}"


def test_a_thousand_classes_are_a_hundred_entities_with_the_newest(snapshot: Snapshot) -> None:
    classes = tuple(f"class-{number}" for number in range(1000))
    described = components(TOPICS, replace(snapshot, classes=classes))
    told = [key for key in described if key.startswith("embarrassment_")]
    assert len(told) == 100 and "embarrassment_class-999" in told


def test_the_wallet_is_told_in_its_units(snapshot: Snapshot) -> None:
    balances = (Balance("energy_j_per_day", 12.3456789, 100.0), Balance("new {{ thing", 1, 2))
    changed = replace(snapshot, balances=balances)
    described, said = components(TOPICS, changed), states(TOPICS, changed)
    energy = described["wallet_energy_j_per_day"]
    assert energy["unit_of_measurement"] == "J"
    assert rendered(energy["value_template"], said[TOPICS.wallet]) == "12.35"
    assert json.loads(said[TOPICS.wallet])["energy_j_per_day"] == {"left": 12.35, "size": 100.0}
    unknown = described[f"wallet_{identifier('new {{ thing')}"]
    assert rendered(unknown["value_template"], said[TOPICS.wallet]) == "1.0"


def test_what_was_described_is_read_again(snapshot: Snapshot) -> None:
    described = components(TOPICS, snapshot)
    content = description(TOPICS, "my pi", "blocks\n{{ x }}", described)
    value = json.loads(content)
    assert value.keys() == {"device", "origin", "components", "availability_topic", "qos"}
    assert value["device"]["identifiers"] == ["sel-edge_pi"]
    assert value["device"]["model"].isprintable()
    before = described_before(content)
    assert before == {key: each["platform"] for key, each in described.items()}


@given(
    content=st.binary(max_size=200)
    | st.recursive(
        st.none() | st.text(max_size=5) | st.integers(),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(["components", "platform", "adapt"]), inner, max_size=3
            )
        ),
    ).map(lambda value: json.dumps(value).encode())
)
def test_what_is_no_description_describes_nothing_wrong(content: bytes) -> None:
    found = described_before(content)
    assert all(platform in ("sensor", "button") for platform in found.values())


def test_a_huge_description_is_not_read() -> None:
    many = {f"embarrassment_{number}": {"platform": "sensor"} for number in range(1001)}
    assert described_before(json.dumps({"components": many}).encode()) == {}
    padded = {"components": {"adapt": {"platform": "button", "x": "x" * 2**20}}}
    assert described_before(json.dumps(padded).encode()) == {}
