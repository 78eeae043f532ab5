import itertools
import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from study.report import agreement


def table(values: np.ndarray, **more: np.ndarray) -> pd.DataFrame:
    """Scores [methods, seeds] of a metric `x`, and of others, as one row a run."""
    columns = {"x": values} | more
    rows = [
        {"label": f"m{method}", "seed": seed}
        | {name: column[method, seed] for name, column in columns.items()}
        for method, seed in itertools.product(*map(range, values.shape))
    ]
    return pd.DataFrame(rows)


def correlate(scores: pd.DataFrame) -> pd.Series:
    return agreement.correlations(scores, [("x", "y")]).iloc[0]


# Rank correlations.


@pytest.mark.parametrize("ties", [False, True])
def test_correlations_are_scipys(ties):
    random = np.random.default_rng(1)
    x, y = random.normal(size=(2, 6, 3))
    y += x
    if ties:
        x, y = x.round(), y.round()
    row = correlate(table(x, y=y))
    assert row["runs"] == 18
    assert row["kendall"] == pytest.approx(stats.kendalltau(x.ravel(), y.ravel()).statistic)
    assert row["spearman"] == pytest.approx(stats.spearmanr(x.ravel(), y.ravel()).statistic)


def test_a_weighted_sample_is_the_sample_that_holds_its_points_so_often():
    random = np.random.default_rng(2)
    x, y = random.integers(0, 6, size=(2, 12)).astype(float)
    weights = random.integers(0, 4, size=(20, 12))
    kendall = agreement.kendall(x, y, weights.astype(float))
    spearman = agreement.spearman(x, y, weights.astype(float))
    for sample, tau, rho in zip(weights, kendall, spearman, strict=True):
        drawn_x, drawn_y = np.repeat(x, sample), np.repeat(y, sample)
        assert tau == pytest.approx(stats.kendalltau(drawn_x, drawn_y).statistic)
        assert rho == pytest.approx(stats.spearmanr(drawn_x, drawn_y).statistic)


def test_the_interval_is_that_of_draws_of_methods_and_of_seeds():
    """Against draws of whole rows and columns, put together run by run, and scipy's tau."""
    random = np.random.default_rng(3)
    x, y = random.normal(size=(2, 5, 4))
    y += 2 * x.mean(axis=1, keepdims=True)
    draws = []
    for _ in range(1500):
        rows, columns = random.integers(0, 5, 5), random.integers(0, 4, 4)
        drawn = [values[np.ix_(rows, columns)].ravel() for values in (x, y)]
        draws.append(stats.kendalltau(*drawn).statistic)
    row = correlate(table(x, y=y))
    expected = np.nanquantile(draws, (0.025, 0.975))
    assert [row["kendall_low"], row["kendall_high"]] == pytest.approx(expected, abs=0.06)


def test_metrics_that_agree_or_disagree_wholly_have_no_spread():
    x = np.arange(12.0).reshape(4, 3)
    row = correlate(table(x, y=-(x**3)))
    names = ("kendall", "kendall_low", "kendall_high", "spearman", "spearman_low", "spearman_high")
    assert row[list(names)].tolist() == pytest.approx([-1] * 6)


def test_intervals_are_the_same_each_time():
    x, y = np.random.default_rng(4).normal(size=(2, 6, 3))
    assert correlate(table(x, y=y)).equals(correlate(table(x, y=y)))


def test_seeds_that_move_all_methods_alike_are_few_draws_and_not_many():
    """What three seeds show is no more certain for being shown by six methods."""
    x, y = np.random.default_rng(5).normal(size=(2, 1, 3)) + np.zeros((2, 6, 1))
    x, y = (values + np.random.default_rng(6).normal(0, 1e-3, (6, 3)) for values in (x, y))
    row = correlate(table(x, y=y))
    assert row["kendall_high"] - row["kendall_low"] > 1


@pytest.mark.parametrize(
    ("x", "y"),
    [
        ([[1, 1], [1, 1]], [[1, 2], [3, 4]]),
        ([[math.nan, math.nan], [1, 2]], [[1, 2], [3, 4]]),
        ([[1], [2]], [[3], [1]]),
    ],
    ids=["constant", "two known", "two runs"],
)
def test_too_little_to_rank_is_nan(x, y):
    row = correlate(table(np.array(x, float), y=np.array(y, float)))
    assert row.drop(["first", "second", "runs"]).isna().all()


def test_runs_without_one_of_the_scores_are_left_out():
    x, y = np.random.default_rng(7).normal(size=(2, 5, 3))
    x[0, 0] = y[4, 2] = math.nan
    known = ~(np.isnan(x) | np.isnan(y))
    row = correlate(table(x, y=y))
    assert row["runs"] == 13
    assert row["kendall"] == pytest.approx(stats.kendalltau(x[known], y[known]).statistic)


def test_integers_with_gaps_can_be_correlated():
    scores = table(np.arange(6.0).reshape(3, 2))
    scores["y"] = pd.array([3, 4, None, 6, 7, 8], dtype="Int64")
    row = correlate(scores)
    assert (row["runs"], row["kendall"]) == (5, pytest.approx(1))


# Orders of methods.


def test_orders_worked_by_hand():
    # Means of x: 1.5, 3, 4; of y: 3, 1.5, 4. Only the first two methods change places.
    x = np.array([[1, 2], [4, 2], [3, 5]], float)
    y = np.array([[2, 4], [1, 2], [5, 3]], float)
    (row,) = agreement.order_disagreement(table(x, y=y), ["x", "y"]).to_dict("records")
    assert (row["first"], row["second"]) == ("x", "y")
    assert (row["pairs"], row["differently"]) == (3, pytest.approx(1 / 3))
    # Seed 0, x 1 4 3 and y 2 1 5: two of three pairs. Seed 1, x 2 2 5 and y 4 2 3: x ties the
    # first pair; the second differs, the third does not.
    assert (row["single_pairs"], row["single_differently"]) == (5, pytest.approx(3 / 5))


def test_without_ties_the_share_is_half_of_one_minus_kendalls_tau():
    x, y = np.random.default_rng(8).normal(size=(2, 6, 3))
    (row,) = agreement.order_disagreement(table(x, y=y), ["x", "y"]).to_dict("records")
    tau = stats.kendalltau(x.mean(axis=1), y.mean(axis=1)).statistic
    assert row["differently"] == pytest.approx((1 - tau) / 2)
    taus = [stats.kendalltau(x[:, seed], y[:, seed]).statistic for seed in range(3)]
    assert row["single_differently"] == pytest.approx((1 - np.mean(taus)) / 2)


def test_another_seed_is_held_against_the_same_metric():
    x = np.array([[1, 2, 3], [2, 1, 4], [3, 3, 5]], float)
    (row,) = agreement.seed_disagreement(table(x), ["x"]).to_dict("records")
    # Seeds 0 and 1, and 1 and 2, differ in the first two methods.
    assert (row["pairs"], row["differently"]) == (9, pytest.approx(2 / 9))


def test_one_seed_or_one_method_has_no_orders_to_compare():
    one_seed = table(np.array([[1.0], [2.0]]), y=np.array([[1.0], [2.0]]))
    assert agreement.seed_disagreement(one_seed, ["x"])["differently"].isna().all()
    one_method = table(np.array([[1.0, 2.0]]), y=np.array([[1.0, 2.0]]))
    orders = agreement.order_disagreement(one_method, ["x", "y"])
    assert orders["pairs"].tolist() == [0]
    assert orders[["differently", "single_differently"]].isna().all(axis=None)


# Variance components.


def components(scores: pd.DataFrame) -> pd.Series:
    return agreement.variance_components(scores, ["x"]).iloc[0]


def test_the_split_worked_by_hand():
    # Effects of methods -1, 0, 1 and of seeds -2, 2; rest +-0.5 in the corners.
    rest = np.array([[0.5, -0.5], [0, 0], [-0.5, 0.5]])
    row = components(table(np.array([[-1], [0], [1]]) + np.array([[-2, 2]]) + rest))
    # Mean squares: methods 2 * 2 / 2 = 2, seeds 3 * 8 / 1 = 24, rest 1 / 2.
    assert (row["methods"], row["runs"]) == (3, 6)
    assert row["method"] == pytest.approx((2 - 0.5) / 2)
    assert row["seed"] == pytest.approx((24 - 0.5) / 3)
    assert row["rest"] == pytest.approx(0.5)
    assert row["share"] == pytest.approx(0.75 / (0.75 + 23.5 / 3 + 0.5))
    assert row["f"] == pytest.approx(4)
    assert row["p"] == pytest.approx(stats.f.sf(4, 2, 2))


def test_the_test_is_that_of_least_squares_with_and_without_the_methods():
    x = np.random.default_rng(9).normal(size=(5, 4)) + np.arange(5)[:, None] / 3
    method, seed = (np.repeat(np.eye(5), 4, axis=0), np.tile(np.eye(4), (5, 1)))

    def squares(*designs: np.ndarray) -> float:
        design = np.column_stack(designs)
        fitted = design @ np.linalg.lstsq(design, x.ravel(), rcond=None)[0]
        return float(((x.ravel() - fitted) ** 2).sum())

    without, full = squares(seed), squares(seed, method)
    f = ((without - full) / 4) / (full / 12)
    row = components(table(x))
    assert row["f"] == pytest.approx(f)
    assert row["p"] == pytest.approx(stats.f.sf(f, 4, 12))


@pytest.mark.slow
@pytest.mark.parametrize(
    "variances", [(1.0, 1.0, 1.0), (1.0, 4.0, 0.25), (0.25, 0.0, 1.0)], ids=str
)
def test_known_variances_are_found_on_average_and_covered_in_95_of_100(variances):
    random = np.random.default_rng(10)
    method, seed, rest = np.sqrt(variances)
    found, covered = [], []
    for _ in range(150):
        x = (
            random.normal(0, method, (6, 1))
            + random.normal(0, seed, (1, 3))
            + random.normal(0, rest, (6, 3))
        )
        row = components(table(x))
        found.append(row[["method", "seed", "rest"]].tolist())
        covered.append(row["low"] <= variances[0] / sum(variances) <= row["high"])
    error = np.std(found, axis=0) / math.sqrt(len(found))
    assert (abs(np.mean(found, axis=0) - variances) < 4 * error).all()
    assert np.mean(covered) >= 0.89


def test_an_effect_of_the_seed_does_not_hide_the_methods():
    x = np.array([[1.0], [2.0], [3.0]]) + np.array([[0.0, 50.0, 90.0]])
    row = components(table(x + np.random.default_rng(11).normal(0, 0.01, (3, 3))))
    assert row["p"] < 1e-6
    assert row["share"] < 0.01


def test_a_negative_estimate_stays_and_counts_as_no_share():
    x = np.array([[1.0, 2.0], [2.0, 1.0], [1.5, 1.5]])
    row = components(table(x))
    assert row["method"] < 0
    assert row["share"] == 0
    assert row["low"] == 0


def test_a_seed_that_a_method_lacks_is_left_out():
    x = np.random.default_rng(12).normal(size=(4, 3))
    gap = table(x)
    gap.loc[5, "x"] = math.nan  # the second method's third seed
    row, whole = components(gap), components(table(x[:, :2]))
    assert row["runs"] == 8
    assert row.drop("metric").tolist() == pytest.approx(whole.drop("metric").tolist())


def test_without_two_common_seeds_it_is_the_one_way_analysis_of_all_runs():
    groups = [np.array([1.0, 1.5, 1.2]), np.array([2.0, 2.4]), np.array([0.5, 0.1, 0.9, 0.6])]
    rows = [
        {"label": f"m{number}", "seed": 10 * number + seed, "x": value}
        for number, group in enumerate(groups)
        for seed, value in enumerate(group)
    ]
    row = components(pd.DataFrame(rows))
    test = stats.f_oneway(*groups)
    assert (row["f"], row["p"]) == (pytest.approx(test.statistic), pytest.approx(test.pvalue))
    assert (row["methods"], row["runs"]) == (3, 9)
    assert math.isnan(row["seed"])
    # n_0 = (9 - (9 + 4 + 16) / 9) / 2; within = squares of 6 degrees of freedom.
    within = sum(((group - group.mean()) ** 2).sum() for group in groups) / 6
    size = (9 - 29 / 9) / 2
    assert row["rest"] == pytest.approx(within)
    assert row["method"] == pytest.approx((test.statistic - 1) * within / size)
    # The exact interval for equal sizes is near, and the share between.
    ends = [test.statistic / stats.f.ppf(level, 2, 6) for level in (0.975, 0.025)]
    exact = [(ratio - 1) / (ratio - 1 + size) for ratio in ends]
    assert [row["low"], row["high"]] == pytest.approx(exact, abs=0.01)


@pytest.mark.parametrize(
    "x",
    [[[1.0], [2.0], [3.0]], [[1.0, 2.0, 3.0]], [[2.0, 2.0], [2.0, 2.0]], [[math.nan] * 2] * 3],
    ids=["one seed", "one method", "constant", "unknown"],
)
def test_nothing_to_split_is_nan(x):
    row = components(table(np.array(x)))
    assert row.drop(["metric", "methods", "runs"]).isna().all()


def test_methods_without_noise_explain_everything():
    row = components(table(np.array([[1.0, 1.0], [2.0, 2.0]])))
    assert row[["share", "low", "high", "p"]].tolist() == [1, 1, 1, 0]
    assert math.isinf(row["f"])


def test_four_runs_have_no_interval_since_their_order_may_be_chance():
    scores = pd.DataFrame({"label": list("aabb"), "seed": [0, 1] * 2, "x": range(4), "y": range(4)})
    (row,) = agreement.correlations(scores, [("x", "y")]).to_dict("records")
    assert row["kendall"] == row["spearman"] == 1
    assert all(math.isnan(row[name]) for name in ("kendall_low", "spearman_high"))
