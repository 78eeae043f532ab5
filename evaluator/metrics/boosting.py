"""Exact gradient boosting for DCI, as scikit-learn's `GradientBoostingClassifier()` defines it.

DCI (Eastwood and Williams, 2018) reads how important each latent is for each factor off boosted
trees; disentanglement_lib fits one scikit-learn classifier a factor with the default settings: 100
stages of one depth-3 tree a class (one tree in all for two classes), learning rate 0.1, multinomial
deviance (Friedman, "Greedy function approximation", 2001, Algorithm 6), exact best splits. Here the
same trees are grown, equal but for ties and rounding, with three differences in how:

1. Each latent is sorted once for the whole ensemble; scikit-learn sorts it anew in every node.
2. The classes of all factors share those orders, so eight trees grow side by side: one walk along
   an order reads a sample's eight residuals as one SIMD vector and moves eight searches at once.
3. A split's gain is a fraction, and fractions are compared by cross-multiplying, not by dividing.

Where two splits gain the same, the latent visited first wins, and the order of visits is random, as
in scikit-learn; `seed` fixes it. In small nodes such ties are common: any latent parts two samples.
"""

import operator
import os
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import repeat
from typing import Any

import numba
import numpy as np
from llvmlite import ir  # type: ignore[import-untyped]
from numba import types
from numba.extending import intrinsic, models, overload, register_model

from submission.errors import UserError

STAGES = 100
LEARNING_RATE = 0.1
# Nodes are numbered like a heap: the root is 1, the children of k are 2k and 2k + 1, and a depth-3
# tree ends at 15.
DEPTH = 3
NODES = 2 ** (DEPTH + 1)
# scikit-learn's constants: codes closer than this are one value; a node this pure is a leaf; a leaf
# this certain is left alone.
SAME_VALUE = np.float32(1e-7)
PURE = 10 * np.finfo(np.float64).eps
CERTAIN = 1e-150
# Trees grown side by side: eight float64 residuals are one cache line and one AVX-512 register;
# LLVM splits them for narrower processors.
LANES = 8


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compiles to machine code that runs without the GIL, kept on disk where that works."""
    try:
        return numba.njit(nogil=True, error_model="numpy", cache=True)(function)
    except RuntimeError:  # in a read-only image there is no folder to keep it in
        return numba.njit(nogil=True, error_model="numpy")(function)


# --- Eight lanes: a numba type for a SIMD vector, so that its sums stay in registers --------------


class LanesType(types.Type):
    """Eight float64 side by side."""


class MaskType(types.Type):
    """Eight truth values side by side."""


LANES_TYPE, MASK_TYPE = LanesType("Lanes"), MaskType("LaneMask")
DOUBLES = ir.VectorType(ir.DoubleType(), LANES)
BYTES = ir.VectorType(ir.IntType(8), LANES)
BITS = ir.VectorType(ir.IntType(1), LANES)


def _represent(numba_type: type, llvm_type: ir.Type) -> None:
    class Model(models.PrimitiveModel):
        def __init__(self, manager: Any, frontend: Any) -> None:
            super().__init__(manager, frontend, llvm_type)

    register_model(numba_type)(Model)


_represent(LanesType, DOUBLES)
_represent(MaskType, BITS)


def instruction(define: Callable[..., Any]) -> Any:
    """A function for compiled code that becomes a few machine instructions."""
    return intrinsic(define)


def _row_pointer(
    context: Any, builder: Any, array_type: Any, array: Any, row: Any, vector: Any
) -> Any:
    data = context.make_array(array_type)(context, builder, array).data
    start = builder.mul(row, ir.Constant(row.type, LANES))
    return builder.bitcast(builder.gep(data, [start]), vector.as_pointer())


def _broadcast(builder: Any, scalar: Any, vector: Any) -> Any:
    undefined = ir.Constant(vector, ir.Undefined)
    first = builder.insert_element(undefined, scalar, ir.Constant(ir.IntType(32), 0))
    zeros = ir.Constant(ir.VectorType(ir.IntType(32), LANES), [0] * LANES)
    return builder.shuffle_vector(first, undefined, zeros)


@instruction
def load(typing: Any, array: Any, row: Any) -> Any:
    """Row `row` of a contiguous float64 array [rows, 8], as lanes."""

    def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        array, row = arguments
        pointer = _row_pointer(context, builder, signature.args[0], array, row, DOUBLES)
        return builder.load(pointer, align=8)

    return LANES_TYPE(array, types.intp), emit


@instruction
def store(typing: Any, array: Any, row: Any, lanes: Any) -> Any:
    """Writes lanes to row `row` of a contiguous float64 array [rows, 8]."""

    def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        array, row, lanes = arguments
        pointer = _row_pointer(context, builder, signature.args[0], array, row, DOUBLES)
        builder.store(lanes, pointer, align=8)
        return context.get_dummy_value()

    return types.void(array, types.intp, LANES_TYPE), emit


@instruction
def equals(typing: Any, array: Any, row: Any, byte: Any) -> Any:
    """In which lanes row `row` of a contiguous uint8 array [rows, 8] equals `byte`."""

    def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        array, row, byte = arguments
        pointer = _row_pointer(context, builder, signature.args[0], array, row, BYTES)
        present = builder.load(pointer, align=1)
        return builder.icmp_unsigned("==", present, _broadcast(builder, byte, BYTES))

    return MASK_TYPE(array, types.intp, types.uint8), emit


@instruction
def splat(typing: Any, number: Any) -> Any:
    """The same float64 in all lanes."""

    def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return _broadcast(builder, arguments[0], DOUBLES)

    return LANES_TYPE(types.float64), emit


@instruction
def select(typing: Any, mask: Any, chosen: Any, otherwise: Any) -> Any:
    """`chosen` in the lanes of the mask, `otherwise` in the rest."""

    def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.select(*arguments)

    return LANES_TYPE(MASK_TYPE, LANES_TYPE, LANES_TYPE), emit


@instruction
def somewhere(typing: Any, mask: Any) -> Any:
    """Whether the mask is set in at least one lane."""

    def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        bits = builder.bitcast(arguments[0], ir.IntType(LANES))
        return builder.icmp_unsigned("!=", bits, ir.Constant(bits.type, 0))

    return types.boolean(MASK_TYPE), emit


def _lane_operator(symbol: Any, operand: types.Type, result: types.Type, instruct: Any) -> None:
    @instruction
    def apply(typing: Any, left: Any, right: Any) -> Any:
        def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            return instruct(builder, *arguments)

        return result(operand, operand), emit

    @overload(symbol)
    def choose(left: Any, right: Any) -> Any:
        def implementation(left: Any, right: Any) -> Any:
            return apply(left, right)

        return implementation if left == operand and right == operand else None


# A product and a sum may fuse: the fused result is the more exact one.
FUSE = ("contract",)
_lane_operator(operator.add, LANES_TYPE, LANES_TYPE, lambda b, x, y: b.fadd(x, y, flags=FUSE))
_lane_operator(operator.sub, LANES_TYPE, LANES_TYPE, lambda b, x, y: b.fsub(x, y, flags=FUSE))
_lane_operator(operator.mul, LANES_TYPE, LANES_TYPE, lambda b, x, y: b.fmul(x, y, flags=FUSE))
_lane_operator(operator.gt, LANES_TYPE, MASK_TYPE, lambda b, x, y: b.fcmp_ordered(">", x, y))
_lane_operator(operator.and_, MASK_TYPE, MASK_TYPE, lambda b, x, y: b.and_(x, y))


# --- Growing eight trees --------------------------------------------------------------------------


@compiled
def _search(
    order: np.ndarray,
    values: np.ndarray,
    latent: int,
    residual: np.ndarray,
    nodes: np.ndarray,
    node: int,
    total: np.ndarray,
    count: np.ndarray,
    best: np.ndarray,
) -> None:
    """Walks along one latent's order and improves on each lane's best split of one node.

    Splitting N samples with residual sum S into n with sum s and the rest lowers the squared error
    by (N s - n S)² / (N n (N - n)); `best` holds numerator, n (N - n) and place of the best so far.
    A split may stand before any sample farther than SAME_VALUE from the node's previous one.

    Args:
        order: int32 [samples], samples by rising code.
        values: float32 [samples], the codes in that order.
        latent: The number of the latent.
        residual: float64 [samples, 8].
        nodes: uint8 [samples, 8], the node that each sample has reached in each tree.
        node: The node to split.
        total: float64 [16, 8], residual sums of the nodes.
        count: float64 [16, 8], samples of the nodes; 0 where a lane has nothing to split.
        best: float64 [3, 8], changed in place; a place is latent * samples + rank.
    """
    samples = order.size
    node_total, node_count = load(total, node), load(count, node)
    gain, size, place = load(best, 0), load(best, 1), load(best, 2)
    left_total, left_count, reach = splat(0.0), splat(0.0), splat(np.inf)
    one = splat(1.0)
    for rank in range(samples):
        sample = np.int64(order[rank])
        value = values[rank]
        lead = node_count * left_total - left_count * node_total
        new_gain = lead * lead
        new_size = left_count * (node_count - left_count)
        better = new_gain * size > gain * new_size
        # Nearly always false, so the processor guesses it and needs not wait for the comparison.
        if somewhere(better):
            better = better & (splat(np.float64(value)) > reach) & (node_count > left_count)
            gain = select(better, new_gain, gain)
            size = select(better, new_size, size)
            place = select(better, splat(np.float64(latent * samples + rank)), place)
        inside = equals(nodes, sample, np.uint8(node))
        left_total = select(inside, left_total + load(residual, sample), left_total)
        left_count = select(inside, left_count + one, left_count)
        reach = select(inside, splat(np.float64(value + SAME_VALUE)), reach)
    store(best, 0, gain)
    store(best, 1, size)
    store(best, 2, place)


@compiled
def _sum_node(
    residual: np.ndarray,
    nodes: np.ndarray,
    node: int,
    total: np.ndarray,
    square: np.ndarray,
    curvature: np.ndarray,
    count: np.ndarray,
) -> None:
    """Sums one node's residuals, squared residuals, second derivatives of the loss, and samples."""
    zero, one = splat(0.0), splat(1.0)
    sum_, sum_square, sum_curvature, sum_one = zero, zero, zero, zero
    for sample in range(residual.shape[0]):
        inside = equals(nodes, sample, np.uint8(node))
        r = load(residual, sample)
        # The residual is target minus probability, so its sign tells the target.
        probability = select(r > zero, one, zero) - r
        sum_ = select(inside, sum_ + r, sum_)
        sum_square = select(inside, sum_square + r * r, sum_square)
        sum_curvature = select(
            inside, sum_curvature + probability * (one - probability), sum_curvature
        )
        sum_one = select(inside, sum_one + one, sum_one)
    store(total, node, sum_)
    store(square, node, sum_square)
    store(curvature, node, sum_curvature)
    store(count, node, sum_one)


@compiled
def _threshold(
    order: np.ndarray, values: np.ndarray, nodes: np.ndarray, lane: int, node: int, rank: int
) -> float:
    """Half-way between the node's last code below `rank` and its first one from there."""
    below = rank - 1
    while nodes[order[below], lane] != node:
        below -= 1
    above = rank
    while nodes[order[above], lane] != node:
        above += 1
    return np.float64(values[below]) / 2.0 + np.float64(values[above]) / 2.0


@compiled
def _grow(
    order: np.ndarray,
    values: np.ndarray,
    codes: np.ndarray,
    visits: np.ndarray,
    scale: np.ndarray,
    residual: np.ndarray,
    raw: np.ndarray,
    feature: np.ndarray,
    threshold: np.ndarray,
    value: np.ndarray,
    importance: np.ndarray,
) -> None:
    """Grows one tree in each of eight lanes and adds its predictions to `raw`.

    Args:
        order: int32 [latents, samples], samples by rising code.
        values: float32 [latents, samples], the codes in that order.
        codes: float32 [latents, samples].
        visits: int32 [8, visited latents], the order of visits in each inner node.
        scale: float64 [8], the factor on a leaf's Newton step, (classes - 1) / classes.
        residual: float64 [samples, 8], the negative gradients.
        raw: float64 [samples, 8], log-odds, changed in place.
        feature: int32 [8, 16], out: the latent that splits a node; -1 in a leaf.
        threshold: float64 [8, 16], out: codes above it go right.
        value: float64 [8, 16], out: a leaf's prediction.
        importance: float64 [latents, 8], each tree's gains are added to it.
    """
    samples = residual.shape[0]
    nodes = np.ones((samples, LANES), np.uint8)
    nodes_of_lane = np.ones((LANES, samples), np.uint8)
    total = np.zeros((NODES, LANES))
    square = np.zeros((NODES, LANES))
    curvature = np.zeros((NODES, LANES))
    count = np.zeros((NODES, LANES))
    open_count = np.zeros((NODES, LANES))
    open_total = np.zeros((NODES, LANES))
    impurity = np.zeros((NODES, LANES))
    best = np.empty((3, LANES))
    feature[:] = -1
    for level in range(DEPTH + 1):
        for node in range(2**level, 2 ** (level + 1)):
            _sum_node(residual, nodes, node, total, square, curvature, count)
            worth_a_search = False
            for lane in range(LANES):
                n = count[node, lane]
                if n > 0:
                    mean = total[node, lane] / n
                    impurity[node, lane] = square[node, lane] / n - mean * mean
                if level < DEPTH and n >= 2 and impurity[node, lane] > PURE:
                    open_count[node, lane] = n
                    open_total[node, lane] = total[node, lane]
                    worth_a_search = True
            if not worth_a_search:
                continue
            best[0], best[1], best[2] = -1.0, 1.0, -1.0
            for visit in range(visits.shape[1]):
                f = visits[node, visit]
                _search(order[f], values[f], f, residual, nodes, node, open_total, open_count, best)
            for lane in range(LANES):
                if best[2, lane] >= 0:
                    f, rank = divmod(np.int64(best[2, lane]), samples)
                    feature[lane, node] = f
                    threshold[lane, node] = _threshold(order[f], values[f], nodes, lane, node, rank)
        # Lane by lane the descent is a plain vector loop; the search wants samples row by row.
        for lane in range(LANES):
            reached = nodes_of_lane[lane]
            for node in range(2**level, 2 ** (level + 1)):
                if feature[lane, node] >= 0:
                    column = codes[feature[lane, node]]
                    split = threshold[lane, node]
                    left = np.uint8(2 * node)
                    right = np.uint8(2 * node + 1)
                    for sample in range(samples):
                        child = right if column[sample] > split else left
                        reached[sample] = child if reached[sample] == node else reached[sample]
        for sample in range(samples):
            for lane in range(LANES):
                nodes[sample, lane] = nodes_of_lane[lane, sample]
    for node in range(1, NODES):
        for lane in range(LANES):
            n = count[node, lane]
            f = feature[lane, node]
            value[lane, node] = 0.0
            if f >= 0:
                gain = n * impurity[node, lane]
                for below in (2 * node, 2 * node + 1):
                    gain -= count[below, lane] * impurity[below, lane]
                importance[f, lane] += gain / samples
            elif n > 0 and curvature[node, lane] / n >= CERTAIN:
                value[lane, node] = scale[lane] * total[node, lane] / curvature[node, lane]
    for sample in range(samples):
        for lane in range(LANES):
            raw[sample, lane] += LEARNING_RATE * value[lane, nodes[sample, lane]]


@compiled
def _negative_gradient(
    raw: np.ndarray,
    labels: np.ndarray,
    first: np.ndarray,
    residual: np.ndarray,
    start: int,
    stop: int,
) -> None:
    """Target minus probability for samples start to stop.

    Args:
        raw: float64 [blocks, samples, 8], log-odds; column c is lane c % 8 of block c // 8.
        labels: int64 [samples, factors], class numbers.
        first: int64 [factors + 1], the columns of factor f are first[f] to first[f + 1].
        residual: float64 [blocks, samples, 8], out.
        start: First sample.
        stop: One past the last sample.
    """
    for sample in range(start, stop):
        for factor in range(labels.shape[1]):
            label = labels[sample, factor]
            begin, end = first[factor], first[factor + 1]
            if end - begin == 1:
                block, lane = divmod(begin, LANES)
                odds = raw[block, sample, lane]
                if odds > -37:
                    e = np.exp(-odds)
                    gradient = ((1 - label) - label * e) / (1 + e)
                else:
                    gradient = np.exp(odds) - label
                residual[block, sample, lane] = -gradient
                continue
            highest = -np.inf
            for column in range(begin, end):
                highest = max(highest, raw[column // LANES, sample, column % LANES])
            denominator = 0.0
            for column in range(begin, end):
                block, lane = divmod(column, LANES)
                e = np.exp(raw[block, sample, lane] - highest)
                residual[block, sample, lane] = e
                denominator += e
            for column in range(begin, end):
                block, lane = divmod(column, LANES)
                target = 1.0 if column - begin == label else 0.0
                residual[block, sample, lane] = target - residual[block, sample, lane] / denominator


@compiled
def _predict_column(
    codes: np.ndarray,
    feature: np.ndarray,
    threshold: np.ndarray,
    value: np.ndarray,
    raw: np.ndarray,
) -> None:
    """Adds all stages of one column's trees to `raw` [samples], for codes [latents, samples]."""
    for stage in range(feature.shape[0]):
        for sample in range(raw.size):
            node = 1
            while feature[stage, node] >= 0:
                above = codes[feature[stage, node], sample] > threshold[stage, node]
                node = 2 * node + above
            raw[sample] += LEARNING_RATE * value[stage, node]


# --- The classifiers of all factors ---------------------------------------------------------------


@dataclass(frozen=True)
class Ensemble:
    """The boosted trees of all factors. Column first[f] + k belongs to class k of factor f.

    A factor of two classes has one column, for its second class; a factor of one class has none.

    Attributes:
        classes: The values of each factor that the training codes came with, rising.
        first: int64 [factors + 1].
        initial: float64 [columns], log-odds before the first stage.
        feature: int32 [stages, columns, 16], the latent that splits a node (heap order, root 1); -1
            in a leaf.
        threshold: float64 [stages, columns, 16]; codes above it go right, to node 2k + 1.
        value: float64 [stages, columns, 16], the leaves' log-odds before the learning rate.
        importance: float64 [latents, factors], scikit-learn's `feature_importances_`: each column
            sums to 1, or is 0 where no tree gained anything.
        train_predictions: [samples, factors], the factor values predicted for the training codes.
    """

    classes: tuple[np.ndarray, ...]
    first: np.ndarray
    initial: np.ndarray
    feature: np.ndarray
    threshold: np.ndarray
    value: np.ndarray
    importance: np.ndarray
    train_predictions: np.ndarray

    def predict(self, codes: np.ndarray) -> np.ndarray:
        """The factor values [samples, factors] predicted for codes [samples, latents]."""
        rows = np.ascontiguousarray(as_float32(codes).T)
        raw = np.repeat(self.initial[:, None], rows.shape[1], axis=1)

        def predict(column: int) -> None:
            trees = (self.feature, self.threshold, self.value)
            _predict_column(rows, *(np.ascontiguousarray(t[:, column]) for t in trees), raw[column])

        with ThreadPoolExecutor(_threads()) as pool:
            list(pool.map(predict, range(len(self.initial))))
        return _decide(raw.T, self.classes, self.first)


def importance_matrix(
    codes_train: np.ndarray,
    factors_train: np.ndarray,
    codes_test: np.ndarray,
    factors_test: np.ndarray,
    seed: int,
) -> tuple[np.ndarray, float, float]:
    """DCI's importance of each latent for each factor: `compute_importance_gbt` of the reference.

    Args:
        codes_train: [samples, latents], finite; compared as float32, as scikit-learn does.
        factors_train: [samples, factors]. A factor that takes one value only, which scikit-learn
            refuses, gets importances of 0 and that value as its prediction, with a warning.
        codes_test: [test samples, latents].
        factors_test: [test samples, factors].
        seed: Decides between splits that gain the same.

    Returns:
        The importances, float64 [latents, factors], and the accuracies on the training and the test
        samples, means over the factors.

    Raises:
        UserError: A code is NaN or infinite.
    """
    ensemble = fit(codes_train, factors_train, seed)
    train_accuracy = np.mean(ensemble.train_predictions == factors_train)
    test_accuracy = np.mean(ensemble.predict(codes_test) == factors_test)
    return ensemble.importance, float(train_accuracy), float(test_accuracy)


def fit(codes: np.ndarray, factors: np.ndarray, seed: int) -> Ensemble:
    """Fits the classifiers of all factors; see `importance_matrix` for the arguments."""
    columns = np.ascontiguousarray(as_float32(codes).T)
    latents, samples = columns.shape
    order = np.argsort(columns, axis=1, kind="stable").astype(np.int32)
    values = np.take_along_axis(columns, order, axis=1)
    varying = np.flatnonzero(values[:, -1] > values[:, 0] + SAME_VALUE)

    encoded = [np.unique(factors[:, f], return_inverse=True) for f in range(factors.shape[1])]
    classes = tuple(present for present, _ in encoded)
    labels = np.stack([label.reshape(-1) for _, label in encoded], axis=1)
    for f, present in enumerate(classes):
        if len(present) == 1:
            warnings.warn(
                f"factor {f} has one value in the training sample: its importances are 0",
                stacklevel=2,
            )
    widths = [{1: 0, 2: 1}.get(len(present), len(present)) for present in classes]
    first = np.concatenate([[0], np.cumsum(widths)]).astype(np.int64)
    trees = int(first[-1])
    initial = np.concatenate([_prior_log_odds(labels[:, f]) for f in range(len(classes))])
    scale = np.concatenate(
        [np.full(width, (width - 1) / width if width > 1 else 1.0) for width in widths]
    )

    blocks = -(-trees // LANES)
    padding = blocks * LANES - trees
    raw = _in_blocks(np.broadcast_to(np.pad(initial, (0, padding)), (samples, blocks * LANES)))
    residual = np.zeros_like(raw)
    scale = np.pad(scale, (0, padding)).reshape(blocks, LANES)
    gains = np.zeros((blocks, latents, LANES))
    shape = (STAGES, blocks, LANES, NODES)
    feature = np.full(shape, -1, np.int32)
    threshold, value = np.zeros(shape), np.zeros(shape)
    rng = np.random.default_rng(seed)
    threads = _threads()
    borders = np.linspace(0, samples, threads + 1).astype(np.int64)

    def differentiate(thread: int) -> None:
        _negative_gradient(raw, labels, first, residual, borders[thread], borders[thread + 1])

    def grow(stage: int, block: int, visits: np.ndarray) -> None:
        into = (feature[stage, block], threshold[stage, block], value[stage, block], gains[block])
        state = (scale[block], residual[block], raw[block])
        _grow(order, values, columns, visits, *state, *into)

    visits = np.empty((blocks, 2**DEPTH, len(varying)), np.int32)
    visits[:] = varying
    with ThreadPoolExecutor(threads) as pool:
        for stage in range(STAGES):
            list(pool.map(differentiate, range(threads)))
            list(pool.map(grow, repeat(stage), range(blocks), rng.permuted(visits, axis=2)))

    def by_tree(array: np.ndarray) -> np.ndarray:
        return array.reshape(STAGES, blocks * LANES, NODES)[:, :trees]

    return Ensemble(
        classes=classes,
        first=first,
        initial=initial,
        feature=by_tree(feature),
        threshold=by_tree(threshold),
        value=by_tree(value),
        importance=_importance(gains.transpose(1, 0, 2).reshape(latents, -1), first),
        train_predictions=_decide(
            raw.transpose(1, 0, 2).reshape(samples, -1)[:, :trees], classes, first
        ),
    )


def as_float32(codes: np.ndarray) -> np.ndarray:
    """Codes as scikit-learn's trees see them; those beyond float32 become its largest number.

    Raises:
        UserError: A code is NaN or infinite.
    """
    codes = np.asarray(codes)
    if not np.isfinite(codes).all():
        raise UserError("the representation gives NaN or infinite codes; DCI needs numbers")
    largest = np.finfo(np.float32).max
    if codes.dtype.itemsize > 4 and np.abs(codes).max(initial=0) > largest:
        warnings.warn(f"codes beyond {largest:.3g} count as {largest:.3g} in DCI", stacklevel=2)
        codes = np.clip(codes, -largest, largest)
    return codes.astype(np.float32)


def _threads() -> int:
    return len(os.sched_getaffinity(0))


def _in_blocks(columns: np.ndarray) -> np.ndarray:
    """[samples, blocks * 8] to [blocks, samples, 8]."""
    return np.ascontiguousarray(columns.reshape(len(columns), -1, LANES).transpose(1, 0, 2))


def _prior_log_odds(labels: np.ndarray) -> np.ndarray:
    """The classes' log-frequencies less their mean; for two classes, the second one's log-odds."""
    log_prior = np.log(np.bincount(labels) / len(labels))
    if len(log_prior) == 1:
        return np.empty(0)
    if len(log_prior) == 2:
        return log_prior[1:] - log_prior[:1]
    return log_prior - log_prior.mean()


def _importance(gains: np.ndarray, first: np.ndarray) -> np.ndarray:
    """[latents, columns] of summed gains to [latents, factors] of shares."""
    sums = [gains[:, first[f] : first[f + 1]].sum(axis=1) for f in range(len(first) - 1)]
    # disentanglement_lib takes the absolute value: rounding can leave a gain just below 0.
    return np.stack([np.abs(s / s.sum()) if s.sum() > 0 else 0 * s for s in sums], axis=1)


def _decide(raw: np.ndarray, classes: tuple[np.ndarray, ...], first: np.ndarray) -> np.ndarray:
    """The likeliest value of each factor, for log-odds [samples, columns]."""
    decided = []
    for f, present in enumerate(classes):
        odds = raw[:, first[f] : first[f + 1]]
        if len(present) == 1:
            winner = np.zeros(len(raw), np.int64)
        elif len(present) == 2:
            winner = (odds[:, 0] >= 0).astype(np.int64)
        else:
            winner = odds.argmax(axis=1)
        decided.append(present[winner])
    return np.stack(decided, axis=1)
