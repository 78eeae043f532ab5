"""SAP's one-feature linear support vector machines, solved exactly.

SAP (Kumar et al., 2018, Section 3) scores how well each latent alone predicts each factor. For
discrete factors disentanglement_lib fits LinearSVC(C=0.01, class_weight="balanced") of scikit-learn
to one latent at a time. With one feature each class's SVM is a line w x + b that minimises

    (w² + b²) / 2 + sum over samples of C_i max(0, 1 - y_i (w x_i + b))²

(liblinear penalises the intercept too; Fan et al., "LIBLINEAR", 2008, Section 2). This is strictly
convex and piecewise quadratic in two unknowns, and the samples inside the margin are runs of the
sorted codes: with running sums of 1, x and x², a Newton step takes a few binary searches however
many samples there are. It ends at the very optimum, where liblinear stops at its tolerance (1e-4).
"""

import warnings

import numpy as np

from evaluator.metrics.boosting import compiled
from submission.errors import UserError

PENALTY = 0.01
SOLVER = "exact Newton on LinearSVC's primal"
MAX_STEPS = 100
# Measured (docs/scoring.md): within these LinearSVC's default tolerance gives the optimum's SAP but
# for a thousandth; beyond them it may not.
FAR = 20.0
"""The mean over the standard deviation of a latent."""
LEAST_SPREAD, MOST_SPREAD = 1e-3, 1e3
"""The standard deviation of a latent."""
# Relative to the objective: a Newton step that promises less than this is rounding.
CONVERGED = 1e-24


@compiled
def _margin(values: np.ndarray, slope: float, bound: float) -> tuple[int, int]:
    """The run [start, stop) of rising `values` in which slope * value < bound."""
    start, stop = 0, values.size
    if slope > 0:
        stop = int(np.searchsorted(values, bound / slope))
    elif slope < 0:
        start = int(np.searchsorted(values, bound / slope, side="right"))
    elif bound <= 0:
        stop = 0
    return start, stop


@compiled
def _moments(sums: np.ndarray, start: int, stop: int) -> tuple[float, float, float]:
    """The sums of 1, x and x² over a run, from running sums [samples + 1, 2] of x and x²."""
    return (
        float(stop - start),
        sums[stop, 0] - sums[start, 0],
        sums[stop, 1] - sums[start, 1],
    )


@compiled
def _running_sums(values: np.ndarray) -> np.ndarray:
    """Running sums of x and x², float64 [samples + 1, 2]."""
    sums = np.zeros((values.size + 1, 2))
    for i in range(values.size):
        sums[i + 1, 0] = sums[i, 0] + values[i]
        sums[i + 1, 1] = sums[i, 1] + values[i] * values[i]
    return sums


@compiled
def _expand(
    everyone: np.ndarray,
    everyone_sums: np.ndarray,
    members: np.ndarray,
    members_sums: np.ndarray,
    member_cost: float,
    other_cost: float,
    ridge: float,
    w: float,
    b: float,
) -> tuple[float, float, float, float, float, float]:
    """The objective at (w, b): value, two first and three second derivatives (ww, wb, bb)."""
    n, x, xx = _moments(members_sums, *_margin(members, w, 1 - b))
    value = member_cost * (n * (1 - b) ** 2 - 2 * (1 - b) * w * x + w * w * xx)
    slope_w = -member_cost * ((1 - b) * x - w * xx)
    slope_b = -member_cost * ((1 - b) * n - w * x)
    curve_ww, curve_wb, curve_bb = member_cost * xx, member_cost * x, member_cost * n
    # The others are everyone in their margin but the members there.
    for sign, sums, run in (
        (1.0, everyone_sums, _margin(everyone, -w, 1 + b)),
        (-1.0, members_sums, _margin(members, -w, 1 + b)),
    ):
        n, x, xx = _moments(sums, *run)
        cost = sign * other_cost
        value += cost * (n * (1 + b) ** 2 + 2 * (1 + b) * w * x + w * w * xx)
        slope_w += cost * ((1 + b) * x + w * xx)
        slope_b += cost * ((1 + b) * n + w * x)
        curve_ww += cost * xx
        curve_wb += cost * x
        curve_bb += cost * n
    return (
        (ridge * w * w + b * b) / 2 + value,
        ridge * w + 2 * slope_w,
        b + 2 * slope_b,
        ridge + 2 * curve_ww,
        2 * curve_wb,
        1 + 2 * curve_bb,
    )


@compiled
def _minimise(
    everyone: np.ndarray,
    everyone_sums: np.ndarray,
    members: np.ndarray,
    member_cost: float,
    other_cost: float,
    ridge: float,
) -> tuple[float, float]:
    """Newton's method with step halving from (0, 0), for one class against the rest.

    Args:
        everyone: float64 [samples], rising.
        everyone_sums: Their running sums.
        members: float64 [samples of the class], rising.
        member_cost: C of the class's samples.
        other_cost: C of the rest.
        ridge: The weight of w² in the penalty.

    Returns:
        w and b.
    """
    members_sums = _running_sums(members)
    w = b = 0.0
    here = _expand(
        everyone, everyone_sums, members, members_sums, member_cost, other_cost, ridge, w, b
    )
    for _ in range(MAX_STEPS):
        value, slope_w, slope_b, ww, wb, bb = here
        determinant = ww * bb - wb * wb
        step_w = -(bb * slope_w - wb * slope_b) / determinant
        step_b = -(ww * slope_b - wb * slope_w) / determinant
        if not -(slope_w * step_w + slope_b * step_b) > CONVERGED * value:
            break
        length = 1.0
        # A step that rounding makes look uphill by a hair is the last one, so let it pass.
        while length > 1e-10:
            there = _expand(
                everyone,
                everyone_sums,
                members,
                members_sums,
                member_cost,
                other_cost,
                ridge,
                w + length * step_w,
                b + length * step_b,
            )
            if there[0] <= value * (1 + 1e-12):
                break
            length /= 2
        w += length * step_w
        b += length * step_b
        here = there
    return w, b


@compiled
def _fit_sorted(
    values: np.ndarray, labels: np.ndarray, counts: np.ndarray, ridge: float
) -> np.ndarray:
    """All SVMs of one latent and one factor.

    Args:
        values: float64 [samples], rising.
        labels: int64 [samples], the class numbers in that order.
        counts: int64 [classes], samples of each class.
        ridge: The weight of w² in the penalty.

    Returns:
        float64 [SVMs, 2], w and b; one SVM, for the second class, where there are two.
    """
    sums = _running_sums(values)
    samples, classes = values.size, counts.size
    costs = PENALTY * samples / (classes * counts)
    stops = np.cumsum(counts)
    filled = stops - counts
    by_class = np.empty_like(values)
    for i in range(samples):
        by_class[filled[labels[i]]] = values[i]
        filled[labels[i]] += 1
    lines = np.empty((classes, 2))
    for k in range(classes):
        members = by_class[stops[k] - counts[k] : stops[k]]
        rest = costs[0] if classes == 2 else PENALTY
        lines[k] = _minimise(values, sums, members, costs[k], rest, ridge)
    return lines[1:] if classes == 2 else lines


def fit_lines(codes: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Fits LinearSVC(C=0.01, class_weight="balanced") to one feature, one class against the rest.

    Args:
        codes: [samples], finite.
        labels: int [samples], class numbers 0 to classes - 1, each present; at least two classes.

    Returns:
        float64 [SVMs, 2], slope and intercept. As in scikit-learn, two classes make one SVM,
        positive for the second class; of several SVMs the highest decides.
    """
    order = np.argsort(codes, kind="stable")
    return _fit_ordered(np.asarray(codes, np.float64)[order], labels[order])


def _fit_ordered(values: np.ndarray, labels: np.ndarray) -> np.ndarray:
    # Codes are scaled into [-1, 1], so that no square overflows; powers of two scale exactly.
    exponent = np.frexp(np.abs(values).max())[1]
    lines = _fit_sorted(
        np.ldexp(values, -exponent),
        labels,
        np.bincount(labels),
        np.ldexp(1.0, -2 * exponent),
    )
    lines[:, 0] = np.ldexp(lines[:, 0], -exponent)
    return lines


def predict(lines: np.ndarray, codes: np.ndarray) -> np.ndarray:
    """The class numbers [samples] that the SVMs of `fit_lines` give to codes [samples]."""
    scores = np.multiply.outer(np.asarray(codes, np.float64), lines[:, 0]) + lines[:, 1]
    if len(lines) == 1:
        return (scores[:, 0] > 0).astype(np.int64)
    return scores.argmax(axis=1)


def score_matrix(
    codes_train: np.ndarray,
    factors_train: np.ndarray,
    codes_test: np.ndarray,
    factors_test: np.ndarray,
) -> np.ndarray:
    """SAP's score matrix, as disentanglement_lib's `compute_score_matrix` for discrete factors.

    Args:
        codes_train: [samples, latents], finite. On latents far from 0, or of a tiny or huge spread,
            scikit-learn's solver stops short of the optimum that is scored here; a warning says so
            where such a latent is one of the best two for a factor, whose gap SAP is.
        factors_train: [samples, factors]. A factor that takes one value only, which scikit-learn
            refuses, counts as predicted by that value from every latent, with a warning.
        codes_test: [test samples, latents].
        factors_test: [test samples, factors].

    Returns:
        float64 [latents, factors], the test accuracy of each latent alone for each factor.

    Raises:
        UserError: A code is NaN or infinite.
    """
    for codes in (codes_train, codes_test):
        if not np.isfinite(codes).all():
            raise UserError("the representation gives NaN or infinite codes; SAP needs numbers")
    latents, factors = codes_train.shape[1], factors_train.shape[1]
    scores = np.zeros((latents, factors))
    encoded = [np.unique(factors_train[:, f], return_inverse=True) for f in range(factors)]
    for f, (present, _) in enumerate(encoded):
        if len(present) == 1:
            warnings.warn(
                f"factor {f} has one value in the training sample: every latent predicts it",
                stacklevel=2,
            )
            scores[:, f] = np.mean(factors_test[:, f] == present[0])
    for latent in range(latents):
        order = np.argsort(codes_train[:, latent], kind="stable")
        values = codes_train[order, latent].astype(np.float64)
        for f, (present, labels) in enumerate(encoded):
            if len(present) > 1:
                lines = _fit_ordered(values, labels[order])
                predicted = present[predict(lines, codes_test[:, latent])]
                scores[latent, f] = np.mean(predicted == factors_test[:, f])
    deciding = np.unique(np.argsort(scores, axis=0)[-2:])
    hard = [str(latent) for latent in deciding if _is_hard(codes_train[:, latent])]
    if hard:
        warnings.warn(
            "SAP uses the optimum, from which scikit-learn's stopped solver differs on latents "
            f"of a mean beyond {FAR:g} times their spread, or a spread beyond {LEAST_SPREAD:g} to "
            f"{MOST_SPREAD:g}: {', '.join(hard)}",
            stacklevel=2,
        )
    return scores


def _is_hard(codes: np.ndarray) -> bool:
    """Whether scikit-learn's solver may stop too soon on a latent [samples] that varies."""
    largest = float(np.abs(codes).max())
    if np.ptp(codes) == 0:
        return False
    # In units of the largest code, so that no square overflows.
    scaled = np.asarray(codes, np.float64) / largest
    mean, spread = abs(scaled.mean()), scaled.std()
    return not (mean <= FAR * spread and LEAST_SPREAD <= spread * largest <= MOST_SPREAD)
