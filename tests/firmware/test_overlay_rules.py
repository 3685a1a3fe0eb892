"""Random histories of a board's overlay, with power cuts, against docs/SPEC.md in Python.

After everything that happens, the areas' bytes are read by `overlay_reader`, and the firmware must
say the same of them; and it must answer as the rules say for what the reader found before.
"""

from __future__ import annotations

from itertools import groupby

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from sel_edge.mcu.image import pack_texts
from sel_edge.mcu.manifest import TO_IMAGE, delta_manifest, rollback_manifest
from sel_edge.mcu.payload import difference
from sel_edge.mcu.running import Kind, Running, parse_payload
from tests.firmware.overlay_reader import (
    MOST_SEGMENTS,
    PAGE,
    Overlay,
    Segment,
    read_overlay,
    segment_bytes,
)
from tests.firmware.rig import Rig, Status
from tools.powercut_scenarios import (
    CONV,
    HEAD,
    WIDTH,
    Action,
    Step,
    board_image,
    board_input,
    content_of,
    logits_of,
    rescaled,
    rewritten,
)
from tools.small_network import grown

AREA_BYTES = 4096
IMAGE = board_image()
SEEDS = st.integers(0, 2**16)
CUTS = st.none() | st.tuples(st.integers(1, 16), st.floats(0, 1), st.booleans(), SEEDS)
CHANGES = st.sampled_from(["class", "scale", "one", "some", "all", "head"])


def changed(network: Running, kind: str, seed: int) -> Running:
    """A network with another hash."""
    first = seed % (WIDTH - 8)
    if kind == "class" and len(network.classes) < IMAGE.most_classes:
        return grown(network, seed)
    if kind == "scale":
        return rescaled(network, seed, slice(first, first + 8))
    if kind == "one":
        return rescaled(network, seed, slice(first, first + 1))
    if kind == "some":
        return rewritten(network, seed, CONV, slice(first, first + 6))
    return rewritten(network, seed, CONV if kind == "all" else HEAD)


def snapshot_bytes(stack: list[Segment]) -> int:
    """Bytes of the payload that stands for a stack's, counted without making it."""
    kinds: dict[tuple[int, int], Kind] = {}
    names = 0
    for segment in stack:
        for run in parse_payload(IMAGE, segment.payload):
            if run.kind == Kind.CLASSES:
                text = len(pack_texts(run.classes))
                names = 12 + text + -text % 4
            for channel in run.channels:
                key = (run.layer, channel)
                kinds[key] = max(run.kind, kinds.get(key, Kind.SCALE))
    size = names
    for layer, kind in {(layer, kind) for (layer, _), kind in kinds.items()}:
        channels = sorted(c for (n, c), k in kinds.items() if (n, k) == (layer, kind))
        runs = len(list(groupby(enumerate(channels), lambda pair: pair[1] - pair[0])))
        row_bytes = IMAGE.layers[layer].row_bytes if kind == Kind.WHOLE else 0
        size += 8 * runs + len(channels) * (8 + row_bytes)
    return size


def has_room(found: Overlay, areas: tuple[bytes, bytes], needed: int, merges_all: bool) -> bool:
    """Whether a segment can be appended, here or after a compaction."""
    if found.area < 2 and len(found.stack) < MOST_SEGMENTS:
        place = areas[found.area][found.end : found.end + needed]
        if place == b"\xff" * needed:
            return True
    below = found.stack[:-1] if len(found.stack) > 1 else []
    kept = sum(s.bytes for s in found.stack[len(below) :])
    room = AREA_BYTES - PAGE - needed
    least = [kept + (segment_bytes(snapshot_bytes(below)) if below else 0)]
    if merges_all and found.stack:
        least.append(segment_bytes(snapshot_bytes(found.stack)))
    return min(least) <= room


def due_status(found: Overlay, areas: tuple[bytes, bytes], step: Step) -> Status:
    """What the rules answer a step."""
    segment = Segment(0, step.manifest, step.content, False)
    if found.newest == step.manifest and step.action != Action.PUSH_PART:
        return Status.OK
    if segment.before != found.hash:
        return Status.WRONG_BASE
    if segment.counter <= found.counter:
        return Status.STALE_COUNTER
    if step.action == Action.GO_BACK:
        left = len(found.stack) - 1 if segment.depth == 1 else 0
        if not found.stack or found.networks[left][0] != segment.after:
            return Status.NOTHING_BEFORE
        return Status.OK  # there is always room
    if found.pending == step.manifest and len(found.stack) < MOST_SEGMENTS:
        return Status.OK
    fits = has_room(found, areas, segment.bytes + 2 * PAGE, merges_all=True)
    return Status.OK if fits else Status.FULL


class Histories(RuleBasedStateMachine):
    """A board whose host may also do old things again."""

    def __init__(self) -> None:
        super().__init__()
        self.rig, self.steps = Rig(IMAGE, AREA_BYTES), list[Step]()
        self.found = read_overlay(self.rig.areas(), IMAGE)
        self.known = {self.found.hash: content_of(self.found.network)}
        self.counter = 0

    def teardown(self) -> None:
        self.rig.__exit__(None, None, None)

    @rule(kind=CHANGES, seed=SEEDS, cut=CUTS)
    def push(self, kind, seed, cut):
        self.do(self.delta(Action.PUSH, kind, seed), cut)

    @rule(kind=CHANGES, seed=SEEDS, cut=CUTS)
    def push_part(self, kind, seed, cut):
        self.do(self.delta(Action.PUSH_PART, kind, seed), cut)

    @precondition(lambda self: self.steps)
    @rule(number=st.integers(0, 2), cut=CUTS)
    def do_again(self, number, cut):
        """The last step, if it failed or was cut; or an old one."""
        step = self.steps[-1 - number % len(self.steps)]
        if step.action == Action.PUSH_PART:
            step = Step(Action.PUSH, step.manifest, step.content, len(step.content))
        self.do(step, cut)

    @rule(cut=CUTS, depth=st.sampled_from([1, TO_IMAGE]), knows=st.booleans())
    def go_back(self, cut, depth, knows):
        networks = self.found.networks
        after = networks[-2 if depth == 1 and len(networks) > 1 else 0][0] if knows else bytes(32)
        self.counter += 1
        manifest = rollback_manifest(self.found.hash.hex(), after.hex(), self.counter, depth)
        self.do(Step(Action.GO_BACK, manifest.to_bytes(), b"", 0), cut)

    @rule()
    def restart(self):
        self.rig.start()

    def delta(self, action: Action, kind: str, seed: int) -> Step:
        self.counter += 1
        new = changed(self.found.network, kind, seed + (self.counter << 16))
        payload = difference(self.found.network, new)
        manifest = delta_manifest(self.found.hash.hex(), payload, self.counter)
        self.known[bytes.fromhex(manifest.after)] = content_of(new)
        sent = len(payload) if action == Action.PUSH else min(seed % 1025, len(payload))
        return Step(action, manifest.to_bytes(), payload, sent)

    def do(self, step: Step, cut: tuple[int, float, bool, int] | None) -> None:
        self.steps.append(step)
        before, operations = self.found, self.rig.operations
        due = due_status(before, self.rig.areas(), step)
        self.rig.cut(*(cut or (0,)))
        status = self.rig.step(step)
        is_cut = cut is not None and self.rig.operations - operations >= cut[0]
        if is_cut:
            self.rig.start()
        self.rig.cut(0)
        self.found = read_overlay(self.rig.areas(), IMAGE)
        changes = due == Status.OK and step.action != Action.PUSH_PART
        after = (step.manifest[64:96], Segment(0, step.manifest, b"", False).counter)
        may = {after} if changes else {(before.hash, before.counter)}
        may |= {(before.hash, before.counter)} if is_cut else set()
        assert (self.found.hash, self.found.counter) in may
        assert is_cut or status == due

    @invariant()
    def firmware_and_reader_agree(self):
        found, state, areas = self.found, self.rig.state(), self.rig.areas()
        assert bytes(state.hash) == found.hash
        assert (state.counter, state.area, state.end) == (found.counter, found.area, found.end)
        assert (state.depth, bool(state.is_damaged)) == (len(found.stack), found.is_damaged)
        pending = areas[state.area][state.pending :][:128] if state.pending else None
        assert pending == found.pending
        assert not found.is_damaged

    @invariant()
    def network_is_what_its_hash_says(self):
        network = self.found.network
        assert self.rig.content() == content_of(network)
        assert self.rig.logits(board_input(), len(network.classes)) == list(logits_of(network))

    @invariant()
    def compaction_keeps_all_that_can_be_gone_back_to(self):
        for name, network in self.found.networks:
            assert content_of(network) == self.known[name]

    @invariant()
    def flash_is_used_by_its_rules(self):
        assert self.rig.violations == 0


Histories.TestCase.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
test_histories = Histories.TestCase
