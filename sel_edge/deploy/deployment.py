"""One deployment: look, compare, send, install, switch, and tell what came of it."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path
from typing import Any

from sel_edge.bundle.bundle import Bundle
from sel_edge.bundle.keys import PrivateKey, PublicKey
from sel_edge.core.errors import DeployError
from sel_edge.deploy.agent.receive import room_needed
from sel_edge.deploy.patience import Say, patiently, settled
from sel_edge.deploy.plan import Plan, make_plan
from sel_edge.deploy.release import Health, Release, make_release
from sel_edge.deploy.ssh import Conversation, read_pieces
from sel_edge.deploy.trial import Verdict, follow
from sel_edge.deploy.unit import Service
from sel_edge.deploy.wheels import Platform, Wheelhouse, chosen_wheels, given_wheels


@dataclass(frozen=True)
class Check:
    """A line of the preflight: verdict `ok`, `warn` or `fail`."""

    name: str
    verdict: str
    found: str
    action: str = ""


@dataclass(frozen=True)
class Order:
    """What is to be deployed, the same for every board of a fleet.

    Attributes:
        bundle: what is to run.
        key: who vouches for the release.
        public_key: file of its public key, for advice.
        service: how it is to run.
        cache: where fetched wheels are kept.
        wheels: folder of ready wheels; None: they are chosen.
        index: whether a board's pip asks its index; None: as before, or if the board is online.
        trust: keys that the boards are to trust from now on.
        budget: what learning may cost.
        system_packages: the environment sees the board's own packages.
        health: the health window.
        ssh_options: for ssh.
    """

    bundle: Bundle
    key: PrivateKey
    public_key: Path
    service: Service
    cache: Path
    wheels: Path | None = None
    index: bool | None = None
    trust: tuple[PublicKey, ...] = ()
    budget: Path | None = None
    system_packages: bool = False
    health: Health = field(default_factory=Health)
    ssh_options: tuple[str, ...] = ()


@dataclass(frozen=True)
class Outcome:
    """What came of a deployment.

    Attributes:
        host: of the board.
        result: `good`, `unchanged`, `planned`, `reverted` or `failed`.
        release: hash of the release; "" if it did not come to one.
        reason: why it is not good.
        seconds: that it took.
        checks: of the preflight.
        plan: what was to change.
    """

    host: str
    result: str
    release: str = ""
    reason: str = ""
    seconds: float = 0.0
    checks: tuple[Check, ...] = ()
    plan: Plan | None = None


class Deployment:
    """Deploys to one board.

    Args:
        host: as ssh takes it.
        order: what is to be deployed.
        say: takes what is being done.
    """

    def __init__(self, host: str, order: Order, say: Say) -> None:
        self._host, self._order, self._say = host, order, say
        self._checks: list[Check] = []

    def run(self, is_dry: bool = False) -> Outcome:
        """Deploy; a dry run changes nothing on the board.

        Raises:
            DeployError: it cannot be done; what ran on the board runs on.
        """
        begun_s = time.monotonic()
        with Conversation(self._host, self._order.ssh_options) as board:
            release, plan, missing_keys = self._prepared(board)
            for line in plan.lines(is_dry):
                self._say(line)
            if is_dry:
                verdict = Verdict("planned")
            else:
                self._trust(board, missing_keys)
                verdict = Verdict("unchanged") if plan.is_working else self._done(board, release)
        return Outcome(
            host=self._host,
            result=verdict.result,
            release=release.hash,
            reason=verdict.reason,
            seconds=round(time.monotonic() - begun_s, 1),
            checks=tuple(self._checks),
            plan=plan,
        )

    def _prepared(self, board: Conversation) -> tuple[Release, Plan, list[PublicKey]]:
        """Look at the board, and make the release for it; nothing is changed."""
        service = self._order.service
        answer = board.ask(
            "preflight",
            time=int(time.time()),
            port=service.port,
            camera=service.source.startswith("camera"),
        )
        facts, state = _table(answer.get("facts")), settled(board, self._say)
        self._note(_read_checks(answer.get("checks")))
        missing_keys, check = self._keys(state)
        self._note([check])
        self._require_fit()
        release = self._release(facts, state)
        plan = make_plan(state, release)
        self._note(_wheel_checks(release, plan, facts))
        self._require_fit()
        return release, plan, missing_keys

    def _keys(self, state: dict[str, Any]) -> tuple[list[PublicKey], Check]:
        """Which keys the board still has to get, and whether it then takes the release."""
        order, there = self._order, state.get("keys")
        known = {str(key) for key in there} if isinstance(there, list) else set()
        missing = [key for key in order.trust if key.fingerprint not in known]
        after = known | {key.fingerprint for key in order.trust}
        signer = order.bundle.signer or order.key.public
        if not after:
            action = f"Add --trust with a public key; yours is {order.public_key}."
            return missing, Check("keys", "fail", "the board trusts nobody yet", action)
        for who, key in (("release", order.key.public), ("bundle", signer)):
            if key.fingerprint not in after:
                found = f"the {who} is signed by {key.fingerprint[:12]}, which it does not trust"
                action = "Sign with a key that it trusts (--sign), or have its owner --trust yours."
                return missing, Check("keys", "fail", found, action)
        if missing and known and order.key.public.fingerprint not in known:
            action = "Let --sign name a key that the board trusts already."
            return missing, Check("keys", "fail", "new keys need an old one's signature", action)
        new = "".join(f", {key.fingerprint[:12]} from now on" for key in missing)
        return missing, Check("keys", "ok", f"{len(known)} trusted{new}")

    def _release(self, facts: dict[str, Any], state: dict[str, Any]) -> Release:
        order = self._order
        with_index = _with_index(order.index, facts, state)
        wheelhouse = self._wheelhouse(Platform.of(facts), with_index)
        cores = facts.get("cores")
        return make_release(
            order.bundle,
            order.key,
            order.service,
            wheelhouse,
            cores if isinstance(cores, int) and 0 < cores < 4096 else 1,
            budget=order.budget,
            with_index=with_index,
            system_packages=order.system_packages,
            health=order.health,
        )

    def _wheelhouse(self, platform: Platform, with_index: bool) -> Wheelhouse:
        order = self._order
        if order.wheels is not None:
            return given_wheels(order.wheels, platform)
        self._say("choosing wheels")
        return chosen_wheels(order.cache, platform, with_index)

    def _trust(self, board: Conversation, keys: list[PublicKey]) -> None:
        if not keys:
            return
        told = [key.raw.hex() for key in keys]
        signature = board.signed(self._order.key, keys=told)
        patiently(lambda: board.ask("trust", keys=told, signature=signature), self._say)
        for key in keys:
            self._say(f"The board trusts releases signed by {key.fingerprint} from now on.")

    def _done(self, board: Conversation, release: Release) -> Verdict:
        content, signature = release.content.decode(), release.signature
        answer = patiently(
            lambda: board.ask("begin", release=content, signature=signature), self._say
        )
        self._send(board, release, _table(answer.get("missing")))
        patiently(lambda: board.ask("install", self._say, hash=release.hash), self._say)
        if make_plan(settled(board, self._say), release).is_working:
            return Verdict("unchanged")  # another workstation has sent the same one
        started = patiently(lambda: board.ask("activate", hash=release.hash), self._say)
        if started.get("lingers") is False:
            self._say("warning: nobody is allowed to linger, so the service ends at logout.")
        self._say("switching; a release that does not get healthy is gone back from")
        return follow(board, str(started.get("trial")), self._order.ssh_options, self._say)

    def _send(self, board: Conversation, release: Release, missing: dict[str, Any]) -> None:
        left = sum(release.sizes[name] for name in release.files if name in missing)
        self._say(f"sending {len(missing)} files, {left / 1e6:,.1f} MB")
        say = cache(self._say)  # the same is not said of each piece
        for name, content in release.files.items():
            if name not in missing:
                continue
            there = missing[name]
            is_offset = isinstance(there, int) and 0 <= there <= release.sizes[name]
            offset = there if is_offset else 0
            for piece in read_pieces(content, offset):
                patiently(partial(board.put, release.hash, name, offset, piece), say)
                offset += len(piece)

    def _note(self, checks: Iterable[Check]) -> None:
        for check in checks:
            self._checks.append(check)
            action = f" {check.action}" if check.action else ""
            self._say(f"{check.verdict:<4} {check.name}: {check.found}.{action}")

    def _require_fit(self) -> None:
        failed = [check for check in self._checks if check.verdict == "fail"]
        if failed:
            raise DeployError(
                f"{self._host} cannot run a release: "
                + "; ".join(f"{check.name}: {check.found}" for check in failed)
                + ".",
                "No check may fail; nothing on the board was changed.",
                " ".join(check.action for check in failed if check.action),
            )


def _with_index(wanted: bool | None, facts: dict[str, Any], state: dict[str, Any]) -> bool:
    """As asked for; else as the release that runs, so that nothing changes by itself."""
    if wanted is not None:
        return wanted
    try:
        before = json.loads(state.get("release") or "{}").get("index")
    except (ValueError, TypeError, AttributeError, RecursionError):
        before = None
    return before if isinstance(before, bool) else facts.get("online") is True


def _wheel_checks(release: Release, plan: Plan, facts: dict[str, Any]) -> list[Check]:
    wheels = [name for name in release.files if name.startswith("wheels/")]
    checks = [Check("wheels", "ok", f"{len(wheels)} fit")]
    free = facts.get("free_bytes")
    if plan.is_working or not isinstance(free, int):
        return checks
    needed = room_needed(dict(release.sizes))
    found = f"{free // 10**6:,} MB free, at most {needed // 10**6:,} MB needed"
    action = "" if free >= needed else "Free some space, unless most of it is there already."
    return [*checks, Check("room", "ok" if free >= needed else "warn", found, action)]


def _read_checks(value: Any) -> list[Check]:
    names = ("name", "verdict", "found", "action")
    entries = (
        [entry for entry in value if isinstance(entry, dict)] if isinstance(value, list) else []
    )
    return [Check(*(str(entry.get(name, "")) for name in names)) for entry in entries]


def _table(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
