"""The bridge on a real broker: what Home Assistant would hear, and what it may ask for."""

from __future__ import annotations

import gc
import json
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

from sel_edge.core.errors import DataError, MissingDependencyError
from sel_edge.serve.mqtt.bridge import Bridge
from sel_edge.serve.mqtt.settings import MqttSettings
from sel_edge.serve.snapshot import Snapshot
from tests.serve.mqtt.broker import Listener, Mosquitto, eventually, self_signed
from tests.serve.stage import Script, staged

ROOT = Path(__file__).parents[3]
DISCOVERY = "homeassistant/device/sel-edge_pi/config"
AVAILABILITY = "sel-edge/pi/availability"
SEVERAL_PERIODS_S = 0.5


def online(listener: Listener, prefix: str = "sel-edge/pi") -> bool:
    return listener.on(f"{prefix}/availability")[-1:] == [b"online"]


def came_up(listener: Listener, prefix: str = "sel-edge/pi") -> None:
    eventually(lambda: online(listener, prefix), "online")


class Frozen:
    """A device of which only the snapshot matters; it can be set."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._changed = threading.Condition()
        self._snapshot = snapshot

    def newer(self, version: int, timeout_s: float) -> Snapshot:
        with self._changed:
            self._changed.wait_for(lambda: self._snapshot.version > version, timeout_s)
            return self._snapshot

    def show(self, **changes) -> None:
        with self._changed:
            version = self._snapshot.version + 1
            self._snapshot = replace(self._snapshot, version=version, **changes)
            self._changed.notify_all()


def test_what_is_said_is_kept_for_whoever_comes_later(bridged, stage, listener, broker):
    bridged()
    came_up(listener)
    later = Listener(broker.port)
    snapshot = stage.snapshot()
    try:
        eventually(lambda: len({topic for topic, _, _ in later.heard}) == 7, "seven topics")
        assert all(kept for _, _, kept in later.heard)
        said = later.hears("sel-edge/pi/embarrassment", bool)
        assert {each["class"] for each in said.values()} == set(snapshot.classes)
        for name, each in said.items():
            found = snapshot.embarrassment[name]
            exact = found.exact is not None
            assert each["nats"] == round(found.exact if exact else found.standin, 2)
            assert each["by"] == ("labels" if exact else "stand-in")
        assert later.on(AVAILABILITY) == [b"online"]
        assert later.hears("sel-edge/pi/trigger", bool)["kind"] in ("fire", "wants_labels")
        wallet = later.hears("sel-edge/pi/wallet", bool)
        assert wallet["energy_j_per_day"]["size"] == 200
        assert later.hears("sel-edge/pi/status", bool)["waiting"] == snapshot.queue.waiting
        assert later.hears("sel-edge/pi/temperature", bool)["throttled"] is False
        described = later.hears(DISCOVERY, bool)["components"]
        assert sum(key.startswith("embarrassment_") for key in described) == 10
    finally:
        later.close()


def test_nothing_is_said_twice_and_nothing_more_than_once_a_second(
    broker, stage, listener, monkeypatch
):
    monkeypatch.setattr("sel_edge.serve.mqtt.bridge.PERIOD_S", 1.0)
    device = Frozen(stage.snapshot())
    bridge = Bridge(device, MqttSettings(f"mqtt://127.0.0.1:{broker.port}", None, "pi"))
    bridge.start()
    came_up(listener)
    before = len(listener.heard)
    began = time.monotonic()
    for celsius in range(40, 140):
        device.show(celsius=float(celsius), points=())
        time.sleep(0.02)
    listener.hears("sel-edge/pi/temperature", lambda said: said["celsius"] == 139)
    seconds = time.monotonic() - began
    bridge.stop()
    said = listener.heard[before:]
    assert {topic for topic, _, _ in said} == {"sel-edge/pi/temperature", AVAILABILITY}
    assert 1 <= sum(topic != AVAILABILITY for topic, _, _ in said) <= seconds + 1


def test_a_clean_end_says_offline(bridged, listener):
    bridge = bridged()
    came_up(listener)
    bridge.stop()
    eventually(lambda: listener.on(AVAILABILITY)[-1:] == [b"offline"], "offline")


def test_a_bridge_that_is_killed_is_offline_by_its_last_will(broker, listener):
    program = (
        "import sys, threading\n"
        "from sel_edge.serve.mqtt.bridge import Bridge\n"
        "from sel_edge.serve.mqtt.settings import MqttSettings\n"
        "from tests.serve.stage import staged\n"
        "with staged() as stage:\n"
        "    Bridge(stage, MqttSettings(sys.argv[1], None, 'pi')).start()\n"
        "    threading.Event().wait()\n"
    )
    url = f"mqtt://127.0.0.1:{broker.port}"
    process = subprocess.Popen([sys.executable, "-c", program, url], cwd=ROOT)
    try:
        came_up(listener)
        process.send_signal(signal.SIGKILL)
        eventually(lambda: listener.on(AVAILABILITY)[-1:] == [b"offline"], "offline")
    finally:
        process.kill()
        process.wait()
    later = Listener(broker.port)
    eventually(lambda: later.on(AVAILABILITY) == [b"offline"], "offline is kept")
    later.close()


def test_a_restarted_broker_that_forgot_everything_is_told_again(bridged, broker, listener):
    bridged()
    came_up(listener)
    broker.stop()
    broker.start()
    later = Listener(broker.port)
    came_up(later)
    assert later.hears(DISCOVERY, bool)["components"].keys() >= {"adapt", "embarrassment_cat"}
    later.close()


def test_a_broker_that_comes_later_is_found(tmp_path, stage):
    broker = Mosquitto(tmp_path)
    told = []
    settings = MqttSettings(f"mqtt://127.0.0.1:{broker.port}/house/cellar", None, "pi")
    bridge = Bridge(stage, settings, told.append)
    bridge.start()
    eventually(lambda: told, "the broker is missed")
    assert "it cannot be reached: Connection refused; trying again" in told[0]
    broker.start()
    later = Listener(broker.port)
    came_up(later, "house/cellar/pi")
    later.close()
    bridge.stop()
    broker.stop()
    assert "connected" in told[1] and len(told) == 2


def test_home_assistant_that_starts_is_told_again(bridged, listener):
    bridged()
    came_up(listener)
    for content in (b"offline", b"onlin", b"online\0"):
        listener.say("homeassistant/status", content)
    time.sleep(SEVERAL_PERIODS_S)
    assert len(listener.on(DISCOVERY)) == 1
    listener.say("homeassistant/status", b"online")
    eventually(lambda: len(listener.on(DISCOVERY)) == 2, "described again")
    assert listener.on(DISCOVERY)[0] == listener.on(DISCOVERY)[1]


def test_the_button_lets_the_device_learn_now(bridged, listener):
    with staged() as stage:
        bridged(stage, "cellar")
        came_up(listener, "sel-edge/cellar")
        before = stage.snapshot().network
        for wrong in (b"", b"press", b"PRESS ", b"ON", b"\xff" * 10):
            listener.say("sel-edge/cellar/adapt", wrong)
        time.sleep(SEVERAL_PERIODS_S)
        assert stage.snapshot().network == before
        listener.say("sel-edge/cellar/adapt", b"PRESS")
        said = listener.hears("sel-edge/cellar/adapted", bool)
        assert said["said"][0].startswith("keep: ") and said["error"] == ""
        assert stage.snapshot().network != before
        kinds = [event.reason for event in stage.snapshot().events if event.kind == "fire"]
        assert kinds.count("asked for by a person") == 1


def test_a_command_that_the_broker_kept_is_not_carried_out(broker, listener, bridged):
    listener.say("sel-edge/cellar/adapt", b"PRESS", retain=True)
    with staged() as stage:
        before = stage.snapshot().events
        bridged(stage, "cellar")
        came_up(listener, "sel-edge/cellar")
        listener.say("homeassistant/status", b"online")
        eventually(lambda: len(listener.on("sel-edge/cellar/availability")) == 2, "told again")
        assert stage.snapshot().events == before
    assert not listener.on("sel-edge/cellar/adapted")


def test_why_the_device_did_not_learn_is_told(bridged, listener):
    with staged() as stage:
        stage.script.failure = DataError("There are no labels.", "", "Give some.")
        bridged(stage, "cellar")
        came_up(listener, "sel-edge/cellar")
        listener.say("sel-edge/cellar/adapt", b"PRESS")
        said = listener.hears("sel-edge/cellar/adapted", bool)
        assert said == {"error": "There are no labels. Give some.", "said": []}


def test_entities_of_classes_that_are_gone_are_removed(broker, stage, listener):
    device = Frozen(stage.snapshot())
    bridge = Bridge(device, MqttSettings(f"mqtt://127.0.0.1:{broker.port}", None, "pi"))
    bridge.start()
    came_up(listener)
    left = tuple(name for name in stage.snapshot().classes if name != "cat")
    device.show(classes=left)
    eventually(lambda: len(listener.on(DISCOVERY)) == 3, "described, removed, described")
    time.sleep(SEVERAL_PERIODS_S)
    first, removing, last = (json.loads(said)["components"] for said in listener.on(DISCOVERY))
    assert "embarrassment_cat" in first and "embarrassment_cat" not in last
    assert removing["embarrassment_cat"] == {"platform": "sensor"}
    assert {**first, "embarrassment_cat": {"platform": "sensor"}} == removing
    bridge.stop()


def test_entities_of_an_earlier_process_are_removed_too(broker, listener, bridged):
    with staged(Script(classes=("left", "right"))) as before:
        bridge = bridged(before)
        came_up(listener)
        bridge.stop()
    with staged(Script(classes=("left", "up"), bare=True)) as after:
        bridged(after)
        eventually(lambda: len(listener.on(DISCOVERY)) == 3, "described, removed, described")
    removing, last = (json.loads(said)["components"] for said in listener.on(DISCOVERY)[1:])
    gone = {key for key, component in removing.items() if list(component) == ["platform"]}
    assert {"embarrassment_right", "wallet_energy_j_per_day"} <= gone
    assert "embarrassment_left" not in gone and gone.isdisjoint(last)


@pytest.mark.parametrize(
    "junk",
    [
        b"{",
        b"[" * 100_000,
        b"[]",
        b'{"components":[]}',
        b'{"components":{"adapt":3,"a b":{"platform":"sensor"},"x_y":{"platform":["sensor"]}}}',
        b'{"components":{"evil_{{x}}":{"platform":"sensor"}}}',
        b"\xff\xfe",
    ],
)
def test_a_description_that_somebody_else_wrote_does_no_harm(broker, listener, bridged, junk):
    listener.say(DISCOVERY, junk, retain=True)
    bridged()
    came_up(listener)
    described = json.loads(listener.on(DISCOVERY)[-1])
    assert len(listener.on(DISCOVERY)) == 2
    assert all("unique_id" in each for each in described["components"].values())


def test_only_who_knows_the_password_is_let_in(tmp_path, stage):
    passwords = tmp_path / "passwords"
    passwords.touch(0o600)
    made = subprocess.run(
        ["mosquitto_passwd", "-b", passwords, "pi", "secret"], capture_output=True
    )
    assert made.returncode == 0, made.stderr
    broker = Mosquitto(tmp_path, "allow_anonymous false", f"password_file {passwords}")
    broker.start()
    told = []
    url = f"mqtt://pi@127.0.0.1:{broker.port}"
    wrong = Bridge(stage, MqttSettings(url, "wrong", "pi"), told.append)
    wrong.start()
    eventually(lambda: told, "refused")
    assert "it refuses: Not authorized" in told[0] and "wrong" not in told[0]
    wrong.stop()
    listener = Listener(broker.port, "pi", "secret")
    right = Bridge(stage, MqttSettings(url, "secret", "pi"))
    right.start()
    came_up(listener)
    right.stop()
    listener.close()
    broker.stop()
    assert "secret" not in repr(MqttSettings(url, "secret", "pi"))


# paho leaves a socket whose handshake failed to the garbage collector.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_broker_is_believed_only_if_its_certificate_is(tmp_path, stage, monkeypatch):
    authority = self_signed(tmp_path)
    files = (f"certfile {authority}", f"keyfile {tmp_path / 'key.pem'}")
    broker = Mosquitto(tmp_path, "allow_anonymous true", *files)
    broker.start()
    settings = MqttSettings(f"mqtts://127.0.0.1:{broker.port}", None, "pi")
    for trusted in (False, True):
        told = []
        with monkeypatch.context() as patch:
            if trusted:
                patch.setenv("SSL_CERT_FILE", str(authority))
            bridge = Bridge(stage, settings, told.append)
            bridge.start()
            eventually(lambda said=told: said, "connected or refused")
            bridge.stop()
        gc.collect()
        assert ("connected" if trusted else "certificate verify failed") in told[0].lower()
    broker.stop()


def test_a_missing_package_is_told_when_the_bridge_starts(stage, monkeypatch):
    monkeypatch.setitem(sys.modules, "paho.mqtt.client", None)
    bridge = Bridge(stage, MqttSettings("mqtt://127.0.0.1:1", None, "pi"))
    with pytest.raises(MissingDependencyError, match=r"pip install 'sel-edge\[serve\]'"):
        bridge.start()


def test_a_bridge_ends_while_its_broker_is_away_or_does_not_answer(broker, stage, listener):
    away = Bridge(stage, MqttSettings("mqtt://127.0.0.1:1", None, "away"))
    away.start()
    away.stop()
    there = Bridge(stage, MqttSettings(f"mqtt://127.0.0.1:{broker.port}", None, "pi"))
    there.start()
    came_up(listener)
    broker.freeze()
    there.stop()
    assert not [thread for thread in threading.enumerate() if thread.name == "mqtt"]
