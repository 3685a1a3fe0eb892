"""A fleet: the canary alone, then some at a time, and a failure stops what has not begun."""

from __future__ import annotations

import threading
import time

from hypothesis import given
from hypothesis import strategies as st

from sel_edge.core.errors import DeployError
from sel_edge.deploy.deployment import Outcome
from sel_edge.deploy.fleet import GOOD, deploy_fleet


class Fleet:
    """Hosts, of which some fail; knows how many were at work at once."""

    def __init__(self, bad: set[str]) -> None:
        self._bad, self._lock = bad, threading.Lock()
        self.at_work, self.most, self.tried = 0, 0, list[str]()
        self.canary_was_alone = True

    def deploy(self, host: str) -> Outcome:
        with self._lock:
            self.tried.append(host)
            self.at_work += 1
            self.most = max(self.most, self.at_work)
            if "h0" in self.tried and len(self.tried) > 1 and self.tried[0] != "h0":
                self.canary_was_alone = False
        time.sleep(0.002)
        with self._lock:
            self.at_work -= 1
        if host in self._bad:
            raise DeployError("It is broken.", "", "Mend it.")
        return Outcome(host, "good")


@given(
    count=st.integers(1, 8),
    jobs=st.integers(1, 4),
    bad=st.sets(st.integers(0, 7).map("h{}".format), max_size=3),
)
def test_a_fleet_is_told_of_host_by_host(count: int, jobs: int, bad: set[str]) -> None:
    hosts = [f"h{number}" for number in range(count)]
    fleet = Fleet(bad)
    outcomes = deploy_fleet(hosts, jobs, fleet.deploy)
    results = {outcome.host: outcome.result for outcome in outcomes}
    assert [outcome.host for outcome in outcomes] == hosts
    assert fleet.most <= jobs and fleet.canary_was_alone
    assert {host for host in hosts if results[host] == "failed"} == bad & set(fleet.tried)
    assert all(results[host] == "skipped" for host in hosts if host not in fleet.tried)
    if not bad & set(hosts):
        assert all(result in GOOD for result in results.values())
    if "h0" in bad:
        assert fleet.tried == ["h0"]
    if jobs == 1 and bad & set(hosts):
        first = min(hosts.index(host) for host in bad & set(hosts))
        assert fleet.tried == hosts[: first + 1]


def test_a_release_that_was_gone_back_from_stops_the_fleet() -> None:
    outcomes = deploy_fleet(["a", "b"], 1, lambda host: Outcome(host, "reverted", reason="bad"))
    assert [outcome.result for outcome in outcomes] == ["reverted", "skipped"]
