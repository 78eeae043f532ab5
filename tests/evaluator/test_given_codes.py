"""Codes given as arrays, against the scores of a model that gives the same codes."""

import numpy as np
import pytest

from evaluator import metrics
from evaluator.codes import Codes
from evaluator.engines import Fast
from evaluator.given_codes import score_table
from evaluator.ground_truth import GroundTruth

SMALL = [
    "dci.num_train = 100",
    "dci.num_test = 50",
    "factor_vae_score.num_variance_estimate = 100",
    "factor_vae_score.num_train = 20",
    "factor_vae_score.num_eval = 10",
    "sap_score.num_train = 100",
    "sap_score.num_test = 50",
    "mig.num_train = 100",
    "irs.num_train = 100",
    "beta_vae_sklearn.num_train = 50",
    "beta_vae_sklearn.num_eval = 20",
    "modularity_explicitness.num_train = 200",
    "modularity_explicitness.num_test = 100",
]


@pytest.fixture
def dataset(make_dataset):
    return make_dataset()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_table_scores_as_the_model_that_gives_its_codes(dataset, from_table, dtype):
    """Every metric, those that have no fast form too."""
    table = np.asfortranarray(np.random.RandomState(1).standard_normal((120, 4)), dtype)
    scored = score_table(dataset, table, list(metrics.ALL_METRICS.values()), bindings=SMALL)
    assert list(scored) == list(metrics.ALL_METRICS)
    model = Fast(Codes(GroundTruth(dataset), from_table(table)))
    for name, metric in metrics.ALL_METRICS.items():
        assert scored[name].values == model(metric, 0, "challenge", SMALL).values
        assert scored[name].metric is metric
