"""Addresses of brokers: read exactly, or refused with the reason."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sel_edge.core.errors import ConfigError
from sel_edge.serve.mqtt.settings import Broker, MqttSettings


@pytest.mark.parametrize(
    ("url", "broker"),
    [
        ("mqtt://house", Broker("house", 1883, False, None, "sel-edge")),
        ("mqtts://house", Broker("house", 8883, True, None, "sel-edge")),
        ("mqtt://pi@10.0.0.2:1884/a/b_c", Broker("10.0.0.2", 1884, False, "pi", "a/b_c")),
        ("mqtt://p%40i@[::1]:1/", Broker("::1", 1, False, "p@i", "sel-edge")),
    ],
)
def test_an_address_is_read(url: str, broker: Broker) -> None:
    assert MqttSettings(url, None, "pi").broker == broker


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("house", "begins otherwise"),
        ("http://house", "begins otherwise"),
        ("mqtt://", "names no host"),
        ("mqtt://house:0", "names no host"),
        ("mqtt://house:65536", "no address"),
        ("mqtt://house:x", "no address"),
        ("mqtt://[::1", "no address"),
        ("mqtt://a..b", "no address"),
        (f"mqtt://{'a' * 64}", "no address"),
        ("mqtt://house/a?b=1", "more than a host"),
        ("mqtt://house/a%23", "no prefix of topics"),
        ("mqtt://house/+/a", "no prefix of topics"),
        ("mqtt://house/a//b", "no prefix of topics"),
        ("mqtt://house/a/#", "more than a host|no prefix"),
        ("mqtt://@house", "the user has no name"),
        ("mqtt://%0a@house", "the user has no name"),
        ("mqtt://ho use", "no address"),
    ],
)
def test_anything_else_is_refused(url: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        MqttSettings(url, None, "pi")


def test_a_password_has_a_user_and_no_place_in_an_address() -> None:
    with pytest.raises(ConfigError, match="--mqtt-password-file") as refused:
        MqttSettings("mqtt://pi:secret@house", None, "pi")
    assert "secret" not in str(refused.value)
    with pytest.raises(ConfigError, match="no user"):
        MqttSettings("mqtt://house", "secret", "pi")
    assert "secret" not in repr(MqttSettings("mqtt://pi@house", "secret", "pi"))


@pytest.mark.parametrize("name", ["", " ", "a\n", "\0", "x" * 65])
def test_a_name_that_cannot_be_shown_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="name of a device"):
        MqttSettings("mqtt://house", None, name)


@given(text=st.text(max_size=60))
def test_no_text_does_anything_else_than_being_read_or_refused(text: str) -> None:
    for url in (text, f"mqtt://{text}", f"mqtt://house/{text}"):
        try:
            broker = MqttSettings(url, None, "pi").broker
        except ConfigError:
            continue
        assert 0 < broker.port < 65536 and broker.host
        assert not {"+", "#", "\0", ""} & set(broker.prefix.split("/"))
