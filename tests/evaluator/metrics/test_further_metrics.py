"""The field's further metrics: disentanglement_lib's own functions, directly and on a table."""

import gin
import numpy as np
import pytest

from evaluator import engines, metrics
from evaluator.compat import load_metric_module
from evaluator.ground_truth import GroundTruth
from evaluator.metrics import ALL_METRICS, FURTHER_METRICS, reference
from evaluator.representations import Representation
from submission.errors import UserError
from tests.evaluator.reading import encode_all, prepare, read_representation

SMALL = {
    "dci": ["dci.num_train = 120", "dci.num_test = 70"],
    "beta_vae": ["beta_vae_sklearn.num_train = 60", "beta_vae_sklearn.num_eval = 40"],
    "modularity_explicitness": [
        "modularity_explicitness.num_train = 300",
        "modularity_explicitness.num_test = 200",
    ],
}
ON_THE_TABLE = ["beta_vae", "modularity", "explicitness"]


def score(name, truth, representation, engine, seed=0):
    metric = ALL_METRICS[name]
    ready = prepare(engine, truth, representation, [metric], SMALL[metric.computation])
    # A table of codes is learnt by heart.
    assert all("by heart" in one for one in ready.warnings)
    return ready.score(metric, seed, "challenge", SMALL[metric.computation])


@pytest.fixture
def tangled(ground_truth, write_torchscript, make_encoder):
    return read_representation(write_torchscript(make_encoder()), ground_truth)


@pytest.fixture
def perfect(make_dataset, write_torchscript, lookup):
    sizes = (2, 3, 4, 5)
    truth = GroundTruth(make_dataset(sizes))
    return truth, read_representation(write_torchscript(lookup(sizes)), truth)


@pytest.mark.parametrize("name", ON_THE_TABLE)
@pytest.mark.parametrize("seed", [0, 3])
def test_the_table_gives_the_references_numbers(name, seed, ground_truth, from_table):
    """To the last bit: the codes are the same, so no rounding of the encoder's is in between."""
    codes = np.random.RandomState(1).normal(size=(len(ground_truth.dataset.images), 6))
    representation = from_table(codes.astype(np.float32))
    fast = score(name, ground_truth, representation, "fast", seed)
    assert fast.values == score(name, ground_truth, representation, "reference", seed).values
    assert fast.score == fast.values[fast.metric.score]


@pytest.mark.parametrize("name", ON_THE_TABLE)
def test_the_reference_is_a_direct_call(name, ground_truth, tangled):
    metric = FURTHER_METRICS[name]
    module = load_metric_module(metric.module)
    gin.clear_config()
    bindings = [*SMALL[metric.computation]]
    if name == "beta_vae":
        bindings += ["beta_vae_sklearn.batch_size = 64"]
    else:
        bindings += [
            "discretizer.num_bins = 20",
            "discretizer.discretizer_fn = @histogram_discretizer",
        ]
    gin.parse_config(bindings)
    np.random.seed(5)
    expected = getattr(module, metric.function)(
        ground_truth, tangled.encode, random_state=np.random.RandomState(5)
    )
    gin.clear_config()
    assert score(name, ground_truth, tangled, "reference", seed=5).values == expected


def test_no_image_is_encoded_twice(ground_truth, tangled):
    encoded = []
    codes = encode_all(ground_truth, tangled.counted(encoded.append))
    for seed in range(3):
        reference.run_on_codes(
            codes, FURTHER_METRICS["beta_vae"], seed, "challenge", SMALL["beta_vae"]
        )
    batches = -(-len(ground_truth.dataset.images) // 64)
    assert sum(encoded) == 64 * batches


@pytest.mark.parametrize("name", ["dci_completeness", "dci_informativeness"])
@pytest.mark.parametrize("engine", engines.ENGINES)
def test_completeness_and_informativeness_are_dcis(name, engine, ground_truth, tangled):
    dci = score("dci", ground_truth, tangled, engine)
    own = score(name, ground_truth, tangled, engine)
    key = {"dci_completeness": "completeness", "dci_informativeness": "informativeness_test"}[name]
    assert own.score == dci.values[key]
    assert dci.read_as(own.metric).score == own.score


@pytest.mark.parametrize("name", FURTHER_METRICS)
def test_the_factors_themselves_score_one(name, perfect):
    """But for rounding, and for the finite sample's mutual information of independent factors.

    The ROC area of a middle value of a factor is less than 1: a linear score can't single it out.
    """
    result = score(name, *perfect, "fast")
    least = {"modularity": 0.95, "explicitness": 0.8, "beta_vae": 1.0}.get(name, 1 - 1e-6)
    assert least <= result.score <= 1 + 1e-9


@pytest.mark.parametrize("engine", engines.ENGINES)
def test_explicitness_of_a_constant_is_chance(engine, ground_truth, write_torchscript, constant):
    """disentanglement_lib divides by its deviation of 0."""
    representation = read_representation(write_torchscript(constant(0.5)), ground_truth)
    result = score("explicitness", ground_truth, representation, engine)
    assert result.score == pytest.approx(0.5)
    assert result.values["modularity_score"] == 0


def test_a_constant_beside_other_latents_changes_nothing_of_explicitness(ground_truth, tangled):
    def with_constant(images):
        codes = tangled.encode(images)
        return np.concatenate([codes, np.full((len(codes), 1), 0.5, np.float32)], axis=1)

    both = Representation(tangled.path, with_constant, tangled.latents + 1, repeatable=True)
    alone = score("explicitness", ground_truth, tangled, "fast").score
    assert score("explicitness", ground_truth, both, "fast").score == pytest.approx(alone, abs=1e-3)


def test_samples_that_miss_a_value_are_told(ground_truth, tangled):
    few = ["modularity_explicitness.num_train = 300", "modularity_explicitness.num_test = 2"]
    with pytest.raises(UserError, match="are the samples too few"):
        reference.run(FURTHER_METRICS["explicitness"], ground_truth, tangled, 0, "challenge", few)


def test_further_metrics_come_after_the_challenges_and_only_when_asked_for():
    assert [one.name for one in metrics.choose(["modularity", "mig"])] == ["mig", "modularity"]
    assert not set(FURTHER_METRICS) & {one.name for one in metrics.choose([])}


def test_their_sizes_are_disentanglement_libs_own_study():
    assert metrics.settings(FURTHER_METRICS["beta_vae"], "challenge") == {
        "beta_vae_sklearn.batch_size": 64,
        "beta_vae_sklearn.num_train": 10000,
        "beta_vae_sklearn.num_eval": 5000,
    }
    assert metrics.settings(FURTHER_METRICS["modularity"], "challenge") == {
        "modularity_explicitness.num_train": 10000,
        "modularity_explicitness.num_test": 5000,
        "modularity_explicitness.batch_size": 16,
        "discretizer.num_bins": 20,
    }
