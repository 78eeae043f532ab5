from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.ensemble import GradientBoostingClassifier
from sklearn.tree import DecisionTreeRegressor

from evaluator.metrics.boosting import LEARNING_RATE, Ensemble, fit, importance_matrix
from submission.errors import UserError


def sample(count: int, latents: int, sizes: tuple[int, ...], seed: int = 0):
    """Codes of which the first few follow the factors, with noise; float32, as encoders give."""
    rng = np.random.default_rng(seed)
    factors = np.stack([rng.integers(0, size, count) for size in sizes], axis=1)
    codes = 0.3 * rng.normal(size=(count, latents))
    for f, size in enumerate(sizes[:latents]):
        codes[:, f] += factors[:, f] / size
    return codes.astype(np.float32), factors


@dataclass
class Split:
    """One split of one tree, and the samples (rows) that it parts."""

    rows: np.ndarray
    gradient: np.ndarray
    latent: int
    threshold: float

    def gain(self, codes: np.ndarray, latent: int, threshold: float) -> float:
        left = codes[self.rows, latent] <= threshold
        g = self.gradient
        sides = (s.sum() ** 2 / s.size for s in (g[left], g[~left]))
        return sum(sides) - g.sum() ** 2 / g.size


def replay(ensemble: Ensemble, codes: np.ndarray, factor: np.ndarray, f: int = 0):
    """Yields (stage, column, negative gradients) and descends the trees in plain numpy."""
    first, last = ensemble.first[f : f + 2]
    labels = np.searchsorted(ensemble.classes[f], factor)
    raw = np.repeat(ensemble.initial[None, first:last], len(codes), axis=0)
    for stage in range(len(ensemble.feature)):
        if last - first == 1:
            gradients = labels[:, None] - 1 / (1 + np.exp(-raw))
        else:
            odds = np.exp(raw - raw.max(axis=1, keepdims=True))
            gradients = np.eye(last - first)[labels] - odds / odds.sum(axis=1, keepdims=True)
        for column in range(first, last):
            yield stage, column, gradients[:, column - first]
            raw[:, column - first] += LEARNING_RATE * descend(ensemble, stage, column, codes)


def descend(ensemble: Ensemble, stage: int, column: int, codes: np.ndarray) -> np.ndarray:
    feature, threshold = ensemble.feature[stage, column], ensemble.threshold[stage, column]
    node = np.ones(len(codes), int)
    for _ in range(3):
        code = codes[np.arange(len(codes)), np.maximum(feature[node], 0)]
        node = np.where(feature[node] >= 0, 2 * node + (code > threshold[node]), node)
    return ensemble.value[stage, column, node]


def splits(
    ensemble: Ensemble, stage: int, column: int, codes: np.ndarray, gradient: np.ndarray
) -> Iterator[tuple[int, Split]]:
    """The inner nodes of one tree, parents first."""
    rows = {1: np.arange(len(codes))}
    for node in range(1, 8):
        latent = ensemble.feature[stage, column, node]
        if node in rows and latent >= 0:
            here = rows[node]
            threshold = ensemble.threshold[stage, column, node]
            left = codes[here, latent] <= threshold
            rows[2 * node], rows[2 * node + 1] = here[left], here[~left]
            yield node, Split(here, gradient[here], latent, threshold)


CASES = {
    "continuous codes": lambda: sample(400, 5, (3,)),
    "two classes": lambda: sample(400, 5, (2,)),
    "more classes than lanes": lambda: sample(300, 4, (11,)),
    "one latent": lambda: sample(300, 1, (4,)),
    "discrete codes": lambda: (np.round(sample(400, 5, (4,))[0] * 4), sample(400, 5, (4,))[1]),
    "codes about as close as scikit-learn can tell apart": lambda: (
        sample(300, 3, (3,))[0] * np.float32(1e-5),
        sample(300, 3, (3,))[1],
    ),
    "huge codes": lambda: (sample(300, 3, (3,))[0] * np.float32(1e30), sample(300, 3, (3,))[1]),
    "perfect factors": lambda: (
        sample(300, 2, (5, 3))[1].astype(np.float32),
        sample(300, 2, (5,))[1],
    ),
}


@pytest.fixture(scope="module", params=CASES)
def case(request):
    codes, factors = CASES[request.param]()
    return fit(codes, factors[:, :1], seed=0), codes, factors[:, 0]


def test_every_tree_is_scikit_learns_for_the_same_gradients_but_for_ties(case):
    ensemble, codes, factor = case
    for stage, column, gradient in replay(ensemble, codes, factor):
        if stage % 7:
            continue
        tree = DecisionTreeRegressor(max_depth=3, random_state=stage).fit(codes, gradient).tree_
        theirs = {1: 0}
        for node, split in splits(ensemble, stage, column, codes, gradient):
            if node not in theirs:
                continue  # under a tie
            other = theirs[node]
            if tree.children_left[other] < 0:
                # scikit-learn calls a node pure under 2.2e-15, which is rounding here.
                assert split.gain(codes, split.latent, split.threshold) < 1e-11 * len(codes)
            elif (tree.feature[other], tree.threshold[other]) == (split.latent, split.threshold):
                theirs[2 * node] = tree.children_left[other]
                theirs[2 * node + 1] = tree.children_right[other]
            else:
                ours = split.gain(codes, split.latent, split.threshold)
                best = split.gain(codes, tree.feature[other], tree.threshold[other])
                assert ours == pytest.approx(best, rel=1e-10, abs=1e-11 * len(codes))


def test_leaves_are_the_newton_steps_of_the_deviance(case):
    ensemble, codes, factor = case
    classes = len(ensemble.classes[0])
    scale = 1 if classes == 2 else (classes - 1) / classes
    for stage, column, gradient in replay(ensemble, codes, factor):
        if stage % 20:
            continue
        value = descend(ensemble, stage, column, codes)
        for leaf in np.unique(value):
            g = gradient[value == leaf]
            curvature = (np.abs(g) * (1 - np.abs(g))).sum()
            assert leaf == pytest.approx(scale * g.sum() / curvature, rel=1e-9)


def test_importance_is_the_share_of_all_gains(case):
    ensemble, codes, factor = case
    gains = np.zeros(codes.shape[1])
    for stage, column, gradient in replay(ensemble, codes, factor):
        for _, split in splits(ensemble, stage, column, codes, gradient):
            gains[split.latent] += split.gain(codes, split.latent, split.threshold)
    np.testing.assert_allclose(ensemble.importance[:, 0], gains / gains.sum(), atol=1e-9)


def test_the_trees_predict_the_training_sample_as_boosting_left_it(case):
    ensemble, codes, _ = case
    np.testing.assert_array_equal(ensemble.predict(codes), ensemble.train_predictions)


def test_the_whole_ensemble_is_scikit_learns_where_nothing_ties():
    # One latent: the only ties are nodes that are pure but for rounding, and those don't predict.
    codes, factors = sample(500, 1, (3,))
    test_codes = np.linspace(-2, 3, 1001, dtype=np.float32)[:, None]
    model = GradientBoostingClassifier(random_state=0).fit(codes, factors[:, 0])
    ensemble = fit(codes, factors, seed=0)
    assert np.mean(ensemble.predict(test_codes)[:, 0] == model.predict(test_codes)) > 0.998


def test_importance_and_accuracy_lie_within_scikit_learns_spread_across_seeds():
    codes, factors = sample(400, 5, (4,))
    test_codes, test_factors = sample(400, 5, (4,), seed=1)
    theirs = []
    for seed in range(4):
        model = GradientBoostingClassifier(random_state=seed).fit(codes, factors[:, 0])
        accuracy = model.score(test_codes, test_factors[:, 0])
        theirs.append([*model.feature_importances_, accuracy])
    ours = []
    for seed in range(12):
        importance, _, accuracy = importance_matrix(codes, factors, test_codes, test_factors, seed)
        ours.append([*importance[:, 0], accuracy])
    error = np.std(theirs, axis=0, ddof=1) * np.sqrt(1 / 4 + 1 / 12)
    assert np.all(np.abs(np.mean(ours, axis=0) - np.mean(theirs, axis=0)) < 4 * error + 1e-3)


def test_factors_are_fitted_one_by_one():
    codes, factors = sample(300, 1, (3, 2, 12))
    together = fit(codes, factors, seed=0)
    for f in range(3):
        alone = fit(codes, factors[:, f : f + 1], seed=0)
        columns = slice(together.first[f], together.first[f + 1])
        np.testing.assert_array_equal(together.threshold[:, columns], alone.threshold)


def test_the_seed_fixes_the_result():
    codes, factors = sample(200, 8, (3, 10))
    first, again = fit(codes, factors, seed=3), fit(codes, factors, seed=3)
    np.testing.assert_array_equal(first.feature, again.feature)
    np.testing.assert_array_equal(first.importance, again.importance)


@pytest.mark.filterwarnings("ignore:.*one value in the training sample")
@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(2, 60), st.integers(1, 4))
def test_only_the_order_of_codes_matters(seed, count, latents):
    rng = np.random.default_rng(seed)
    ranks = rng.integers(0, 20, (count, latents))
    factors = rng.integers(0, 4, (count, 2))
    plain, warped = fit(ranks, factors, seed=0), fit(np.exp(ranks / 3.0), factors, seed=0)
    np.testing.assert_array_equal(plain.importance, warped.importance)
    np.testing.assert_array_equal(plain.train_predictions, warped.train_predictions)


@pytest.mark.filterwarnings("ignore:.*one value in the training sample")
@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 40), st.integers(1, 5))
def test_importances_are_shares(seed, count, latents):
    rng = np.random.default_rng(seed)
    codes = rng.integers(0, 3, (count, latents)).astype(float)
    importance = fit(codes, rng.integers(0, 3, (count, 2)), seed=0).importance
    assert np.all(importance >= 0)
    assert all(total == pytest.approx(1) or total == 0 for total in importance.sum(axis=0))


def test_a_latent_that_never_changes_has_no_importance():
    codes, factors = sample(200, 3, (3,))
    codes[:, 1] = 7
    assert fit(codes, factors, seed=0).importance[1, 0] == 0


def test_constant_latents_leave_importances_of_zero_and_the_commonest_value():
    factors = np.array([[5], [5], [8]])
    result = importance_matrix(np.ones((3, 2)), factors, np.ones((3, 2)), factors, seed=0)
    np.testing.assert_array_equal(result[0], np.zeros((2, 1)))
    assert result[1:] == (pytest.approx(2 / 3), pytest.approx(2 / 3))


def test_copies_of_a_latent_share_its_importance_by_chance():
    codes, factors = sample(400, 1, (5,))
    alone = fit(codes, factors, seed=0)
    copies = fit(np.repeat(codes, 4, axis=1), factors, seed=0)
    np.testing.assert_array_equal(copies.threshold, alone.threshold)
    assert np.all(copies.importance > 0.1)


@pytest.mark.parametrize("dtype", [np.float16, np.float64])
def test_codes_of_other_widths_count_as_float32(dtype):
    codes, factors = sample(200, 3, (3,))
    codes = codes.astype(dtype)
    ours, narrowed = fit(codes, factors, seed=0), fit(codes.astype(np.float32), factors, seed=0)
    np.testing.assert_array_equal(ours.importance, narrowed.importance)


def test_codes_beyond_float32_are_clipped_with_a_warning():
    factors = np.array([[0], [0], [1], [1]])
    with pytest.warns(UserWarning, match="codes beyond"):
        ensemble = fit(np.array([[-1e300], [0.0], [1.0], [1e300]]), factors, seed=0)
    np.testing.assert_array_equal(ensemble.train_predictions, factors)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_codes_that_are_no_numbers_are_the_users_mistake(bad):
    codes, factors = sample(20, 2, (2,))
    codes[3, 1] = bad
    with pytest.raises(UserError, match="NaN or infinite"):
        importance_matrix(codes, factors, codes, factors, seed=0)


def test_a_factor_of_one_value_is_predicted_and_owes_nothing_to_any_latent():
    codes, factors = sample(50, 2, (3,))
    factors = np.concatenate([np.full((50, 1), 4), factors], axis=1)
    with pytest.warns(UserWarning, match="factor 0 has one value"):
        ensemble = fit(codes, factors, seed=0)
    np.testing.assert_array_equal(ensemble.importance[:, 0], [0, 0])
    np.testing.assert_array_equal(ensemble.train_predictions[:, 0], factors[:, 0])


def test_factors_of_one_value_only_still_give_a_result():
    with pytest.warns(UserWarning, match="one value"):
        result = importance_matrix(
            np.ones((1, 2)), np.ones((1, 1)), np.ones((4, 2)), np.eye(4, 1), 0
        )
    np.testing.assert_array_equal(result[0], np.zeros((2, 1)))
    assert result[1:] == (1.0, 0.25)


def test_a_value_unseen_in_training_counts_as_a_wrong_prediction():
    codes, factors = sample(100, 2, (3,))
    _, train_accuracy, test_accuracy = importance_matrix(
        codes, factors, codes, factors + 100, seed=0
    )
    assert train_accuracy > 0.9
    assert test_accuracy == 0
