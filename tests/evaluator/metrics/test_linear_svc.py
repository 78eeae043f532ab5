import warnings
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.exceptions import ConvergenceWarning
from sklearn.svm import LinearSVC

from evaluator.metrics.linear_svc import fit_lines, predict, score_matrix
from submission.errors import UserError


def sample(count: int, classes: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = np.concatenate([np.arange(classes), rng.integers(0, classes, count - classes)])
    return 2 * labels / classes + 0.4 * rng.normal(size=count), labels


def reference(codes: np.ndarray, labels: np.ndarray, tolerance: float) -> LinearSVC:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model = LinearSVC(C=0.01, class_weight="balanced", tol=tolerance, random_state=0)
        return model.fit(codes[:, None], labels)


def gradient(codes: np.ndarray, labels: np.ndarray, lines: np.ndarray) -> np.ndarray:
    """Each machine's gradient by plain sums, relative to the sum of the terms' sizes."""
    counts = np.bincount(labels)
    balanced = 0.01 * len(labels) / (len(counts) * counts)
    rows = []
    for (w, b), k in zip(lines, [1] if len(counts) == 2 else range(len(counts)), strict=True):
        sign = np.where(labels == k, 1.0, -1.0)
        cost = np.where(labels == k, balanced[k], balanced[0] if len(counts) == 2 else 0.01)
        pull = 2 * cost * sign * np.maximum(0, 1 - sign * (w * codes + b))
        size = 2 * cost.sum() * np.array([np.abs(codes).max() + 1e-300, 1.0])
        rows.append((np.array([w, b]) - [pull @ codes, pull.sum()]) / size)
    return np.abs(rows)


SHAPES = {
    "usual": lambda codes: codes,
    "far from zero": lambda codes: codes + 50,
    "falling": lambda codes: -codes,
    "small": lambda codes: codes * 1e-3,
    "discrete": lambda codes: np.round(3 * codes),
    "constant": lambda codes: np.full_like(codes, 0.3),
    "zero": np.zeros_like,
}


@pytest.mark.parametrize("classes", [2, 3, 40])
@pytest.mark.parametrize("shape", SHAPES)
def test_predictions_are_scikit_learns_at_a_tight_tolerance(classes, shape):
    codes, labels = sample(2000, classes)
    codes = SHAPES[shape](codes)
    grid = np.linspace(codes.min() - 1, codes.max() + 1, 997)
    probe = codes if shape in ("constant", "zero") else np.concatenate([codes, grid])
    expected = reference(codes, labels, tolerance=1e-10).predict(probe[:, None])
    np.testing.assert_array_equal(predict(fit_lines(codes, labels), probe), expected)


@pytest.mark.parametrize("classes", [2, 7])
def test_lines_are_scikit_learns_at_a_tight_tolerance(classes):
    codes, labels = sample(1000, classes)
    model = reference(codes, labels, tolerance=1e-12)
    expected = np.column_stack([model.coef_[:, 0], model.intercept_])
    np.testing.assert_allclose(fit_lines(codes, labels), expected, rtol=1e-6, atol=1e-9)


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 2**32 - 1),
    st.integers(2, 8),
    st.sampled_from([1e-6, 1e-2, 1.0, 1e2, 1e6, 1e30]),
    st.floats(-3, 3),
    st.booleans(),
)
def test_the_gradient_vanishes_at_the_solution(seed, classes, size, shift, discrete):
    codes, labels = sample(200, classes, seed)
    codes = size * ((np.round(codes) if discrete else codes) + shift)
    assert gradient(codes, labels, fit_lines(codes, labels)).max() < 1e-10


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(2, 8))
def test_a_mirrored_latent_has_mirrored_lines(seed, classes):
    codes, labels = sample(150, classes, seed)
    lines, mirrored = fit_lines(codes, labels), fit_lines(-codes, labels)
    np.testing.assert_allclose(mirrored, lines * [-1, 1], rtol=1e-7, atol=1e-9)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(2, 8))
def test_the_order_of_samples_does_not_matter(seed, classes):
    codes, labels = sample(150, classes, seed)
    shuffled = np.random.default_rng(seed).permutation(len(codes))
    lines = fit_lines(codes[shuffled], labels[shuffled])
    np.testing.assert_array_equal(lines, fit_lines(codes, labels))


def factors_and_codes(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    sizes = np.array([2, 4, 10])
    factors = rng.integers(0, sizes, (count, 3))
    mixing = np.array([[2.0, 0, 0], [0, 1, 0], [0, 0, 3], [1, 1, 0], [0, 0, 0]])
    codes = factors / sizes @ mixing.T + 0.3 * rng.normal(size=(count, 5))
    return codes.astype(np.float32), factors - 3


def test_the_score_matrix_gives_sap_within_a_thousandth_of_scikit_learns_default():
    codes, factors = factors_and_codes(4000, seed=0)
    test_codes, test_factors = factors_and_codes(2000, seed=1)
    expected = np.zeros((5, 3))
    for latent in range(5):
        for f in range(3):
            model = reference(codes[:, latent], factors[:, f], tolerance=1e-4)
            predicted = model.predict(test_codes[:, latent, None])
            expected[latent, f] = np.mean(predicted == test_factors[:, f])
    scores = score_matrix(codes, factors, test_codes, test_factors)
    assert np.abs(sap(scores) - sap(expected)) < 1e-3
    np.testing.assert_allclose(scores, expected, atol=2e-3)


def sap(scores: np.ndarray) -> float:
    ordered = np.sort(scores, axis=0)
    return float(np.mean(ordered[-1] - ordered[-2]))


@pytest.mark.parametrize("dtype", [np.float16, np.float64])
def test_codes_of_other_widths_are_taken_as_they_are(dtype):
    codes, factors = factors_and_codes(300, seed=0)
    codes = codes.astype(dtype)
    wide = codes.astype(np.float64)
    scores = score_matrix(codes, factors, codes, factors)
    np.testing.assert_array_equal(scores, score_matrix(wide, factors, wide, factors))


def test_copies_of_a_latent_score_the_same():
    codes, factors = factors_and_codes(300, seed=0)
    codes = np.repeat(codes[:, :1], 2, axis=1)
    scores = score_matrix(codes, factors, codes, factors)
    np.testing.assert_array_equal(scores[0], scores[1])


@pytest.mark.parametrize("size", [1e30, 1e300])
def test_huge_codes_give_the_optimum_and_a_warning(size):
    codes, factors = factors_and_codes(300, seed=0)
    codes = codes.astype(np.float64)
    with pytest.warns(UserWarning, match="stopped solver differs"):
        huge = score_matrix(codes * size, factors, codes * size, factors)
    np.testing.assert_allclose(
        huge, score_matrix(codes * 100, factors, codes * 100, factors), atol=0.02
    )


def stretched(size: float, mean: float) -> tuple[np.ndarray, np.ndarray]:
    codes, factors = factors_and_codes(300, seed=0)
    codes = codes[:, :3].astype(np.float64)
    return size * ((codes - codes.mean(axis=0)) / codes.std(axis=0) + mean), factors


@pytest.mark.parametrize(
    ("size", "mean"), [(1, 30), (1, -300), (1e-4, 0), (1e-6, 0), (1e-3, 30), (1e4, 0), (1e300, 0)]
)
def test_latents_on_which_scikit_learn_stops_too_soon_are_named(size, mean):
    codes, factors = stretched(size, mean)
    codes[:, 1] = factors[:, 0]
    with pytest.warns(UserWarning, match=r"stopped solver differs .*: (0, )?2$"):
        score_matrix(codes, factors, codes, factors)


@pytest.mark.parametrize(("size", "mean"), [(1, 0), (1, 15), (0.01, 10), (100, 10)])
def test_nothing_is_said_where_both_decide_alike(size, mean):
    codes, factors = stretched(size, mean)
    codes[:, 1] = 5.0
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        score_matrix(codes, factors, codes, factors)


def test_a_latent_that_decides_nothing_is_not_warned_of():
    factors = stretched(1, 0)[1]
    dead = 1e-5 * np.random.default_rng(0).normal(size=(300, 1))
    codes = np.concatenate([factors, factors, dead], axis=1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        score_matrix(codes, factors, codes, factors)


@pytest.mark.parametrize("spread", [1e-2, 1e-4, 1e-6])
def test_a_tiny_spread_gets_the_optimum_of_exact_arithmetic(spread):
    """All samples lie in the margin, so that the machine solves two linear equations."""
    codes, labels = sample(400, 2)
    codes = spread * (codes + 0.5)
    sign = np.where(labels == 1, 1, -1)
    cost = {one: Fraction(1, 100) * Fraction(400, 2 * int((sign == one).sum())) for one in (1, -1)}
    terms = [(cost[int(y)], int(y), Fraction(x)) for x, y in zip(codes.tolist(), sign, strict=True)]
    ww = 1 + 2 * sum(c * x * x for c, _, x in terms)
    wb = 2 * sum(c * x for c, _, x in terms)
    bb = 1 + 2 * sum(c for c, _, _ in terms)
    w, b = 2 * sum(c * y * x for c, y, x in terms), 2 * sum(c * y for c, y, _ in terms)
    threshold = (wb * w - ww * b) / (bb * w - wb * b)
    ((slope, intercept),) = fit_lines(codes, labels)
    assert -intercept / slope == pytest.approx(float(threshold), rel=1e-6)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_codes_that_are_no_numbers_are_the_users_mistake(bad):
    codes, factors = factors_and_codes(20, seed=0)
    broken = codes.copy()
    broken[3, 1] = bad
    with pytest.raises(UserError, match="NaN or infinite"):
        score_matrix(codes, factors, broken, factors)


def test_a_factor_of_one_value_counts_as_predicted_by_every_latent():
    codes, factors = factors_and_codes(40, seed=0)
    test_factors = factors.copy()
    factors[:, 0] = -3
    with pytest.warns(UserWarning, match="factor 0 has one value"):
        scores = score_matrix(codes, factors, codes, test_factors)
    np.testing.assert_array_equal(scores[:, 0], np.mean(test_factors[:, 0] == -3))
