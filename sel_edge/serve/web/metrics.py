"""The newest snapshot for Prometheus; names end in their units."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.registry import Collector

from sel_edge.serve.device import Device
from sel_edge.serve.snapshot import PHASES, Snapshot

MEDIA_TYPE = CONTENT_TYPE_LATEST
_UNITS = {"flops_per_day": "flops", "flash_writes_per_day": "writes"}
"""Of resources; all others are joules."""


class Metrics:
    """A registry of its own, so that nothing else is told.

    Args:
        device: to be told of.
    """

    def __init__(self, device: Device) -> None:
        self._device = device
        self._answered: dict[int, int] = {}
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(_Reader(self))
        ProcessCollector(registry=self._registry)

    def count(self, status: int) -> None:
        """A request was answered."""
        self._answered[status] = self._answered.get(status, 0) + 1

    def text(self) -> bytes:
        """All of it, in the text format of Prometheus."""
        return generate_latest(self._registry)

    def families(self) -> Iterator[Metric]:
        """All that the device tells, and the requests."""
        snapshot = self._device.snapshot()
        yield from _flow(snapshot)
        yield from _embarrassment(snapshot)
        yield from _labels(snapshot)
        yield from _spending(snapshot)
        yield from _state(snapshot)
        requests = CounterMetricFamily(
            "sel_edge_http_requests", "Answered requests.", labels=("status",)
        )
        for status, count in sorted(self._answered.copy().items()):
            requests.add_metric([str(status)], count)
        yield requests


class _Reader(Collector):
    """What the registry asks."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def collect(self) -> Iterator[Metric]:
        yield from self._metrics.families()


def _flow(snapshot: Snapshot) -> Iterator[Metric]:
    flow = snapshot.flow
    counted = {
        "frames": (flow.seen, "Frames that were answered."),
        "frames_dropped": (flow.dropped, "Frames let go because newer ones came too fast."),
        "frames_refused": (flow.refused, "Frames that could not be used."),
        "errors": (snapshot.errors, "Ticks that ended in an error."),
    }
    for name, (count, about) in counted.items():
        yield CounterMetricFamily(f"sel_edge_{name}", about, value=count)


def _embarrassment(snapshot: Snapshot) -> Iterator[Metric]:
    now = GaugeMetricFamily(
        "sel_edge_embarrassment_nats",
        "Embarrassment by labels (exact), and its estimate without labels (standin).",
        labels=("class", "kind"),
    )
    for name, windows in snapshot.embarrassment.items():
        for kind, value in (("exact", windows.exact), ("standin", windows.standin)):
            if value is not None:
                now.add_metric([name, kind], value)
    yield now
    normal = GaugeMetricFamily(
        "sel_edge_embarrassment_normal_nats", "What is normal.", labels=("class",)
    )
    for name, value in snapshot.normal.items():
        normal.add_metric([name], value)
    yield normal


def _labels(snapshot: Snapshot) -> Iterator[Metric]:
    queue = snapshot.queue
    yield GaugeMetricFamily("sel_edge_waiting_frames", "Wait for a label.", value=queue.waiting)
    labelled = GaugeMetricFamily("sel_edge_labelled_frames", "Have a label.", labels=("class",))
    for name, count in queue.labelled.items():
        labelled.add_metric([name], count)
    yield labelled
    yield GaugeMetricFamily(
        "sel_edge_not_useful_frames", "Were answered so.", value=queue.not_useful
    )


def _spending(snapshot: Snapshot) -> Iterator[Metric]:
    energy = CounterMetricFamily(
        "sel_edge_energy_joules", "Joules, measured or estimated.", labels=("purpose", "origin")
    )
    flops = CounterMetricFamily("sel_edge_executed_flops", "Operations.", labels=("purpose",))
    work = CounterMetricFamily("sel_edge_work_seconds", "Wall time.", labels=("purpose",))
    for spent in snapshot.spent:
        energy.add_metric([spent.purpose, spent.energy.origin], spent.energy.joules)
        flops.add_metric([spent.purpose], spent.executed_flops)
        work.add_metric([spent.purpose], spent.seconds)
    yield from (energy, flops, work)
    for unit in ("joules", "flops", "writes"):
        left = GaugeMetricFamily(
            f"sel_edge_wallet_left_{unit}", "May be spent now.", labels=("resource",)
        )
        size = GaugeMetricFamily(
            f"sel_edge_wallet_size_{unit}", "May be spent at most.", labels=("resource",)
        )
        for balance in snapshot.balances:
            if _UNITS.get(balance.resource, "joules") == unit:
                left.add_metric([balance.resource], balance.left)
                size.add_metric([balance.resource], balance.size)
        yield from (left, size)


def _state(snapshot: Snapshot) -> Iterator[Metric]:
    if snapshot.celsius is not None:
        yield GaugeMetricFamily(
            "sel_edge_processor_celsius", "Temperature.", value=snapshot.celsius
        )
    yield GaugeMetricFamily(
        "sel_edge_processor_throttled", "1 if slowed down.", value=float(snapshot.throttled)
    )
    yield GaugeMetricFamily(
        "sel_edge_start_time_seconds", "Since 1970.", value=snapshot.started_utc_s
    )
    now = GaugeMetricFamily("sel_edge_phase", "1 for what the worker does.", labels=("phase",))
    for phase in PHASES:
        now.add_metric([phase], float(phase == snapshot.phase))
    yield now
    names = {"bundle": snapshot.bundle, "network": snapshot.network, "model": snapshot.model}
    yield InfoMetricFamily("sel_edge_network", "What runs.", value=names)
