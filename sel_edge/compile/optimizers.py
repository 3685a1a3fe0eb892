"""Optimizers as operators: from weight and gradient to new weight and new state."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, TypeAlias

from sel_edge.compile.graph import Graph

LEARNING_RATE = "learning_rate"
STEP = "step"
"""Scalar input of Adam: the number of this step, counted from 1."""


@dataclass(frozen=True)
class Sgd:
    """Stochastic gradient descent as torch defines it.

    v' = momentum v + g + weight_decay w, and w' = w - learning_rate v'.
    """

    momentum: float = 0.9
    weight_decay: float = 0.0
    state: ClassVar[tuple[str, ...]] = ("velocity",)
    scalars: ClassVar[tuple[str, ...]] = (LEARNING_RATE,)

    def update(
        self, graph: Graph, weight: str, gradient: str, state: Mapping[str, str]
    ) -> tuple[str, dict[str, str]]:
        """The new weight and the new velocity."""
        velocity = _decayed(graph, weight, gradient, self.weight_decay)
        kept = graph.add("Mul", state["velocity"], graph.scalar(self.momentum, weight))
        velocity = graph.add("Add", kept, velocity)
        change = graph.add("Mul", velocity, LEARNING_RATE)
        return graph.add("Sub", weight, change), {"velocity": velocity}


@dataclass(frozen=True)
class Adam:
    """Adam (Kingma and Ba, arXiv 1412.6980) as torch defines it, weight decay added to g.

    m' = b1 m + (1 - b1) g, v' = b2 v + (1 - b2) g^2, and
    w' = w - learning_rate (m' / (1 - b1^t)) / (sqrt(v' / (1 - b2^t)) + epsilon).
    """

    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8
    weight_decay: float = 0.0
    state: ClassVar[tuple[str, ...]] = ("mean", "square")
    scalars: ClassVar[tuple[str, ...]] = (LEARNING_RATE, STEP)

    def update(
        self, graph: Graph, weight: str, gradient: str, state: Mapping[str, str]
    ) -> tuple[str, dict[str, str]]:
        """The new weight, and the new running means of the gradient and of its square."""
        gradient = _decayed(graph, weight, gradient, self.weight_decay)
        mean = self._blend(graph, state["mean"], gradient, self.beta1)
        square = graph.add("Mul", gradient, gradient)
        square = self._blend(graph, state["square"], square, self.beta2)
        root = graph.add("Sqrt", graph.add("Div", square, self._correction(graph, self.beta2)))
        root = graph.add("Add", root, graph.scalar(self.epsilon, weight))
        rate = graph.add("Div", LEARNING_RATE, self._correction(graph, self.beta1))
        change = graph.add("Div", graph.add("Mul", mean, rate), root)
        return graph.add("Sub", weight, change), {"mean": mean, "square": square}

    def _blend(self, graph: Graph, old: str, new: str, beta: float) -> str:
        kept = graph.add("Mul", old, graph.scalar(beta, old))
        return graph.add("Add", kept, graph.add("Mul", new, graph.scalar(1.0 - beta, old)))

    def _correction(self, graph: Graph, beta: float) -> str:
        """1 - beta^t."""
        power = graph.add("Pow", graph.scalar(beta, STEP), STEP)
        return graph.add("Sub", graph.scalar(1.0, STEP), power)


Optimizer: TypeAlias = Sgd | Adam
"""`state` names the tensors it keeps per weight, of the weight's shape and zero at first; `scalars`
the float32 scalars that a step takes for it."""


def _decayed(graph: Graph, weight: str, gradient: str, weight_decay: float) -> str:
    if not weight_decay:
        return gradient
    decay = graph.add("Mul", weight, graph.scalar(weight_decay, weight))
    return graph.add("Add", gradient, decay)
