"""Do the metrics agree? Rank correlations, orders of methods, and noise against method effect.

Every function takes a frame with one row a run: `label`, the method; `seed`; and columns of scores.
"""

import itertools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from evaluator.intervals import CONFIDENCE

DRAWS = 10_000
"""Of a bootstrap."""

LEAST_RUNS = 5
"""Of fewer, even the same order is likelier than 5% by chance, and draws of them hide that."""

_SEED = 0

_Floats = NDArray[np.float64]


# --- Rank correlations --------------------------------------------------------------------------


def correlations(scores: pd.DataFrame, pairs: Iterable[tuple[str, str]]) -> pd.DataFrame:
    """Correlates the ranks of runs in two columns: Kendall's tau-b and Spearman's rho.

    The intervals are percentile bootstrap intervals. A draw takes methods and, apart from these,
    seeds, each with replacement, and all runs where they cross (Owen 2007, the pigeonhole
    bootstrap). Runs of one method resemble each other, and so do those of one seed, which start
    from the same pre-trained weights: drawn one by one they would pass for more evidence than they
    are.

    Args:
        scores: One row a run.
        pairs: Names of two columns each.

    Returns:
        One row a pair: `first`, `second`, `runs` that have both, `kendall`, `kendall_low`,
        `kendall_high`, `spearman`, `spearman_low` and `spearman_high`. NaN where a column is
        constant, or under three runs; the intervals also under `LEAST_RUNS` runs, and where most
        draws are constant.
    """
    weights = _bootstrap_weights(scores)
    rows = []
    for first, second in pairs:
        x, y = (scores[name].to_numpy(float, na_value=math.nan) for name in (first, second))
        known = np.isfinite(x) & np.isfinite(y)
        runs = int(known.sum())
        row: dict[str, object] = {"first": first, "second": second, "runs": runs}
        for name, correlate in (("kendall", kendall), ("spearman", spearman)):
            estimate = low = high = math.nan
            if runs > 2:
                every = np.ones((1, runs))
                estimate = float(correlate(x[known], y[known], every)[0])
                if runs >= LEAST_RUNS and not math.isnan(estimate):
                    draws = correlate(x[known], y[known], weights[:, known])
                    low, high = _percentile_interval(draws)
            row |= {name: estimate, f"{name}_low": low, f"{name}_high": high}
        rows.append(row)
    return pd.DataFrame(rows)


def kendall(x: _Floats, y: _Floats, weights: _Floats) -> _Floats:
    """Kendall's tau-b of samples that hold each point as often as its weight says.

    Args:
        x: [n].
        y: [n].
        weights: [samples, n], whole numbers.

    Returns:
        [samples]; NaN where all of a sample's x, or y, are the same.

    Example:
        >>> x, y = np.array([1.0, 2.0, 3.0]), np.array([1.0, 3.0, 2.0])
        >>> float(kendall(x, y, np.ones((1, 3)))[0].round(4))
        0.3333
    """
    sign_x, sign_y = (np.sign(values[:, None] - values) for values in (x, y))

    def total(signs: _Floats) -> _Floats:
        return np.einsum("sn,nm,sm->s", weights, signs, weights, optimize=True)

    untied = total(np.abs(sign_x)) * total(np.abs(sign_y))
    return _quotient(total(sign_x * sign_y), np.sqrt(untied))


def spearman(x: _Floats, y: _Floats, weights: _Floats) -> _Floats:
    """Spearman's rho of samples that hold each point as often as its weight says.

    Args and returns as `kendall`; ties get their mean rank.
    """
    count = weights.sum(axis=1, keepdims=True)
    centred = []
    for values in (x, y):
        below = weights @ (values[:, None] < values)
        same = weights @ (values[:, None] == values)
        # The mean rank over a whole sample is (count + 1) / 2.
        centred.append(below + (same + 1) / 2 - (count + 1) / 2)
    products = (weights * centred[0] * centred[1]).sum(axis=1)
    squares = [(weights * ranks**2).sum(axis=1) for ranks in centred]
    return _quotient(products, np.sqrt(squares[0] * squares[1]))


def _bootstrap_weights(scores: pd.DataFrame) -> _Floats:
    """How often each run is drawn: [DRAWS, runs]."""
    generator = np.random.default_rng(_SEED)
    weights = np.ones((DRAWS, len(scores)))
    for factor in ("label", "seed"):
        numbers, levels = pd.factorize(scores[factor])
        count = len(levels)
        if count > 1:
            draws = generator.multinomial(count, np.full(count, 1 / count), size=DRAWS)
            weights *= draws[:, numbers]
    return weights


def _percentile_interval(draws: _Floats) -> tuple[float, float]:
    known = draws[np.isfinite(draws)]
    if len(known) < len(draws) / 2:
        return math.nan, math.nan
    outside = (1 - CONFIDENCE) / 2
    low, high = np.quantile(known, (outside, 1 - outside))
    return float(low), float(high)


def _quotient(numerator: _Floats, denominator: _Floats) -> _Floats:
    nothing = np.full_like(numerator, math.nan)
    return np.divide(numerator, denominator, out=nothing, where=denominator > 0)


# --- Orders of methods --------------------------------------------------------------------------


def order_disagreement(scores: pd.DataFrame, metrics: Sequence[str]) -> pd.DataFrame:
    """Counts how often two metrics order a pair of methods differently.

    Two ways: with the means over seeds, one verdict for each pair of methods; and with single runs
    of the same seed, one verdict for each pair of methods and seed, which is what a reader of
    single runs sees. A pair that is tied by either metric is not counted.

    Returns:
        One row for each two metrics: `first`, `second`, `pairs` of methods counted by their means
        and the share `differently` of these; `single_pairs` of runs counted and the share
        `single_differently` of these. NaN where nothing can be counted.
    """
    means = scores.groupby("label", sort=False)[list(metrics)].mean()
    rows = []
    for first, second in itertools.combinations(metrics, 2):
        by_means = _verdicts(means[first], means[second])
        by_runs = [
            verdict
            for _, runs in scores.groupby("seed")
            for verdict in _verdicts(runs[first], runs[second])
        ]
        rows.append((first, second, *_count(by_means), *_count(by_runs)))
    columns = ["first", "second", "pairs", "differently", "single_pairs", "single_differently"]
    return pd.DataFrame(rows, columns=columns)


def seed_disagreement(scores: pd.DataFrame, metrics: Sequence[str]) -> pd.DataFrame:
    """Counts how often one metric orders a pair of methods differently with another seed.

    What two metrics disagree on beyond this is more than noise.

    Returns:
        One row a metric: `metric`, `pairs` of methods and of seeds counted, and the share
        `differently` of these; NaN where nothing can be counted.
    """
    rows = []
    for metric in metrics:
        by_seed = scores.pivot_table(index="label", columns="seed", values=metric, sort=False)
        verdicts = [
            verdict
            for one, other in itertools.combinations(by_seed.columns, 2)
            for verdict in _verdicts(by_seed[one], by_seed[other])
        ]
        rows.append((metric, *_count(verdicts)))
    return pd.DataFrame(rows, columns=["metric", "pairs", "differently"])


def _verdicts(first: pd.Series, second: pd.Series) -> list[bool]:
    """For each pair of rows that neither column ties, whether the two order it differently."""
    values = np.column_stack([first, second]).astype(float)
    products = [math.prod(one - other) for one, other in itertools.combinations(values, 2)]
    return [product < 0 for product in products if abs(product) > 0]


def _count(verdicts: Sequence[bool]) -> tuple[int, float]:
    return len(verdicts), sum(verdicts) / len(verdicts) if verdicts else math.nan


# --- Noise against method effect ----------------------------------------------------------------


def variance_components(scores: pd.DataFrame, metrics: Sequence[str]) -> pd.DataFrame:
    """Splits each metric's variance into that of methods, of seeds, and the rest.

    Random effects, score = mean + method + seed + rest, estimated by the analysis of variance of
    two crossed factors (Searle, Casella & McCulloch 1992, Section 4.7) on the seeds that every
    method has a score of. A seed has an effect of its own, since all of its methods start from the
    same pre-trained weights; left in the rest, it would hide the methods' effect. Without two such
    seeds the factors don't cross, and it is the analysis of one factor on all runs,
    score = mean + method + rest, with n_0 = (N - sum n_i^2 / N) / (k - 1) for unequal numbers of
    runs (Section 3.6).

    The interval of the share is a generalised confidence interval (Weerahandi 1993): the sums of
    squares are divided by draws of their chi-squared variables, which gives draws of the variances.

    Returns:
        One row a metric: `metric`; the `methods` and `runs` that count; the variances `method`,
        `seed` (NaN where the factors don't cross) and `rest`, of which the first two may be
        estimated negative, which stands for zero; `share` = method / (method + seed + rest) with
        its 95% interval `low` to `high`; and `f` and `p` of the test that the methods do not
        differ. NaN without two methods, two runs of one of them, or any variance.
    """
    return pd.DataFrame([_components(scores, metric) for metric in metrics])


@dataclass(frozen=True)
class _MeanSquare:
    """A mean square, or draws of it; its freedom; and how many runs a level of its factor has."""

    value: Any
    freedom: int
    size: float = math.nan


def _components(scores: pd.DataFrame, metric: str) -> dict[str, object]:
    """The row of `variance_components` for one metric.

    Which analysis it is depends on what is there: crossed with at least two seeds that all methods
    have, nested in methods otherwise, none where no method has two runs or nothing varies. The
    estimates equate the mean squares with their expectations; the interval repeats that with each
    mean square divided by a chi-squared draw of its own freedom.
    """
    known = scores.dropna(subset=[metric])
    row: dict[str, object] = {
        "metric": metric,
        "methods": known["label"].nunique(),
        "runs": len(known),
    }
    row |= dict.fromkeys(("method", "seed", "rest", "share", "low", "high", "f", "p"), math.nan)
    if known["label"].nunique() < 2 or known[metric].nunique() < 2:
        return row
    crossed = known.pivot_table(index="label", columns="seed", values=metric).dropna(axis=1)
    if crossed.shape[1] > 1:
        row["runs"] = crossed.size
        method, seed, rest = _crossed(crossed.to_numpy(float))
    elif len(known) > known["label"].nunique():
        method, rest = _nested(
            [group.to_numpy(float) for _, group in known.groupby("label")[metric]]
        )
        seed = None
    else:
        return row
    if max(method.value, rest.value, seed.value if seed else 0.0) == 0:
        return row
    f = method.value / rest.value if rest.value else math.inf
    generator = np.random.default_rng(_SEED)
    estimates = _split(method, seed, rest)
    drawn = _split(
        *(
            square and replace(square, value=_draws(square, generator))
            for square in (method, seed, rest)
        )
    )
    outside = (1 - CONFIDENCE) / 2
    low, high = np.quantile(_share(*drawn), (outside, 1 - outside))
    return row | {
        "method": float(estimates[0]),
        "seed": float(estimates[1]) if seed else math.nan,
        "rest": float(estimates[2]),
        "share": float(_share(*estimates)),
        "low": float(low),
        "high": float(high),
        "f": f,
        "p": float(stats.f.sf(f, method.freedom, rest.freedom)),
    }


def _crossed(values: _Floats) -> tuple[_MeanSquare, _MeanSquare, _MeanSquare]:
    """Of methods, seeds and the rest, of values [methods, seeds]."""
    methods, seeds = values.shape
    by_method = values.mean(axis=1, keepdims=True)
    by_seed = values.mean(axis=0, keepdims=True)
    rest = values - by_method - by_seed + values.mean()
    freedom = (methods - 1) * (seeds - 1)
    return (
        _MeanSquare(seeds * by_method.var(ddof=1), methods - 1, seeds),
        _MeanSquare(methods * by_seed.var(ddof=1), seeds - 1, methods),
        _MeanSquare((rest**2).sum() / freedom, freedom),
    )


def _nested(groups: Sequence[_Floats]) -> tuple[_MeanSquare, _MeanSquare]:
    """Of methods and the rest, of a method's values each."""
    sizes = np.array([len(values) for values in groups])
    count, runs = len(groups), sizes.sum()
    means = np.array([values.mean() for values in groups])
    grand = (sizes * means).sum() / runs
    size = (runs - (sizes**2).sum() / runs) / (count - 1)
    within = sum(((values - values.mean()) ** 2).sum() for values in groups)
    return (
        _MeanSquare((sizes * (means - grand) ** 2).sum() / (count - 1), count - 1, size),
        _MeanSquare(within / (runs - count), int(runs - count)),
    )


def _draws(square: _MeanSquare, generator: np.random.Generator) -> _Floats:
    return square.value * square.freedom / generator.chisquare(square.freedom, size=DRAWS)


def _split(method: Any, seed: Any, rest: Any) -> tuple[Any, Any, Any]:
    """The variances of methods, seeds and the rest, from their mean squares or draws of these."""
    return (
        (method.value - rest.value) / method.size,
        (seed.value - rest.value) / seed.size if seed else 0.0,
        rest.value,
    )


def _share(method: Any, seed: Any, rest: Any) -> Any:
    method, seed = np.maximum(method, 0), np.maximum(seed, 0)
    return method / (method + seed + rest)
