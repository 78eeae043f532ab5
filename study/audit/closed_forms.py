"""Scores that can be computed without a sample, beside those that the audit measured."""

import math
from dataclasses import dataclass

import numpy as np
import pandas as pd

from study.audit.grid import Grid

# The challenge's settings of LinearSVC, and its samples.
_PENALTY = 0.01
_TRAINED, _TESTED = 10_000, 5_000
_BINS = 20


@dataclass(frozen=True)
class ClosedForm:
    """A score that theory gives.

    Attributes:
        what: Of what, and why it is that.
        metric: The metric.
        group: The family or baseline that measured it.
        dial: The value of its dial.
        expected: The score.
        tolerance: How far a sample may lie from it, by its size alone.
    """

    what: str
    metric: str
    group: str
    dial: float
    expected: float
    tolerance: float


@dataclass(frozen=True)
class Check:
    """A closed form and what was measured.

    Attributes:
        form: The closed form.
        measured: The mean over seeds.
    """

    form: ClosedForm
    measured: float

    @property
    def holds(self) -> bool:
        """Whether the two are as near as the sample's size lets expect."""
        return abs(self.measured - self.form.expected) <= self.form.tolerance


def closed_forms(grid: Grid) -> list[ClosedForm]:
    """Those of a data set's grid of factors, for the challenge's sample sizes.

    Args:
        grid: The grid.

    Returns:
        The closed forms.
    """
    sizes, count = np.array(grid.factor_sizes), grid.num_factors
    chance = 1 / count
    channels = {share: mig_of_uniform_noise(grid.factor_sizes, share) for share in (0.2, 0.6)}
    return [
        *(
            ClosedForm(
                f"MIG of factors that are {share:.0%} uniform noise: the information that the "
                "channel lets through, over the factor's entropy",
                "mig",
                "drowned",
                share,
                expected,
                # The bias of the plug-in estimate is up to (rows - 1)(columns - 1) / 2n nats.
                float(np.mean((sizes - 1) * (_BINS - 1) / (2 * _TRAINED) / np.log(sizes))) + 0.005,
            )
            for share, expected in channels.items()
        ),
        ClosedForm(
            "MIG where every latent is there twice: the gap is 0",
            "mig",
            "copied",
            1.0,
            0.0,
            1e-12,
        ),
        ClosedForm(
            "SAP of the factors themselves: the accuracy of the best linear SVM on equally spaced "
            "points, less chance",
            "sap_score",
            "perfect",
            0.0,
            sap_of_perfect(grid.factor_sizes),
            # The second best is the largest of the others, each with this deviation about chance.
            float(np.mean(2.5 * np.sqrt((1 - 1 / sizes) / sizes / _TESTED))),
        ),
        ClosedForm(
            "FactorVAE of noise: a vote names the factor by chance",
            "factor_vae_metric",
            "noise",
            10,
            chance,
            4 * math.sqrt(chance * (1 - chance) / _TESTED),
        ),
        ClosedForm(
            "BetaVAE of a constant: the classifier names one factor always",
            "beta_vae",
            "constant",
            10,
            chance,
            4 * math.sqrt(chance * (1 - chance) / _TESTED),
        ),
        ClosedForm(
            "Explicitness of a constant: every ROC curve is the diagonal",
            "explicitness",
            "constant",
            10,
            0.5,
            # Rounding parts a few probabilities that are equal.
            1e-4,
        ),
    ]


def check(forms: list[ClosedForm], scores: pd.DataFrame) -> list[Check]:
    """Compares with what was measured; forms that were not are left out."""
    means = scores.groupby(["group", "dial", "metric"])["score"].mean()
    return [
        Check(form, float(means[key]))
        for form in forms
        if (key := (form.group, float(form.dial), form.metric)) in means.index
    ]


def mig_of_uniform_noise(sizes: tuple[int, ...], share: float, bins: int = _BINS) -> float:
    """MIG of (1 - share) x + share u with x the factor in [0, 1] and u uniform on [0, 1].

    The second best latent is independent of the factor, so that its information is 0.

    Args:
        sizes: Values of each factor, two or more.
        share: Of the noise, in (0, 1].
        bins: Equal bins over [0, 1].

    Returns:
        The mean over factors of I(x; bin) / H(x).
    """
    edges = np.linspace(0, 1, bins + 1)
    gaps = []
    for size in sizes:
        starts = (1 - share) * np.arange(size)[:, None] / (size - 1)
        filled = np.clip((edges[None, :] - starts) / share, 0, 1)
        channel = np.diff(filled, axis=1)
        output = channel.mean(axis=0)
        gaps.append(
            (_entropy(output) - np.mean([_entropy(row) for row in channel])) / math.log(size)
        )
    return float(np.mean(gaps))


def sap_of_perfect(sizes: tuple[int, ...]) -> float:
    """SAP where each factor has a latent of its own, of mean 0 and variance 1.

    Args:
        sizes: Values of each factor.

    Returns:
        The mean over factors of the accuracy of one linear SVM against the rest for each value,
        less the 1 / size that an independent latent has.
    """
    return float(np.mean([_accuracy(size) - 1 / size for size in sizes]))


def _accuracy(size: int) -> float:
    """Of SVMs with squared hinge loss and a regularised intercept, one a value against the rest.

    Each value is taken to be drawn equally often, so that balanced classes weigh 1 and each
    machine is the optimum of two unknowns.
    """
    from scipy.optimize import minimize

    points = np.arange(size) - (size - 1) / 2
    points = points / points.std()
    machines = []
    for value in range(1 if size == 2 else size):
        labels = np.where(np.arange(size) == (1 if size == 2 else value), 1.0, -1.0)
        weights = np.full(size, _PENALTY * _TRAINED / size)

        def loss(
            line: np.ndarray, labels: np.ndarray = labels, weights: np.ndarray = weights
        ) -> float:
            short = np.maximum(0, 1 - labels * (line[0] * points + line[1]))
            return float(0.5 * line @ line + weights @ short**2)

        found = minimize(loss, np.zeros(2), method="BFGS", options={"gtol": 1e-9})
        machines.append(found.x[0] * points + found.x[1])
    if size == 2:
        return float(np.mean((machines[0] > 0) == np.array([False, True])))
    return float(np.mean(np.argmax(machines, axis=0) == np.arange(size)))


def _entropy(shares: np.ndarray) -> float:
    """In nats."""
    known = shares[shares > 0]
    return float(-(known * np.log(known)).sum())
