"""Gradients of matrix products."""

from __future__ import annotations

from sel_edge.compile.graph import Graph
from sel_edge.compile.rules.broadcast import reduce_to_shape
from sel_edge.compile.rules.registry import Backward, Gradients, rule


@rule("MatMul")
def matmul(b: Backward) -> Gradients:
    """Y = A B: dA = dY B^T and dB = A^T dY, summed over broadcast batch dimensions."""
    g, (left, right) = b.graph, b.node.inputs
    if min(g.rank(left), g.rank(right)) < 2:
        return _vector(b)
    found: Gradients = {}
    if 0 in b.wanted:
        found[0] = reduce_to_shape(g, g.add("MatMul", b.dy, _swap(g, right)), left)
    if 1 in b.wanted and g.rank(right) == 2 and g.rank(left) > 2:
        # One product over all rows instead of one per batch element and a sum.
        rows = g.add("Reshape", left, g.ints(-1, g.shape(left)[-1]))
        gradient = g.add("Reshape", b.dy, g.ints(-1, g.shape(right)[-1]))
        found[1] = g.add("MatMul", _swap(g, rows), gradient)
    elif 1 in b.wanted:
        found[1] = reduce_to_shape(g, g.add("MatMul", _swap(g, left), b.dy), right)
    return found


def _vector(b: Backward) -> Gradients:
    """A vector is a matrix of one row on the left, of one column on the right."""
    g, (left, right) = b.graph, b.node.inputs
    dy = b.dy
    if g.rank(right) == 1:
        dy = g.add("Unsqueeze", dy, g.ints(-1))
    if g.rank(left) == 1:
        dy = g.add("Unsqueeze", dy, g.ints(-2))
    found: Gradients = {}
    if 0 in b.wanted:
        columns = right if g.rank(right) > 1 else g.add("Unsqueeze", right, g.ints(1))
        found[0] = reduce_to_shape(g, g.add("MatMul", dy, _swap(g, columns)), left)
    if 1 in b.wanted:
        rows = left if g.rank(left) > 1 else g.add("Unsqueeze", left, g.ints(0))
        gradient = g.add("MatMul", _swap(g, rows), dy)
        if g.rank(right) == 1:
            gradient = g.add("Squeeze", gradient, g.ints(-1))
        found[1] = reduce_to_shape(g, gradient, right)
    return found


@rule("Gemm")
def gemm(b: Backward) -> Gradients:
    """Y = alpha A' B' + beta C, where A' and B' are A and B or their transposes.

    dA' = alpha dY B'^T, dB' = alpha A'^T dY, dC = beta dY summed to the shape of C.
    """
    g, node = b.graph, b.node
    alpha, beta = float(node.get("alpha", 1.0)), float(node.get("beta", 1.0))
    a, m = node.inputs[:2]
    trans_a, trans_b = int(node.get("transA", 0)), int(node.get("transB", 0))
    found: Gradients = {}
    if 0 in b.wanted:
        if trans_a:
            found[0] = g.add("Gemm", m, b.dy, alpha=alpha, transA=trans_b, transB=1)
        else:
            found[0] = g.add("Gemm", b.dy, m, alpha=alpha, transB=1 - trans_b)
    if 1 in b.wanted:
        if trans_b:
            found[1] = g.add("Gemm", b.dy, a, alpha=alpha, transA=1, transB=trans_a)
        else:
            found[1] = g.add("Gemm", a, b.dy, alpha=alpha, transA=1 - trans_a)
    if 2 in b.wanted:
        scaled = b.dy if beta == 1.0 else g.add("Mul", b.dy, g.scalar(beta, b.dy))
        found[2] = reduce_to_shape(g, scaled, node.inputs[2])
    return found


def _swap(g: Graph, tensor: str) -> str:
    """The last two dimensions exchanged."""
    rank = g.rank(tensor)
    return g.transpose(tensor, *range(rank - 2), rank - 1, rank - 2)
