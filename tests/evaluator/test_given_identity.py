"""disentanglement_lib's unit tests of its metrics, put to `score_codes`.

Its `IdentityObservationsData` draws ten factors of ten values and observes them as they are. Here
the draws are rows, as many as its tests draw, and the codes are what its representations make.
"""

import math

import numpy as np
import pytest

import evaluator


def drawn(count):
    return np.random.RandomState(0).randint(1, 11, size=(count, 10))


def identity(factors):
    return factors.astype(np.float64)


def zeros(factors):
    return np.zeros(factors.shape)


def duplicated(factors):
    return np.hstack([factors, factors]).astype(np.float64)


def shuffled(factors):
    """Each row by itself, so that every latent tells as little of one factor as of another."""
    return np.random.default_rng(1).permuted(identity(factors), axis=1)


def sizes(name, train, test=None, **others):
    given = {"num_train": train, **({"num_test": test} if test else {}), **others}
    return [f"{name}.{key} = {value}" for key, value in given.items()]


COPIED = 1 - math.log(2) / math.log(10)
CONTINUOUS = sizes("sap_score", 3000, 3000, continuous_factors=True)
VOTES = sizes("factor_vae_score", 2000, num_eval=2500, num_variance_estimate=3000, batch_size=5)
PAIRS = sizes("beta_vae_sklearn", 2000, num_eval=2000, batch_size=5)
TEN_BINS = ["discretizer.num_bins = 10"]


@pytest.mark.parametrize(
    ("metric", "represent", "rows", "gin", "expected"),
    [
        (
            "dci",
            identity,
            2000,
            sizes("dci", 1000, 1000),
            {"disentanglement": (0.9, 1), "completeness": (0.9, 1)},
        ),
        (
            "dci",
            shuffled,
            2000,
            sizes("dci", 1000, 1000),
            {"disentanglement": (0, 0.2), "completeness": (0, 0.2)},
        ),
        (
            "dci",
            duplicated,
            2000,
            sizes("dci", 1000, 1000),
            {"disentanglement": (0.9, 1), "completeness": (COPIED - 0.1, COPIED + 0.1)},
        ),
        ("mig", identity, 3000, sizes("mig", 3000) + TEN_BINS, {"discrete_mig": (0.9, 1)}),
        ("mig", zeros, 3000, sizes("mig", 3000) + TEN_BINS, {"discrete_mig": (0, 0.2)}),
        ("mig", duplicated, 3000, sizes("mig", 3000) + TEN_BINS, {"discrete_mig": (0, 0.1)}),
        ("sap_score", identity, 6000, CONTINUOUS, {"SAP_score": (0.9, 1)}),
        ("sap_score", zeros, 6000, CONTINUOUS, {"SAP_score": (0, 0.2)}),
        ("sap_score", duplicated, 6000, CONTINUOUS, {"SAP_score": (0, 0.2)}),
        (
            "factor_vae_metric",
            identity,
            7500,
            VOTES,
            {"train_accuracy": (0.9, 1), "eval_accuracy": (0.9, 1)},
        ),
        (
            "factor_vae_metric",
            zeros,
            7500,
            VOTES,
            {"train_accuracy": (0, 0.2), "eval_accuracy": (0, 0.2)},
        ),
        pytest.param(
            "beta_vae",
            identity,
            8000,
            PAIRS,
            {"train_accuracy": (0.9, 1), "eval_accuracy": (0.9, 1)},
            marks=pytest.mark.slow,
        ),
        ("irs", identity, 3000, sizes("irs", 3000) + TEN_BINS, {"IRS": (0.9, 1)}),
        ("irs", zeros, 3000, sizes("irs", 3000) + TEN_BINS, {"IRS": (0, 0.1)}),
        pytest.param(
            "modularity",
            identity,
            6000,
            sizes("modularity_explicitness", 3000, 3000) + TEN_BINS,
            {"modularity_score": (0.9, 1)},
            marks=pytest.mark.slow,
        ),
        pytest.param(
            "modularity",
            duplicated,
            6000,
            sizes("modularity_explicitness", 3000, 3000) + TEN_BINS,
            {"modularity_score": (0.9, 1)},
            marks=pytest.mark.slow,
        ),
        pytest.param(
            "modularity",
            shuffled,
            40_000,
            sizes("modularity_explicitness", 20_000, 20_000) + TEN_BINS,
            {"modularity_score": (0, 0.2)},
            marks=pytest.mark.slow,
        ),
    ],
)
def test_what_disentanglement_lib_expects(metric, represent, rows, gin, expected):
    factors = drawn(rows)
    found = evaluator.score_codes(represent(factors), factors, metrics=[metric], gin=gin)
    assert found.protocol == "sampled"
    assert not found.results[metric][0].warnings
    for name, (low, high) in expected.items():
        # Rounding takes a DCI of 1 a little beyond it.
        assert low - 1e-9 <= found.values[metric][name] <= high + 1e-9
