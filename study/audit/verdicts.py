"""What the scores say of the metrics, by rules that stand here and know no metric.

All changes are in units of a metric's range: from what the factors themselves score to what noise
scores.
"""

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from evaluator.intervals import t_interval
from study.audit.families import (
    FAMILIES,
    INVARIANCE,
    PERFECT,
    PROPERTIES,
    PROTOCOL,
    Family,
)

NOTICED = 0.1
"""A change of the score by this share of the range counts."""

WRONG_STEP = 0.02
"""So does a step of this share of the range against the dial's direction, for monotonicity."""

LEAST_RANGE = 0.1
"""A metric that doesn't tell the factors from noise by this much has no range to judge by."""

FLOOR = "noise"
"""The baseline whose score is the lower end of the range."""

FLOOR_LATENTS = 10

FALLS, STAYS, RISES, OPEN, NOTHING = "falls", "stays", "rises", "open", "no verdict"


@dataclass(frozen=True)
class Curve:
    """A metric's scores along a family's dial.

    Attributes:
        family: The family.
        metric: The metric's name.
        dials: The values, from perfect to spoilt.
        scores: [values, seeds]; NaN where the metric has no score.
    """

    family: Family
    metric: str
    dials: tuple[float, ...]
    scores: np.ndarray

    @property
    def means(self) -> np.ndarray:
        """[values], over the seeds."""
        return self.scores.mean(axis=1)

    @property
    def half_widths(self) -> np.ndarray:
        """[values], of the 95 % t-interval of the mean."""
        return np.array([_half_width(row) for row in self.scores])

    def against(self, value: int, start: int = 0) -> tuple[float, float]:
        """The change from one value to another, seed by seed: its mean and half width."""
        changes = self.scores[value] - self.scores[start]
        return float(changes.mean()), _half_width(changes)


@dataclass(frozen=True)
class Range:
    """What a metric gives at best and for nothing.

    Attributes:
        perfect: The factors themselves.
        floor: `FLOOR_LATENTS` latents of noise.
    """

    perfect: float
    floor: float

    @property
    def size(self) -> float:
        """NaN where it is too little, or unknown, to judge by."""
        size = self.perfect - self.floor
        return size if size >= LEAST_RANGE else math.nan


@dataclass(frozen=True)
class Verdict:
    """What a metric does along one dial.

    Attributes:
        curve: The scores.
        kind: `FALLS`, `STAYS`, `RISES`; `OPEN` where the interval allows several, `NOTHING` where
            there is no score or no range.
        change: Of the score in units of the range: at the dial's end; for what should change
            nothing, where it is surely largest, or may be where no value's counts.
        half_width: Of its 95 % interval.
        at: The dial's value there.
        monotone: Whether no step goes the other way, beyond noise and `WRONG_STEP`.
    """

    curve: Curve
    kind: str
    change: float
    half_width: float
    at: float
    monotone: bool

    @property
    def start(self) -> float:
        """The mean score at the dial's start."""
        return float(self.curve.means[0])

    @property
    def end(self) -> float:
        """The mean score where the change is taken."""
        return float(self.curve.means[self.curve.dials.index(self.at)])


def curves(scores: pd.DataFrame) -> dict[tuple[str, str], Curve]:
    """The scores of families by family and metric, the perfect representation at its place.

    Args:
        scores: What `running.read` gives.

    Returns:
        By the family's name and the metric's, in the order of `FAMILIES`.
    """
    by_case = scores.set_index(["group", "metric"]).sort_index()
    found = {}
    for name, family in FAMILIES.items():
        for metric in dict.fromkeys(scores["metric"]):
            if family is PERFECT or (name, metric) not in by_case.index:
                continue
            rows = by_case.loc[[(name, metric)]]
            if family.start is not None and (PERFECT.name, metric) in by_case.index:
                own = by_case.loc[[(PERFECT.name, metric)]].assign(dial=family.start)
                rows = pd.concat([own, rows])
            table = rows.pivot(index="dial", columns="seed", values="score")
            dials = [family.start, *family.values] if family.start is not None else family.values
            known = [dial for dial in dials if dial in table.index]
            found[name, metric] = Curve(family, metric, tuple(known), table.loc[known].to_numpy())
    return found


def ranges(scores: pd.DataFrame) -> dict[str, Range]:
    """Each metric's range, NaN at an end that has no score."""
    means = scores.groupby(["group", "dial", "metric"])["score"].mean()
    return {
        metric: Range(
            float(means.get((PERFECT.name, 0.0, metric), math.nan)),
            float(means.get((FLOOR, float(FLOOR_LATENTS), metric), math.nan)),
        )
        for metric in dict.fromkeys(scores["metric"])
    }


def judge(curve: Curve, size: float) -> Verdict:
    """Says what a metric does along a dial.

    Args:
        curve: Its scores.
        size: Its range.

    Returns:
        The verdict. `FALLS` and `RISES` are told where the whole 95 % interval of the change is
        beyond `NOTICED`, `STAYS` where all of it is within, and at no other value all beyond.
    """
    if len(curve.dials) == 1 or math.isnan(size) or np.isnan(curve.scores).any():
        return Verdict(curve, NOTHING, math.nan, math.nan, curve.dials[-1], monotone=True)
    changes = np.array([curve.against(place) for place in range(1, len(curve.dials))]) / size
    # The ends of each interval, by their distance from no change.
    near = np.abs(changes[:, 0]) - changes[:, 1]
    far = np.abs(changes[:, 0]) + changes[:, 1]
    noticed = bool((near >= NOTICED).any())
    at = len(changes) - 1
    if curve.family.breaks in (INVARIANCE, PROTOCOL):
        at = int(np.argmax(near if noticed else far))
    mean, half_width = map(float, changes[at])
    if far[at] < NOTICED and not noticed:
        kind = STAYS
    elif near[at] >= NOTICED:
        kind = FALLS if mean < 0 else RISES
    else:
        kind = OPEN
    return Verdict(curve, kind, mean, half_width, curve.dials[at + 1], _monotone(curve, size))


def _monotone(curve: Curve, size: float) -> bool:
    direction = np.sign(curve.means[-1] - curve.means[0])
    # A scale is a dial with the perfect representation in its middle.
    order = [] if curve.family.start == 1 else list(itertools.pairwise(range(len(curve.dials))))
    steps = [curve.against(second, first) for first, second in order]
    return not any(
        mean * direction < -WRONG_STEP * size and abs(mean) > half_width
        for mean, half_width in steps
    )


@dataclass(frozen=True)
class Summary:
    """A metric's verdicts on the families that break one property.

    Attributes:
        broken: One of `families.PROPERTIES`.
        verdicts: Theirs.
    """

    broken: str
    verdicts: tuple[Verdict, ...]

    @property
    def word(self) -> str:
        """`rewards`, `ignores`, `punishes` or `mixed`; of invariance `invariant` or `varies`.

        `open` where a dial that is open may decide it, `no verdict` where there is none.
        """
        kinds = {verdict.kind for verdict in self.verdicts} - {NOTHING}
        if not kinds:
            return NOTHING
        if self.broken == INVARIANCE:
            if kinds & {FALLS, RISES}:
                return "varies"
            return OPEN if OPEN in kinds else "invariant"
        told = kinds - {OPEN}
        if len(told) > 1:
            return "mixed"
        if OPEN in kinds:
            return OPEN
        return {FALLS: "rewards", STAYS: "ignores", RISES: "punishes"}[told.pop()]

    @property
    def counts(self) -> str:
        """Such as `falls in 2 of 4, stays in 2`."""
        told = [
            (kind, sum(verdict.kind == kind for verdict in self.verdicts))
            for kind in (FALLS, RISES, STAYS, OPEN)
        ]
        parts = [f"{kind} with {count}" for kind, count in told if count]
        return f"{', '.join(parts)} of {len(self.verdicts)}" if parts else ""


def table(
    verdicts: Mapping[tuple[str, str], Verdict], metrics: Sequence[str]
) -> dict[str, dict[str, Summary]]:
    """Metrics x properties.

    Args:
        verdicts: By family and metric.
        metrics: The rows.

    Returns:
        By metric and property, without the protocol.
    """
    return {
        metric: {
            broken: Summary(
                broken,
                tuple(
                    verdict
                    for (name, other), verdict in verdicts.items()
                    if other == metric and FAMILIES[name].breaks == broken
                ),
            )
            for broken in PROPERTIES
            if broken != PROTOCOL
        }
        for metric in metrics
    }


def untrained(scores: pd.DataFrame) -> dict[str, tuple[float, float]]:
    """The lowest and the highest score of untrained encoders with ten latents, by metric."""
    own = scores[(scores["group"] == "untrained") & (scores["dial"] == FLOOR_LATENTS)].dropna()
    by_metric = own.groupby("metric")["score"].agg(["min", "max"])
    return {str(metric): (row["min"], row["max"]) for metric, row in by_metric.iterrows()}


def bias_and_spread(curve: Curve) -> list[tuple[float, float, float]]:
    """What a number of samples does to a score.

    Args:
        curve: Of a family whose dial is the number of samples.

    Returns:
        For each number of samples: that number, the mean's difference from the mean with the most
        samples, and the standard deviation over seeds.
    """
    most = curve.means[-1]
    return [
        (dial, float(row.mean() - most), float(row.std(ddof=1)) if len(row) > 1 else math.nan)
        for dial, row in zip(curve.dials, curve.scores, strict=True)
    ]


def place(curve: Curve, score: float) -> float | None:
    """Where on a dial a score stands: the first value that has it, between those scored linearly.

    Args:
        curve: The dial.
        score: A score.

    Returns:
        The dial's value; None where the dial has no such score.

    Example:
        >>> falling = Curve(PERFECT, "mig", (0.0, 2.0), np.array([[1.0], [0.0]]))
        >>> place(falling, 0.25), place(falling, 1.5)
        (1.5, None)
    """
    for (first, low), (second, high) in itertools.pairwise(
        zip(curve.dials, curve.means, strict=True)
    ):
        if min(low, high) <= score <= max(low, high) and low != high:
            return float(first + (second - first) * (score - low) / (high - low))
    return None


def _half_width(scores: np.ndarray) -> float:
    known = [float(score) for score in scores]
    return t_interval(known).half_width if len(known) > 1 else math.nan
