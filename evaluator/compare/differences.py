"""What runs differ in: their scores, beyond the noise of the draws or not, and how they came."""

import itertools
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from evaluator.compare.runs import Run
from evaluator.intervals import CONFIDENCE, t_interval

# What differs in every run, and what the scores tell.
_OF_THE_HOUR = {
    "name",
    "started",
    "seconds_spent",
    "kl_per_latent",
    "posterior_std_per_latent",
    "posterior_mean_variance_per_latent",
    "gin_config",
    "message",
    "created",
    "seconds",
    "warnings",
    "representation_sha256",
    "gin_bindings",
}
_OF_SCORES = "scores: "
_HASH_DIGITS = 10


@dataclass(frozen=True)
class Difference:
    """The score of one run minus that of another.

    Attributes:
        mean: Over the seeds of the draws.
        half_width: Of its 95 % interval; NaN where a run was scored with one seed.
    """

    mean: float
    half_width: float

    @property
    def is_beyond_noise(self) -> bool | None:
        """Whether the interval leaves out 0; None where there is no interval."""
        return None if math.isnan(self.half_width) else abs(self.mean) > self.half_width


def difference(one: Run, other: Run, metrics: Sequence[str]) -> Difference:
    """Compares two runs in the sum of some metrics, or in one.

    With the same seeds both saw the same draws, and the interval is that of their differences seed
    by seed (Student's t); else Welch's (1947).
    """
    first, second = (
        # A metric that was scored with one seed leaves one sum.
        [sum(scores) for scores in zip(*map(run.by_seed, metrics), strict=False)]
        for run in (one, other)
    )
    mean = float(np.mean(first) - np.mean(second))
    if min(len(first), len(second)) < 2:
        return Difference(mean, math.nan)
    if one.seeds == other.seeds and len(first) == len(second):
        pairs = zip(first, second, strict=True)
        return Difference(mean, t_interval([a - b for a, b in pairs]).half_width)
    return Difference(mean, _welch(first, second))


def pairs(runs: Sequence[Run], metrics: Sequence[str]) -> list[tuple[Run, Run, list[Difference]]]:
    """Each pair of runs, and its difference in each metric and in their sum."""
    return [
        (
            one,
            other,
            [difference(one, other, part) for part in (*([name] for name in metrics), metrics)],
        )
        for one, other in itertools.combinations(runs, 2)
    ]


def what_differs(runs: Sequence[Run]) -> list[tuple[str, list[str]]]:
    """The settings, seeds, versions and so on that aren't the same in all runs.

    Returns:
        A name and the value of each run; a dash where a run doesn't tell it.
    """
    told = [_told(run) for run in runs]
    names = dict.fromkeys(name for one in told for name in one)
    rows = [(name, [one.get(name, "\N{EN DASH}") for one in told]) for name in names]
    differing = [(name, values) for name, values in rows if len(set(values)) > 1]
    return sorted(differing, key=lambda row: row[0].startswith(_OF_SCORES))


def _welch(first: Sequence[float], second: Sequence[float]) -> float:
    from scipy import stats

    variances = [float(np.var(scores, ddof=1)) / len(scores) for scores in (first, second)]
    total = sum(variances)
    if total == 0:
        return 0.0
    freedom = total**2 / sum(
        variance**2 / (len(scores) - 1)
        for variance, scores in zip(variances, (first, second), strict=True)
    )
    return float(stats.t.ppf((1 + CONFIDENCE) / 2, freedom) * math.sqrt(total))


def _told(run: Run) -> dict[str, str]:
    record = _flat(run.record, "")
    settings = {
        name: value
        for name, separator, value in (
            line.partition(" = ")
            # gin breaks a long line behind its equals sign.
            for line in str(run.record.get("gin_config", "")).replace("= \\\n", "= ").splitlines()
        )
        if separator and not name.startswith("#")
    }
    scored = _flat(run.scores.provenance, _OF_SCORES)
    for fields in (record, scored):
        for name in fields:
            if name.endswith("git_revision"):
                commit, separator, changes = fields[name].partition("-")
                fields[name] = commit[:_HASH_DIGITS] + separator + changes
    if run.seeds:
        scored[f"{_OF_SCORES}seeds"] = ", ".join(f"{seed:g}" for seed in run.seeds)
    return record | {name: " ".join(value.split()) for name, value in settings.items()} | scored


def _flat(fields: Mapping[str, Any], prefix: str) -> dict[str, str]:
    flat: dict[str, str] = {}
    for name, value in fields.items():
        if name in _OF_THE_HOUR or value in (None, "", [], {}):
            continue
        if isinstance(value, dict):
            flat |= _flat(value, f"{prefix}{name}.")
        else:
            flat[prefix + name] = value if isinstance(value, str) else json.dumps(value)
    return flat
