"""The sampled protocol: metrics on rows of codes and factors that cover no grid.

The challenge draws any combination of the factors and asks for its image. Here there are only rows:

* What a metric trains on and what it tests on are rows of their own, split at random in the
  proportion of its two sample sizes. Each is drawn once before any is drawn again.
* Samples that are larger than what is there shrink to it, both in the same proportion.
* Where a metric holds a factor (the groups of the FactorVAE metric, the pairs of BetaVAE), rows
  whose value differs give way to rows drawn from all that have it.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from evaluator.codes import Codes, why_no_table
from evaluator.engines import Fast, Prepared, of_codes
from evaluator.given_arrays import Factors, binned
from evaluator.ground_truth import GroundTruth
from evaluator.metrics import Metric, Result, settings
from evaluator.representations import Representation
from submission.datasets import Dataset
from submission.errors import UserError

# As `metrics.metric.Samples`: with fewer, a score is noise.
_LEAST = 10

# The metrics train on 20 rows and test on 10, as few as a setting may ask for.
_LEAST_ROWS = 30


def rows_of(factors: Factors, **description: Any) -> tuple["Rows", Factors, list[str]]:
    """Makes rows that cover no grid ready to be drawn from.

    Args:
        factors: Of the rows.
        description: The fields of `Dataset` that aren't about factors.

    Returns:
        The rows; their factors, of which those that are continuous are binned; and warnings.

    Raises:
        UserError: There are too few rows, or a factor of which hardly two rows share a value.
    """
    count = len(factors.numbers)
    if count < _LEAST_ROWS:
        raise UserError(
            f"{count} rows that cover no grid of the factors are too few: the sampled protocol "
            f"needs {_LEAST_ROWS}"
        )
    factors = binned(factors)
    sizes = " x ".join(map(str, factors.sizes))
    rows = Rows(
        **description,
        factor_names=factors.names,
        factor_sizes=factors.sizes,
        scored_factors=tuple(range(len(factors.names))),
        values=factors.numbers,
    )
    warning = (
        f"the {count:,} rows don't hold each combination of {sizes} values once, so the metrics "
        "draw from the rows that are there (the sampled protocol): these scores are not the "
        "challenge's"
    )
    return rows, factors, [warning, *factors.warnings]


def sampled_images(dataset: Dataset, representation: Representation) -> tuple["Rows", Prepared]:
    """Encodes the images of a data set that is no grid, to be scored by the sampled protocol.

    Args:
        dataset: It has `factors`.
        representation: What is scored.

    Returns:
        The images as rows, and the engine that scores them.

    Raises:
        UserError: The representation fails, or its codes are no function of the image; or as
            `rows_of`.
    """
    assert dataset.factors is not None
    ground_truth = GroundTruth(dataset)
    start = time.perf_counter()
    codes = Codes(ground_truth, representation)
    everything = np.arange(len(dataset.images))
    reason = why_no_table(ground_truth, representation) or codes.encode(everything)
    seconds = time.perf_counter() - start
    if reason is not None:
        raise UserError(
            f"{reason}: {dataset.name} is no grid of its factors, and the sampled protocol needs "
            "codes that the image alone decides"
        )
    scored = list(dataset.scored_factors)
    numbers = dataset.factors[:, scored]
    known = [dataset.factor_values[factor] for factor in scored]
    categorical = tuple(values.dtype.kind in "US" for values in known)
    columns = [
        column if is_text else values[column]
        for column, values, is_text in zip(numbers.T, known, categorical, strict=True)
    ]
    names = tuple(dataset.factor_names[factor] for factor in scored)
    factors = Factors(names, numbers, np.stack(columns, axis=1).astype(np.float64), categorical)
    rows, factors, warnings = rows_of(
        factors,
        name=dataset.name,
        images=dataset.images,
        white=dataset.white,
        path=dataset.path,
        known_fingerprint=dataset.fingerprint(),
        is_own=dataset.is_own,
    )
    score = Sampled(rows, codes[everything], factors.values, str(representation.path))
    return rows, of_codes(codes, score, seconds, warnings)


@dataclass(frozen=True)
class Sampled:
    """Scores rows by the sampled protocol; an `engines.Score`.

    Attributes:
        rows: What is drawn from.
        table: [rows, latents], the codes.
        unbinned: float64 [rows, factors], the factors' values before continuous ones were binned.
        name: What messages call the codes.
    """

    rows: "Rows"
    table: np.ndarray
    unbinned: np.ndarray
    name: str

    def __call__(
        self, metric: Metric, seed: int, preset: str, bindings: Sequence[str] = ()
    ) -> Result:
        """Scores; see `metrics.reference.run` for the arguments.

        Raises:
            UserError: As there, or the rows are too few for the metric.
        """
        asked = settings(metric, preset, bindings)
        fitted = self._fitted(metric, asked)
        share, training = _split(metric, asked | fitted)
        continuous = asked.get("sap_score.continuous_factors", False)
        values = self.unbinned if continuous else self.rows.values
        rows = replace(self.rows, values=values, share=share, training=training)
        score = Fast(Codes.of_table(rows, self.table, self.name))
        given = [*bindings, *(f"{name} = {size}" for name, size in fitted.items())]
        result = score(metric, seed, preset, given)
        if not fitted:
            return result
        changes = " and ".join(
            f"{name.split('.')[1]} is {size:,} and not {asked[name]:,}"
            for name, size in fitted.items()
        )
        text = f"UserWarning: there are {len(values):,} rows, so {changes}"
        return replace(result, warnings={text: 1, **result.warnings})

    def _fitted(self, metric: Metric, asked: Mapping[str, Any]) -> dict[str, int]:
        """The sample sizes that have to shrink, for the rows that there are."""
        train, test = _sizes(asked)
        if train is None:
            return {}
        there = len(self.rows.values)
        if test is None:
            return {train: there} if asked[train] > there else {}
        # What is tested by `num_eval` are votes and pairs, each of many rows that come again.
        of_votes = test.endswith("num_eval")
        if not of_votes and asked[train] + asked[test] <= there:
            return {}
        first = _first_part(there, asked[train] / (asked[train] + asked[test]))
        if min(first, there - first) < _LEAST:
            raise UserError(
                f"{metric.name} needs {_LEAST} rows or more to train on and as many to test on: "
                f"{train} and {test} split the {there} rows into {first} and {there - first}"
            )
        return {} if of_votes else {train: first, test: there - first}


def _sizes(values: Mapping[str, Any]) -> tuple[str | None, str | None]:
    """The settings that say how much a metric trains on, and tests on, where it has them."""
    train = next((name for name in values if name.endswith(".num_train")), None)
    test = next((name for name in values if name.endswith((".num_test", ".num_eval"))), None)
    return train, test


def _split(metric: Metric, values: Mapping[str, Any]) -> tuple[float, int]:
    """Which share of the rows is trained on, and how many rows are drawn for that."""
    train, test = _sizes(values)
    if train is None or test is None:
        return 1.0, 0
    share = values[train] / (values[train] + values[test])
    count = values[train]
    if metric.computation == "factor_vae_metric":
        count *= values["factor_vae_score.batch_size"]
        count += values["factor_vae_score.num_variance_estimate"]
    elif metric.computation == "beta_vae":
        count *= 2 * values["beta_vae_sklearn.batch_size"]
    return share, count


def _first_part(count: int, share: float) -> int:
    return round(count * share)


@dataclass(frozen=True, eq=False)
class Rows(Dataset):
    """Rows in the place of a grid, with a data set's draws, for one computation of one metric.

    Attributes:
        values: [rows, factors], of each row of `images`.
        share: Of the rows, those that are drawn first, to train on.
        training: How many draws that takes; all later ones take the other rows.
    """

    values: np.ndarray = field(kw_only=True, repr=False)
    share: float = field(default=1.0, kw_only=True)
    training: int = field(default=0, kw_only=True)
    _pools: list["_Pool"] = field(default_factory=list, init=False, repr=False)
    _drawn: list["_Drawn"] = field(default_factory=list, init=False, repr=False)

    def __post_init__(self) -> None:
        """Rows cover no grid, so there is nothing to refuse."""

    def sample_factors(self, num: int, random_state: np.random.RandomState) -> np.ndarray:
        """Draws rows.

        Args:
            num: How many.
            random_state: Where the draws come from.

        Returns:
            [num, factors], the rows' values. `image_indices` knows the array again.
        """
        if not self._pools:
            order = random_state.permutation(len(self.values))
            first = _first_part(len(order), self.share)
            parts = [order] if self.share == 1 else [order[:first], order[first:]]
            self._pools.extend(_Pool(self.values, part) for part in parts)
        pool = self._pools[0]
        if len(self._pools) > 1 and pool.count >= self.training:
            pool = self._pools[1]
        rows = pool.deal(num, random_state)
        factors = self.values[rows]
        # A pair of BetaVAE's takes two draws before it asks for codes.
        self._drawn[:] = [*self._drawn[-1:], _Drawn(factors, rows, pool)]
        return factors

    def image_indices(self, factors: np.ndarray, random_state: np.random.RandomState) -> np.ndarray:
        """Gives the rows of a draw, some of whose values may have been set since.

        Args:
            factors: What `sample_factors` returned, with at most one factor held.
            random_state: Where the draws of rows with another value come from.

        Returns:
            int64 [n]: the rows drawn, but where the factor has another value now, rows drawn from
            those that have it.

        Raises:
            ValueError: The array is none of the last two draws.
        """
        drawn = next((one for one in self._drawn if one.factors is factors), None)
        if drawn is None:
            raise ValueError(
                "rows can only be asked for by the very array that sample_factors gave"
            )
        rows = drawn.rows.copy()
        changed = factors != self.values[rows]
        for column in np.flatnonzero(changed.any(axis=0)):
            other = changed[:, column]
            rows[other] = drawn.pool.sharing(int(column), factors[other, column], random_state)
        return rows


class _Pool:
    """Rows in a random order.

    Attributes:
        count: How many were dealt.
    """

    def __init__(self, values: np.ndarray, rows: np.ndarray) -> None:
        self._values, self._rows = values, rows
        self._next = 0
        self._by_value: dict[int, tuple[np.ndarray, np.ndarray]] = {}
        self.count = 0

    def deal(self, num: int, random_state: np.random.RandomState) -> np.ndarray:
        """The next rows, int64 [num]; after the last one they are put into another order."""
        parts = []
        self.count += num
        while num > 0:
            if self._next == len(self._rows):
                self._rows, self._next = random_state.permutation(self._rows), 0
            parts.append(self._rows[self._next : self._next + num])
            self._next += len(parts[-1])
            num -= len(parts[-1])
        return np.concatenate(parts)

    def sharing(
        self, column: int, wanted: np.ndarray, random_state: np.random.RandomState
    ) -> np.ndarray:
        """For each value [n] of a factor a row that has it, each of these as likely, int64 [n]."""
        if column not in self._by_value:
            rows = np.sort(self._rows)
            rows = rows[np.argsort(self._values[rows, column], kind="stable")]
            self._by_value[column] = rows, self._values[rows, column]
        rows, values = self._by_value[column]
        first, after = (np.searchsorted(values, wanted, side) for side in ("left", "right"))
        return rows[random_state.randint(first, after)]


@dataclass(frozen=True)
class _Drawn:
    """Rows [n] drawn from a pool, and the array of their factors, which a metric may change."""

    factors: np.ndarray
    rows: np.ndarray
    pool: _Pool
