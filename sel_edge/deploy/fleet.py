"""A fleet: one board first, then some at a time, and no further ones after a failure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from threading import Event

from sel_edge.core.errors import SelEdgeError
from sel_edge.deploy.deployment import Outcome

GOOD = ("good", "unchanged", "planned")


def deploy_fleet(
    hosts: Sequence[str], jobs: int, deploy: Callable[[str], Outcome]
) -> list[Outcome]:
    """Deploy to every host, the first one alone.

    Args:
        hosts: in the order of the list; the first is the canary.
        jobs: boards at a time, at least 1.
        deploy: deploys to one.

    Returns:
        An outcome for each host, in their order; `skipped` for those that were left as they are
        because another one failed.
    """
    has_failed = Event()

    def attempt(host: str) -> Outcome:
        if has_failed.is_set():
            return Outcome(host, "skipped", reason="Another board failed before.")
        try:
            outcome = deploy(host)
        except SelEdgeError as error:
            outcome = Outcome(host, "failed", reason=str(error))
        if outcome.result not in GOOD:
            has_failed.set()
        return outcome

    canary = attempt(hosts[0])
    with ThreadPoolExecutor(jobs) as pool:
        return [canary, *pool.map(attempt, hosts[1:])]
