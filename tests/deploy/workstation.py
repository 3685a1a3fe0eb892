"""A workstation for tests: a key, bundles, stand-in wheelhouses, and the way to some Pis."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from sel_edge.bundle.bundle import open_bundle
from sel_edge.bundle.keys import open_key, public_path
from sel_edge.deploy.deployment import Deployment, Order, Outcome, Say
from sel_edge.deploy.release import Health
from sel_edge.deploy.unit import Service
from tests.deploy.pi import Pi
from tests.deploy.stub import Manner, make_wheelhouse

BUNDLES = Path(__file__).parents[1] / "frozen"
PROGRAM = [sys.executable, "-c", "from sel_edge.cli.main import main; main()"]
CALL_S = 300
HEALTH = Health(ready_s=20, watch_s=3)
IMPATIENT = ("ServerAliveInterval=1", "ServerAliveCountMax=2", "ConnectTimeout=5")


@dataclass(frozen=True)
class Said:
    """What a command printed."""

    out: str
    err: str


class Workstation:
    """Makes releases and deploys them from this process.

    Args:
        place: an empty folder.

    Attributes:
        key: who signs.
    """

    def __init__(self, place: Path) -> None:
        self.place = place
        self.key = open_key(place / "key.pem")

    def order(
        self, manner: Manner = "good", bundle: str = "bundle-v1", source: str = "http"
    ) -> Order:
        """A release with such a daemon; other sources make other releases of the same daemon."""
        return Order(
            bundle=open_bundle(BUNDLES / bundle),
            key=self.key,
            public_key=self.public_key,
            service=Service(source, memory="200M"),
            cache=self.place / "cache",
            wheels=self.wheels(manner),
            index=False,
            trust=(self.key.public,),
            health=HEALTH,
            ssh_options=IMPATIENT,
        )

    def wheels(self, manner: Manner) -> Path:
        """A wheelhouse with such a daemon."""
        folder = self.place / f"wheels-{manner}"
        if not folder.exists():
            make_wheelhouse(folder, manner)
        return folder

    def call(self, *words: object, code: int = 0) -> Said:
        """`sel-edge WORDS` in a process of its own, which has to end with this code."""
        done = subprocess.run(
            [*PROGRAM, *map(str, words)], capture_output=True, text=True, timeout=CALL_S
        )
        assert done.returncode == code, done.stdout + done.stderr
        return Said(done.stdout, done.stderr)

    def deploy_words(
        self, target: str, manner: Manner = "good", bundle: str = "bundle-v1"
    ) -> list[object]:
        """The command line that deploys such a daemon."""
        return [
            "deploy", target, "--bundle", BUNDLES / bundle, "--source", "http", "--offline",
            "--sign", self.place / "key.pem", "--wheels", self.wheels(manner),
            "--ready-within", HEALTH.ready_s, "--watch-for", HEALTH.watch_s,
        ]  # fmt: skip

    @property
    def public_key(self) -> Path:
        return public_path(self.place / "key.pem")

    def deploy(self, pi: Pi, order: Order, say: Say = print, is_dry: bool = False) -> Outcome:
        """Needs SEL_EDGE_SSH to know the Pi; see `ssh_for`."""
        return Deployment(pi.name, order, say).run(is_dry)


def ssh_for(place: Path) -> str:
    """What SEL_EDGE_SSH has to be so that all Pis in a folder are found by their names."""
    config = place / "ssh_config"
    config.write_text(f"Include {place}/*/client/config\n")
    return f"ssh -F {config}"
