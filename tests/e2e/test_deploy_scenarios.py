"""`sel-edge deploy` and its companions against Pis of loopback: a real sshd, a real home, a
supervisor that obeys the unit files. The daemon is a stand-in; test_deploy_for_real has the real.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from sel_edge.core.errors import DeployError
from sel_edge.deploy.ssh import Conversation, RefusedByBoardError
from tests.deploy.cuts import ROOT, current_bundle, is_settled, step_of, works
from tests.deploy.pi import UID, Pi
from tests.deploy.stub import Manner
from tests.deploy.workstation import Workstation, ssh_for
from tests.tools_needed import missing_tool

pytestmark = pytest.mark.proof

FAILED = DeployError.exit_code
UNITS = ".config/systemd/user"
MANAGER = f"/run/user/{UID}/systemd/private"
LIMIT_S = 90.0


class Scene:
    """A workstation, a card with a good release, and as many Pis as are asked for."""

    def __init__(self, place: Path) -> None:
        self.place = place
        (place / "desk").mkdir()
        self.desk = Workstation(place / "desk")
        self.card = Pi(place / "card", "card")
        with self.card:
            self.desk.call(*self.desk.deploy_words("card"), "--trust", self.desk.public_key)

    @contextmanager
    def pi(self, name: str, is_empty: bool = False) -> Iterator[Pi]:
        folder = self.place / name
        try:
            with Pi(folder, name, None if is_empty else self.card) as pi:
                if not is_empty:
                    wait(lambda: works(pi))
                yield pi
        finally:  # its name is free for another one
            shutil.rmtree(folder)

    def deploy(self, *words: object, code: int = 0) -> dict[str, object]:
        """The line of JSON that it ends with."""
        said = self.desk.call(*words, "--json", code=code)
        value: dict[str, object] = json.loads(said.out.splitlines()[-1])
        return value


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    place = tmp_path_factory.mktemp("scene")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SEL_EDGE_SSH", ssh_for(place))
        patch.setenv("OMP_NUM_THREADS", "1")
        yield Scene(place)


def wait(holds: Callable[[], bool]) -> None:
    until_s = time.monotonic() + LIMIT_S
    while not holds():
        assert time.monotonic() < until_s
        time.sleep(0.1)


def tree(pi: Pi) -> dict[str, tuple[object, ...]]:
    """All that a deployment could have changed, but for what the service writes and the lock."""
    seen: dict[str, tuple[object, ...]] = {}
    for path in sorted(pi.home.rglob("*")):
        name = str(path.relative_to(pi.home))
        if not name.startswith((f"{ROOT}/state", f"{ROOT}/lock")) and "__pycache__" not in name:
            told = path.lstat()
            link = os.readlink(path) if path.is_symlink() else ""  # noqa: PTH115
            size = told.st_size if path.is_file() else 0
            seen[name] = (told.st_mode, told.st_ino, size, link, told.st_mtime_ns * path.is_file())
    return seen


def starts(pi: Pi) -> int:
    return len(pi.path(f"{ROOT}/state/starts").read_text().splitlines())


def test_a_first_installation_needs_a_key_and_a_dry_run_changes_nothing(scene):
    with scene.pi("new", is_empty=True) as pi:
        words = scene.desk.deploy_words("new")
        before = tree(pi)
        refused = scene.desk.call(*words, code=FAILED)
        assert "--trust" in refused.err and "Error (deployment)" in refused.err
        words += ["--trust", scene.desk.public_key]
        planned = scene.desk.call(*words, "--dry-run")
        assert "sel-edge.service" in planned.out
        assert tree(pi) == before
        outcome = scene.deploy(*words)
        assert outcome["result"] == "good"
        assert works(pi)
        first = tree(pi)
        assert scene.deploy(*scene.desk.deploy_words("new"))["result"] == "unchanged"
        assert tree(pi) == first and starts(pi) == 1
        assert pi.does("loginctl show-user pi --property=Linger --value").out.strip() == "yes"


def test_where_nothing_is_deployed_every_command_says_so(scene):
    with scene.pi("new", is_empty=True):
        assert "nothing is deployed" in scene.desk.call("status", "new").out
        assert "Nothing is deployed on new" in scene.desk.call("logs", "new", code=FAILED).err
        assert "Nothing is deployed on new." in scene.desk.call("rollback", "new", code=FAILED).err
        assert scene.desk.call("undeploy", "new").out == "Nothing is deployed on new.\n"


def test_all_that_a_service_may_write_is_its_state(scene):
    with scene.pi("one") as pi:
        (pid,) = [pid for pid in pi.processes("sel-edge") if "serve" in _command(pid)]
        can_write = Path(f"/proc/{pid}/root/home/pi/{ROOT}")
        mounts = Path(f"/proc/{pid}/mountinfo").read_text().splitlines()
        options = {line.split()[4]: line.split()[5].split(",") for line in mounts}
        assert can_write.exists()
        assert "ro" in options["/home/pi"] and "rw" in options[f"/home/pi/{ROOT}/state"]
        # Whoever breaks into the daemon must not have systemd start something that may do more.
        assert pi.does(f"test -S {MANAGER}").returncode == 0
        assert not Path(f"/proc/{pid}/root{MANAGER}").is_socket()


def _command(pid: int) -> str:
    return Path(f"/proc/{pid}/cmdline").read_text()


@pytest.mark.parametrize(
    ("manner", "reason"),
    [
        ("crash", "restarted|failed"),
        ("unready", "not ready"),
        ("errors", "ended in an error"),
        ("dies", "ended after it was ready|restarted"),
    ],
)
def test_a_release_that_does_not_get_healthy_is_gone_back_from(scene, manner: Manner, reason):
    with scene.pi("one") as pi:
        before = current_bundle(pi)
        words = scene.desk.deploy_words("one", manner, "bundle-v2")
        outcome = scene.deploy(*words, code=FAILED)
        assert outcome["result"] == "reverted"
        assert any(part in str(outcome["reason"]) for part in reason.split("|")), outcome["reason"]
        status = scene.desk.call("status", "one").out
        assert "on trial" not in status and "it can go back" not in status
        assert f"it has gone back from {str(outcome['release'])[:12]}." in status
        assert works(pi) and current_bundle(pi) == before
        again = scene.deploy(*scene.desk.deploy_words("one", "other", "bundle-v2"))
        assert again["result"] == "good" and works(pi) and current_bundle(pi) != before


def test_what_cannot_even_answer_is_never_switched_to(scene):
    with scene.pi("one") as pi:
        refused = scene.desk.call(*scene.desk.deploy_words("one", "mute"), code=FAILED)
        assert "no answer" in refused.err
        assert works(pi) and starts(pi) == 2, "the card's start and this Pi's"


def test_a_bad_first_release_leaves_nothing_running_and_a_good_one_follows(scene):
    with scene.pi("new", is_empty=True) as pi:
        trust = ("--trust", scene.desk.public_key)
        outcome = scene.deploy(*scene.desk.deploy_words("new", "crash"), *trust, code=FAILED)
        assert outcome["result"] == "reverted"
        assert current_bundle(pi) is None and not _serving(pi)
        assert scene.deploy(*scene.desk.deploy_words("new"), *trust)["result"] == "good"
        assert works(pi)


def _serving(pi: Pi) -> list[int]:
    return [pid for pid in pi.processes("sel-edge") if "serve" in _command(pid)]


def test_a_stranger_s_release_is_refused_whatever_the_channel(scene, tmp_path):
    stranger = Workstation(tmp_path)
    with scene.pi("one") as pi:
        before = tree(pi)
        words = stranger.deploy_words("one", "other")
        assert "does not trust" in stranger.call(*words, code=FAILED).err
        trusting = (*words, "--trust", stranger.public_key)
        stranger.call(*trusting, code=FAILED)
        release = _release(stranger, scene)
        with Conversation("one") as board, pytest.raises(RefusedByBoardError) as refusal:
            board.ask("begin", release=release[0], signature=release[1])
        assert refusal.value.reason == "signature"
        assert tree(pi) == before and works(pi)


def _release(by: Workstation, scene: Scene) -> tuple[str, str]:
    """release.json and its signature, of a release that is on the card."""
    from sel_edge.bundle.sshsig import RELEASE_NAMESPACE, sshsig

    (folder,) = scene.card.path(f"{ROOT}/releases").iterdir()
    content = (folder / "release.json").read_text()
    return content, sshsig(by.key, RELEASE_NAMESPACE, content.encode()).decode()


def test_a_file_with_another_hash_is_refused_and_the_right_one_follows(scene):
    with scene.pi("one") as pi:
        order = scene.desk.order("other", "bundle-v2")
        content, signature, files = _made(scene, pi, order)
        with Conversation("one") as board:
            told = board.ask("begin", release=content, signature=signature)
            path = "sel-edge.service"
            altered = bytes(len(files[path]))
            with pytest.raises(RefusedByBoardError) as refusal:
                board.put(told["hash"], path, 0, altered)
        assert refusal.value.reason == "release"
        with Conversation("one") as board, pytest.raises(RefusedByBoardError):
            board.ask("install", hash=told["hash"])
        assert works(pi)
        assert scene.desk.deploy(pi, order).result == "good" and works(pi)


def _made(scene: Scene, pi: Pi, order: object) -> tuple[str, str, dict[str, bytes]]:
    """The release that an order makes for a Pi, as a dry run has it."""
    from sel_edge.deploy import deployment

    made: list[object] = []
    real = deployment.make_release

    def keep(*words: object, **more: object) -> object:
        made.append(real(*words, **more))  # type: ignore[arg-type]
        return made[-1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(deployment, "make_release", keep)
        scene.desk.deploy(pi, order, is_dry=True)  # type: ignore[arg-type]
    release = made[-1]
    files = {
        name: content if isinstance(content, bytes) else content.read_bytes()
        for name, content in release.files.items()  # type: ignore[attr-defined]
    }
    return release.content.decode(), release.signature, files  # type: ignore[attr-defined]


@pytest.fixture
def small_pi(scene: Scene, tmp_path: Path) -> Iterator[Pi]:
    """A Pi whose card has 110 MB."""
    home = tmp_path / "pi/home"
    home.mkdir(parents=True)
    mount = ["mount", "-t", "tmpfs", "-o", "size=110m", "tmpfs", str(home)]
    if subprocess.run(mount, capture_output=True).returncode != 0:
        missing_tool("this test mounts a small tmpfs: run it as root where mounting is allowed")
    try:
        with Pi(tmp_path / "pi", "small") as pi:
            (scene.place / "small").symlink_to(tmp_path / "pi")
            yield pi
    finally:
        (scene.place / "small").unlink(missing_ok=True)
        subprocess.run(["umount", str(home)], check=True)


@pytest.mark.parametrize(("step", "manner"), [("install", "other"), ("watch", "crash")])
def test_a_disk_that_fills_up_costs_nothing_that_runs(scene, small_pi, step, manner: Manner):
    trust = ("--trust", scene.desk.public_key)
    scene.deploy(*scene.desk.deploy_words("small"), *trust)
    old = scene.desk.order()
    filler = small_pi.path("filler")

    def fill() -> None:
        wait(lambda: step_of(small_pi, old) == step)
        with filler.open("wb", buffering=0) as file:
            try:
                while True:
                    file.write(bytes(4096))
            except OSError:
                return

    thread = threading.Thread(target=fill)
    thread.start()
    words = scene.desk.deploy_words("small", manner, "bundle-v2")
    said = scene.desk.call(*words, code=FAILED)
    thread.join()
    assert "Traceback" not in said.err
    wait(lambda: is_settled(small_pi))
    wait(lambda: works(small_pi))
    assert current_bundle(small_pi) == old.bundle.manifest.bundle_hash
    filler.unlink()
    outcome = scene.deploy(*scene.desk.deploy_words("small", "other", "bundle-v2"))
    assert outcome["result"] == "good" and works(small_pi)


def test_a_disk_without_room_is_said_before_anything_is_sent(scene, small_pi):
    with small_pi.path("filler").open("wb") as file:
        file.write(bytes(80_000_000))
    words = scene.desk.deploy_words("small")
    said = scene.desk.call(*words, "--trust", scene.desk.public_key, code=FAILED)
    assert "space" in said.err or "room" in said.err or "free" in said.err
    assert not list(small_pi.path(ROOT).glob("releases/*"))
    assert not list(small_pi.path(ROOT).glob("incoming/*/wheels/*"))


def test_rollback_goes_back_and_forth_and_state_survives(scene):
    with scene.pi("one") as pi:
        old = current_bundle(pi)
        scene.deploy(*scene.desk.deploy_words("one", "other", "bundle-v2"))
        new, n_starts = current_bundle(pi), starts(pi)
        assert new != old and n_starts == 3
        for expected in (old, new):
            scene.desk.call("rollback", "one")
            assert current_bundle(pi) == expected and works(pi)
        assert starts(pi) == n_starts + 2
        name = pi.path(f"{ROOT}/previous").readlink().name
        scene.desk.call("rollback", "one", "--to", name[:12])
        assert current_bundle(pi) == old and works(pi)


def test_status_and_logs_tell_what_runs(scene):
    with scene.pi("one") as pi:
        told = json.loads(scene.desk.call("status", "one", "--json").out)
        release = pi.path(f"{ROOT}/current").readlink().name
        assert told["host"] == "one" and release in json.dumps(told)
        assert release[:12] in scene.desk.call("status", "one").out
        assert "serving good" in scene.desk.call("logs", "one", "-n", 50).out
        pi.cut_power()
        assert "cannot be reached" in scene.desk.call("status", "one", code=FAILED).out


def test_undeploy_leaves_what_was_learned_and_purge_leaves_nothing(scene):
    with scene.pi("one") as pi:
        scene.desk.call("undeploy", "one")
        assert not _serving(pi) and starts(pi) == 2
        left = {path.name for path in pi.path(ROOT).iterdir()}
        assert left == {"state", "keys"}
        assert not [path for path in pi.path(UNITS).rglob("*") if not path.is_dir()]
        assert scene.deploy(*scene.desk.deploy_words("one"))["result"] == "good"
        assert starts(pi) == 3
        scene.desk.call("undeploy", "one", "--purge", "--sign", scene.desk.place / "key.pem")
        assert not pi.path(ROOT).exists() and not _serving(pi)
        pi.cut_power()
        pi.boot()
        assert not _serving(pi)


def test_a_fleet_stops_at_what_fails(scene, tmp_path):
    hosts = tmp_path / "hosts"
    hosts.write_text("a  # the canary\nb\nc\n")
    with ExitStack() as stack:
        a, b, c = (stack.enter_context(scene.pi(name)) for name in "abc")
        b.cut_power()
        words = scene.desk.deploy_words("a", "other", "bundle-v2")
        fleet = ["deploy", "--hosts", hosts, "--jobs", 1, *words[2:]]
        said = scene.desk.call(*fleet, "--json", code=FAILED)
        outcomes = [json.loads(line) for line in said.out.splitlines()]
        assert [one["result"] for one in outcomes] == ["good", "failed", "skipped"]
        old, new = current_bundle(c), current_bundle(a)
        assert old != new and works(a) and works(c)
        b.boot()
        wait(lambda: works(b))
        table = scene.desk.call(*fleet).out
        assert "3 of 3 are good" in table and "unchanged" in table
        assert {current_bundle(pi) for pi in (a, b, c)} == {new}
        bad = scene.desk.deploy_words("a", "crash", "bundle-v1")
        said = scene.desk.call("deploy", "--hosts", hosts, *bad[2:], code=FAILED)
        assert "reverted" in said.out and said.out.count("skipped") == 2
        assert {current_bundle(pi) for pi in (a, b, c)} == {new} and all(map(works, (a, b, c)))


def test_two_workstations_at_once_end_in_one_working_release(scene):
    with scene.pi("one") as pi, ThreadPoolExecutor(2) as pool:
        orders = [scene.desk.order("other", bundle) for bundle in ("bundle-v1", "bundle-v2")]
        results = list(pool.map(lambda order: scene.desk.deploy(pi, order).result, orders))
        assert set(results) <= {"good", "unchanged"}
        assert works(pi) and is_settled(pi)


def test_two_workstations_with_the_same_release_switch_to_it_once(scene):
    with scene.pi("one") as pi, ThreadPoolExecutor(2) as pool:
        before = starts(pi)
        order = scene.desk.order("other", "bundle-v2")
        results = list(pool.map(lambda _: scene.desk.deploy(pi, order).result, range(2)))
        assert sorted(results) == ["good", "unchanged"]
        assert works(pi) and is_settled(pi) and starts(pi) == before + 1
