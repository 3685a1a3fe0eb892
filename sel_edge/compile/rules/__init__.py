"""Gradients of operators, one small function each; importing this package registers them all.

Owns the formulas. Never walks a graph: `differentiate` does.
"""

from sel_edge.compile.rules import (
    activation,
    convolution,
    elementwise,
    layout,
    linear,
    normalization,
    pooling,
    reduction,
    resize,
    softmax,
)
from sel_edge.compile.rules.registry import Backward, MissingRule, find_rule

__all__ = [
    "Backward",
    "MissingRule",
    "activation",
    "convolution",
    "elementwise",
    "find_rule",
    "layout",
    "linear",
    "normalization",
    "pooling",
    "reduction",
    "resize",
    "softmax",
]
