"""Every frame goes through the network of its domain, and few networks are held for that."""

from __future__ import annotations

from dataclasses import replace
from typing import Any
from weakref import WeakSet

import numpy as np
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from sel_edge.bundle.bundle import Bundle, pack_anchors, write_bundle
from sel_edge.bundle.domain import OWN, Domain, Norm
from sel_edge.bundle.manifest import ANCHORS_FILE, MOMENTS_FILE, Moments
from sel_edge.core.errors import DataError
from sel_edge.runtime import eyes as room
from sel_edge.runtime.domains import Router
from sel_edge.runtime.engine import Engine
from sel_edge.runtime.eyes import Eyes
from sel_edge.runtime.head import Head
from sel_edge.runtime.moments import MomentModel, bundle_moments
from sel_edge.runtime.network import Network, bundle_network
from sel_edge.runtime.preprocess import Preprocessor
from sel_edge.runtime.session import Session
from tests.runtime.trainable import bundle, engine, images

CONV = "body.2.conv2.weight"
COUNT = 24
DIM = 7


@pytest.fixture(scope="module")
def model() -> MomentModel:
    return bundle_moments(bundle())


@pytest.fixture
def eyes(model: MomentModel) -> Eyes:
    return Eyes(bundle(), model, threads=1)


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> Opened:
    found = Opened()
    monkeypatch.setattr(room, "Engine", found.engine)
    return found


@pytest.fixture(scope="module")
def stemmed(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """The same network with moments of its first layer, at every other pixel."""
    content = {name: bundle().member(name).read_bytes() for name in bundle().manifest.members}
    parameters = [bundle().parameter(f"body.0.0.{name}") for name in ("weight", "bias")]
    filters = len(parameters[1])
    node, value = helper.make_node, helper.make_tensor_value_info
    shape = numpy_helper.from_array(np.array([0, 1, filters]), "shape")
    graph = helper.make_graph(
        [
            node("Conv", ["image", "w", "b"], ["stem"], pads=[1, 1, 1, 1], strides=[2, 2]),
            node("Mul", ["stem", "stem"], ["squares"]),
            node("GlobalAveragePool", ["stem"], ["mean"]),
            node("GlobalAveragePool", ["squares"], ["mean_square"]),
            node("Reshape", ["mean", "shape"], ["means"]),
            node("Reshape", ["mean_square", "shape"], ["mean_squares"]),
            node("Concat", ["means", "mean_squares"], ["moments"], axis=1),
        ],
        "moments",
        [value("image", TensorProto.FLOAT, ["n", 3, 8, 8])],
        [value("moments", TensorProto.FLOAT, ["n", 2, filters])],
        [*map(numpy_helper.from_array, parameters, ["w", "b"]), shape],
    )
    opsets = [helper.make_opsetid("", 18)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=8)
    content[MOMENTS_FILE] = model.SerializeToString()
    folder, anchors = tmp_path_factory.mktemp("stemmed"), bundle().anchors()
    (folder / MOMENTS_FILE).write_bytes(content[MOMENTS_FILE])
    inputs = Preprocessor(bundle().manifest.preprocessing)(anchors.frames)
    moments = Session(folder / MOMENTS_FILE, 1).run({"image": inputs})["moments"]
    content[ANCHORS_FILE] = pack_anchors(anchors.frames, anchors.labels, anchors.features, moments)
    said = Moments(filters, parameters[0].size * 4 * 4)
    manifest = replace(bundle().manifest, moments=said, members={})
    return write_bundle(folder / "bundle", manifest, content)


class Opened:
    """Counts engines: all that were opened, and those that somebody still holds."""

    def __init__(self) -> None:
        self.times, self.held = 0, WeakSet[Engine]()

    def engine(self, *args: Any) -> Engine:
        found = Engine(*args)
        self.times += 1
        self.held.add(found)
        return found


def dim(count: int = COUNT) -> NDArray[np.uint8]:
    """Frames of another domain."""
    return images(count) // DIM


def norm(seed: int) -> Norm:
    rng, parameters = np.random.default_rng(seed), bundle().parameters()
    return {
        layer.weight: (
            rng.uniform(0.5, 2, len(parameters[layer.bias])).astype(np.float32),
            rng.normal(size=len(parameters[layer.bias])).astype(np.float32),
        )
        for layer in bundle().manifest.rungs["norm"].layers
    }


def domain(model: MomentModel, frames: NDArray[np.uint8], norm: Norm) -> Domain:
    """The domain of these frames, whatever they show."""
    classes = len(bundle().manifest.classes)
    shares = np.full((len(frames), classes), 1 / classes)
    place = model.displacements(engine().observe(frames).moments, shares).mean(axis=0)
    return Domain(place.astype(np.float32), len(frames), norm)


def dim_network(model: MomentModel, seed: int = 0) -> Network:
    """With the domain 3 of dim frames."""
    return bundle_network(bundle()).with_domains({3: domain(model, dim(), norm(seed))})


def network_of(of: Bundle) -> Network:
    """The same of any bundle with these frames."""
    model, classes = bundle_moments(of), len(of.manifest.classes)
    shares = np.full((COUNT, classes), 1 / classes)
    place = model.displacements(Engine(of, 1).moments(dim()), shares).mean(axis=0)
    other = Domain(place.astype(np.float32), COUNT, norm(0))
    return bundle_network(of).with_domains({3: other})


def with_rows(network: Network) -> Network:
    return network.with_rows({CONV: (np.array([1]), -network.parameter(CONV)[1:2])})


def with_head(network: Network, name: str) -> Network:
    old = network.head
    return network.with_head(
        Head(
            np.concatenate([old.weight, old.weight[:1]]),
            np.concatenate([old.bias, old.bias[:1]]),
            (*old.classes, name),
        )
    )


def features(network: Network, number: int, frames: NDArray[np.uint8]) -> NDArray[np.float32]:
    """What an engine of its own sees in a domain."""
    return Engine(bundle(), 1, network.effective(number)).features(frames)


class TestLook:
    def test_without_domains_it_sees_what_the_engine_observes(self, eyes: Eyes) -> None:
        seen = eyes.look(images(COUNT), bundle_network(bundle()))
        expected = engine().observe(images(COUNT))
        np.testing.assert_array_equal(seen.features, expected.features)
        np.testing.assert_array_equal(seen.moments, expected.moments)
        assert (seen.domains == OWN).all() and seen.domains.shape == (COUNT,)
        assert seen.watching_flops == COUNT * engine().moment_flops

    def test_without_domains_weights_that_changed_count(self, eyes: Eyes) -> None:
        network = with_rows(bundle_network(bundle()))
        seen = eyes.look(images(COUNT), network)
        np.testing.assert_array_equal(seen.features, features(network, OWN, images(COUNT)))
        assert (seen.features != engine().features(images(COUNT))).any()

    @pytest.mark.parametrize("changed", [False, True])
    def test_frames_of_a_domain_go_through_its_network(
        self, eyes: Eyes, model: MomentModel, changed: bool
    ) -> None:
        network = with_rows(dim_network(model)) if changed else dim_network(model)
        truth = np.random.default_rng(0).choice([OWN, 3], COUNT)
        frames = np.where((truth == 3)[:, None, None, None], dim(), images(COUNT))
        seen = eyes.look(frames, network)
        assert (seen.domains == truth).all()
        for number in (OWN, 3):
            own = truth == number
            expected = features(network, number, frames[own])
            np.testing.assert_array_equal(seen.features[own], expected)
        assert (features(network, OWN, dim()) != features(network, 3, dim())).any()

    def test_moments_are_the_same_whatever_the_domain(self, eyes: Eyes, model: MomentModel) -> None:
        seen = eyes.look(dim(), dim_network(model))
        np.testing.assert_array_equal(seen.moments, engine().observe(dim()).moments)

    def test_telling_domains_apart_is_counted(self, eyes: Eyes, model: MomentModel) -> None:
        one = dim_network(model)
        two = one.with_domains({5: domain(model, 255 - images(COUNT), {})})
        costs = [eyes.look(dim(n), net).watching_flops for net in (one, two) for n in (8, 16)]
        assert 0 < costs[0] < costs[2] and costs[1::2] == [2 * costs[0], 2 * costs[2]]

    def test_of_the_first_layer_they_are_told_alone(self, stemmed: Bundle) -> None:
        """Before the network runs, and bit for bit as if beside it, whatever it has learned."""
        weight = "body.0.0.weight"
        alone = Engine(stemmed, 1)
        learned = Engine(stemmed, 1, {weight: 2 * stemmed.parameter(weight)})
        found = alone.moments(images(COUNT))
        assert found.shape == (COUNT, 2, stemmed.manifest.moments.channels)
        np.testing.assert_array_equal(found, alone.observe(images(COUNT)).moments)
        np.testing.assert_array_equal(found, learned.moments(images(COUNT)))
        np.testing.assert_array_equal(found, stemmed.anchors().moments[:COUNT])

    @pytest.mark.parametrize("has_stem", [False, True])
    def test_every_frame_runs_through_one_network_once(
        self, stemmed: Bundle, has_stem: bool, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """And only that and telling the domains apart is counted."""
        of, ran = stemmed if has_stem else bundle(), list[tuple[str, int]]()
        run = Session.run

        def counted(session: Session, feeds: Any, wanted: Any = None) -> Any:
            ran.append((min(session.outputs), len(feeds["image"])))
            return run(session, feeds, wanted)

        eyes, network = Eyes(of, bundle_moments(of), 1), network_of(of)
        frames = np.concatenate([images(COUNT), dim()])
        monkeypatch.setattr(Session, "run", counted)
        seen = eyes.look(frames, network)
        assert (seen.domains == 3).sum() == COUNT
        assert sum(n for output, n in ran if output == "features") == 2 * COUNT
        assert sum(n for output, n in ran if output == "moments") == 2 * COUNT * has_stem
        telling = Router(bundle_moments(of)).flops(2 * COUNT, 1)
        assert seen.watching_flops == 2 * COUNT * Engine(of, 1).moment_flops + telling

    def test_no_frames_are_no_trouble(self, eyes: Eyes, model: MomentModel) -> None:
        for network in (bundle_network(bundle()), dim_network(model)):
            seen = eyes.look(images(0), network)
            assert seen.features.shape == (0, bundle().manifest.features)
            assert seen.moments.shape == (0, 2, 3) and seen.domains.shape == (0,)

    def test_a_new_normalization_counts_from_the_next_frame_on(
        self, eyes: Eyes, model: MomentModel
    ) -> None:
        for seed in (1, 2, 1):
            network = dim_network(model, seed)
            seen = eyes.look(dim(), network)
            np.testing.assert_array_equal(seen.features, features(network, 3, dim()))

    def test_frames_of_another_shape_are_refused(self, eyes: Eyes, model: MomentModel) -> None:
        for network in (bundle_network(bundle()), dim_network(model)):
            with pytest.raises(DataError):
                eyes.look(images(COUNT)[:, :4], network)


def test_it_observes_and_costs_what_the_bundles_engine_does(eyes: Eyes, model: MomentModel) -> None:
    eyes.look(dim(), with_rows(dim_network(model)))
    seen, expected = eyes.observe(dim()), engine().observe(dim())
    np.testing.assert_array_equal(seen.features, expected.features)
    np.testing.assert_array_equal(seen.logits, expected.logits)
    assert eyes.forward_flops == engine().forward_flops


def test_routing_for_once_neither_heeds_nor_changes_what_came_before(
    eyes: Eyes, model: MomentModel
) -> None:
    """Frames half way between two domains, which go where those before them went."""
    half = (images(COUNT) // 10 * 4).astype(np.uint8)
    network, untouched = dim_network(model), Eyes(bundle(), model, threads=1)
    moments = engine().observe(half).moments
    fresh = eyes.router().route(moments, network.domains)
    for other in (eyes, untouched):
        other.look(dim(), network)
    np.testing.assert_array_equal(eyes.look(half, network, eyes.router()).domains, fresh)
    ours, theirs = (other.look(half, network).domains for other in (eyes, untouched))
    np.testing.assert_array_equal(ours, theirs)
    assert (ours != fresh).any()


class TestEngines:
    @pytest.mark.parametrize("most", [2, 3, 5])
    def test_as_many_are_held_as_allowed(
        self, opened: Opened, model: MomentModel, most: int
    ) -> None:
        eyes = Eyes(bundle(), model, 1, most)
        for seed in range(7):
            eyes.look(dim(2), dim_network(model, seed))
            assert len(opened.held) == min(seed + 2, most)
        assert opened.times == 8

    def test_the_one_used_longest_ago_goes(self, opened: Opened, model: MomentModel) -> None:
        eyes = Eyes(bundle(), model, 1, 3)
        for seed, times in ((0, 2), (1, 3), (0, 3), (2, 4), (0, 4), (1, 5)):
            eyes.look(dim(2), dim_network(model, seed))
            assert opened.times == times

    def test_another_classifier_opens_none(self, opened: Opened, model: MomentModel) -> None:
        eyes, network = Eyes(bundle(), model, 1), dim_network(model)
        before = eyes.look(dim(), network).features
        times = opened.times
        after = eyes.look(dim(), with_head(network, "new")).features
        eyes.look(images(COUNT), with_head(bundle_network(bundle()), "new"))
        assert opened.times == times == 2
        np.testing.assert_array_equal(after, before)

    def test_a_domain_normalized_like_the_bundles_own_opens_none(
        self, opened: Opened, model: MomentModel
    ) -> None:
        eyes = Eyes(bundle(), model, 1)
        network = bundle_network(bundle()).with_domains({1: domain(model, dim(), {})})
        assert (eyes.look(dim(), network).domains == 1).any()
        assert opened.times == 1

    def test_domains_without_frames_open_none(self, opened: Opened, model: MomentModel) -> None:
        eyes = Eyes(bundle(), model, 1)
        assert (eyes.look(images(COUNT), dim_network(model)).domains == OWN).all()
        assert opened.times == 1
