import inspect
import math
import random

import gin
import numpy as np
import pytest
import torch

from evaluator import metrics
from evaluator.compat import load_metric_module, load_tensorflow
from evaluator.ground_truth import GroundTruth
from evaluator.metrics import METRICS, reference
from evaluator.representations import Representation
from submission.datasets import Dataset
from submission.errors import UserError
from tests.evaluator.reading import read_representation

# Sizes at which all five take about a second.
SMALL = {
    "dci": ["dci.num_train = 120", "dci.num_test = 70"],
    "factor_vae_metric": [
        "factor_vae_score.num_variance_estimate = 200",
        "factor_vae_score.num_train = 60",
        "factor_vae_score.num_eval = 40",
    ],
    "sap_score": ["sap_score.num_train = 200", "sap_score.num_test = 100"],
    "mig": ["mig.num_train = 300"],
    "irs": ["irs.num_train = 300"],
}


def run(name, ground_truth, representation, seed=0, bindings=None):
    sizes = SMALL[name] if bindings is None else bindings
    return reference.run(METRICS[name], ground_truth, representation, seed, "challenge", sizes)


@pytest.fixture
def tangled(ground_truth, write_torchscript, make_encoder):
    return read_representation(write_torchscript(make_encoder()), ground_truth)


# The reference engine is disentanglement_lib


@pytest.fixture
def published(tmp_path, monkeypatch):
    """disentanglement_lib's own MPI3D class and our data set, over the same file."""
    images = np.random.RandomState(0).randint(0, 256, (460_800, 4, 4, 3)).astype(np.uint8)
    (tmp_path / "mpi3d_toy").mkdir()
    np.savez(tmp_path / "mpi3d_toy" / "mpi3d_toy.npz", images=images)
    monkeypatch.setenv("DISENTANGLEMENT_LIB_DATA", str(tmp_path))
    load_tensorflow()
    from disentanglement_lib.data.ground_truth.mpi3d import MPI3D

    sizes = (4, 4, 2, 3, 3, 40, 40)
    return MPI3D("mpi3d_toy"), GroundTruth(
        Dataset("mpi3d_toy", images, tuple("abcdefg"), sizes, tuple(range(7)), float64=True)
    )


def test_the_five_scores_are_those_of_a_direct_call(published, write_torchscript, make_encoder):
    """Nothing of ours in the direct call: their data set, plain PyTorch, their gin bindings."""
    theirs, ours = published
    folder = write_torchscript(make_encoder())
    representation = read_representation(folder, ours)
    model = torch.jit.load(str(folder / "pytorch_model.pt"))

    def represent(images):
        with torch.no_grad():
            return model(torch.from_numpy(np.moveaxis(images, 3, 1)).float()).numpy()

    # The two factors of 40 values make DCI's trees many.
    few_trees = ["dci.num_train = 30", "dci.num_test = 20"]
    bindings = {
        "dci": few_trees,
        "factor_vae_metric": [
            *SMALL["factor_vae_metric"],
            "factor_vae_score.batch_size = 64",
            "prune_dims.threshold = 0.05",
        ],
        "sap_score": [*SMALL["sap_score"], "sap_score.continuous_factors = False"],
        "mig": SMALL["mig"],
        "irs": [*SMALL["irs"], "irs.batch_size = 16"],
    }
    discretizer = [
        "discretizer.num_bins = 20",
        "discretizer.discretizer_fn = @histogram_discretizer",
    ]
    for name, metric in METRICS.items():
        module = load_metric_module(metric.module)
        gin.clear_config()
        gin.parse_config(bindings[name] + (discretizer if name in ("mig", "irs") else []))
        np.random.seed(7)
        expected = getattr(module, metric.function)(
            theirs, represent, random_state=np.random.RandomState(7)
        )
        gin.clear_config()
        sizes = few_trees if name == "dci" else SMALL[name]
        result = run(name, ours, representation, seed=7, bindings=sizes)
        assert result.values == expected
        assert result.score == expected[metric.score]


def test_no_score_depends_on_which_metrics_ran_before(ground_truth, tangled):
    alone = {}
    for name in METRICS:
        random.seed(), np.random.seed(), torch.seed()
        alone[name] = run(name, ground_truth, tangled).values
    backwards = {name: run(name, ground_truth, tangled).values for name in reversed(METRICS)}
    assert backwards == alone


def test_another_seed_gives_another_score(ground_truth, tangled):
    scores = {run("mig", ground_truth, tangled, seed).score for seed in range(3)}
    assert len(scores) == 3


# What theory says of the factors themselves and of a constant


@pytest.fixture
def score_perfect(make_dataset, write_torchscript, lookup):
    def score(name, sizes, bindings):
        truth = GroundTruth(make_dataset(sizes))
        perfect = read_representation(write_torchscript(lookup(sizes)), truth)
        return run(name, truth, perfect, bindings=bindings).score

    return score


def test_dci_of_the_factors_is_one(score_perfect):
    """Each tree splits on its own factor alone, so each latent matters to one factor only."""
    assert score_perfect("dci", (2, 3, 4, 5), SMALL["dci"]) == pytest.approx(1, abs=1e-6)


def test_factor_vae_metric_of_the_factors_is_one(score_perfect):
    """The latent of the fixed factor, and no other, has no variance in a batch of 64."""
    assert score_perfect("factor_vae_metric", (2, 3, 4, 5), SMALL["factor_vae_metric"]) == 1


def test_mig_of_the_factors_is_one_less_the_bias_of_the_estimate(score_perfect):
    """Twenty bins tell up to 20 values apart, so the best latent's information is the entropy.

    The second best is independent of the factor; its estimated information has the mean
    (K_i - 1)(K_j - 1) / 2N, here at most 4 * 3 / 20,000 nats.
    """
    assert 1 - 2e-3 < score_perfect("mig", (2, 3, 4, 5), []) < 1


def test_mig_loses_what_twenty_bins_merge(score_perfect):
    """Of 40 values the 20 bins keep log 20 nats or so of log 40: the perfect score is less."""
    counts = np.histogram(np.arange(40), 20)[0]
    kept = -np.sum(counts / 40 * np.log(counts / 40)) / math.log(40)
    # The bias lowers the binary factor's gap by 19 / 20,000 of its 0.69 nats.
    assert score_perfect("mig", (2, 40), []) == pytest.approx((1 + kept) / 2, abs=5e-3)


def test_sap_of_binary_factors_is_a_half(score_perfect):
    """The factor's own latent predicts it always, any other by chance: 1 - 1/2."""
    assert score_perfect("sap_score", (2, 2, 2), []) == pytest.approx(0.5, abs=0.03)


def test_sap_of_small_factors_is_what_chance_leaves(score_perfect):
    """Up to five values a linear one-against-rest classifier of one latent still separates."""
    expected = np.mean([1 - 1 / size for size in (2, 3, 4, 5)])
    assert score_perfect("sap_score", (2, 3, 4, 5), []) == pytest.approx(expected, abs=0.03)


def test_irs_of_the_factors_is_one(score_perfect):
    """With its factor fixed a latent doesn't move, whatever the others do."""
    assert score_perfect("irs", (2, 3, 4, 5), []) == 1


@pytest.mark.parametrize("name", METRICS)
@pytest.mark.parametrize("value", [0.0, 0.5, 0.1, 7.3])
def test_every_metric_of_a_constant_is_zero(name, value, ground_truth, write_torchscript, constant):
    """Nothing is told of any factor.

    DCI: no tree splits, all importances are 0, their entropy is the greatest (to rounding).
    FactorVAE: every latent is pruned. SAP, MIG: best and second best are equal. IRS: every latent
    is dropped, where disentanglement_lib itself does it only if rounding leaves a variance of 0.
    """
    representation = read_representation(write_torchscript(constant(value)), ground_truth)
    assert run(name, ground_truth, representation).score == pytest.approx(0, abs=1e-12)


def test_irs_without_constants_warns_and_keeps_the_other_latents(ground_truth, tangled):
    def with_constants(images):
        codes = tangled.encode(images)
        return np.concatenate([codes, np.full((len(codes), 2), 7.3, np.float32)], axis=1)

    both = Representation(tangled.path, with_constants, tangled.latents + 2, repeatable=True)
    result = run("irs", ground_truth, both)
    assert result.score == run("irs", ground_truth, tangled).score
    assert any("2 latents are constant" in warning for warning in result.warnings)


@pytest.mark.parametrize("name", ["sap_score", "mig"])
def test_one_latent_has_no_second_best(name, ground_truth, write_torchscript, make_encoder):
    folder = write_torchscript(make_encoder(latents=1))
    representation = read_representation(folder, ground_truth)
    with pytest.raises(UserError, match="second best"):
        run(name, ground_truth, representation)


# Configuration


@pytest.mark.parametrize("metric", METRICS.values(), ids=METRICS.keys())
def test_the_settings_are_those_that_disentanglement_lib_has(metric):
    module = load_metric_module(metric.module)
    parameters = inspect.signature(getattr(module, metric.function)).parameters
    passed = {"ground_truth_data", "representation_function", "random_state", "artifact_dir"}
    own = {f"{metric.configurable}.{name}" for name in parameters if name not in passed}
    shared = {"prune_dims.threshold", "discretizer.num_bins"}
    assert own == set(metric.settings) - shared


def test_the_challenges_sizes_are_disentanglement_libs_own_study():
    """Its `unsupervised_study_v1`, which the challenge read, with IRS from its sample file."""
    expected = {
        "dci": {"dci.num_train": 10000, "dci.num_test": 5000, "dci.batch_size": 16},
        "factor_vae_metric": {
            "factor_vae_score.num_variance_estimate": 10000,
            "factor_vae_score.num_train": 10000,
            "factor_vae_score.num_eval": 5000,
            "factor_vae_score.batch_size": 64,
            "prune_dims.threshold": 0.05,
        },
        "sap_score": {
            "sap_score.num_train": 10000,
            "sap_score.num_test": 5000,
            "sap_score.batch_size": 16,
            "sap_score.continuous_factors": False,
        },
        "mig": {"mig.num_train": 10000, "mig.batch_size": 16, "discretizer.num_bins": 20},
        "irs": {
            "irs.num_train": 10000,
            "irs.batch_size": 16,
            "irs.diff_quantile": 0.99,
            "discretizer.num_bins": 20,
        },
    }
    for preset in ("challenge", "paper"):
        for name, metric in METRICS.items():
            assert metrics.settings(metric, preset) == expected[name]


def test_quick_only_lowers_sample_sizes():
    lowered = set()
    for metric in METRICS.values():
        full, quick = metrics.settings(metric, "challenge"), metrics.settings(metric, "quick")
        assert full.keys() == quick.keys()
        changed = {name for name in full if quick[name] != full[name]}
        assert all(quick[name] < full[name] for name in changed)
        lowered |= changed
    assert {name.split(".")[0] for name in lowered} == {"dci", "factor_vae_score"}


def test_a_binding_of_one_metric_leaves_another_alone():
    bindings = ["dci.num_train = 7", "mig.num_train = 9"]
    assert metrics.settings(METRICS["mig"], "quick", bindings)["mig.num_train"] == 9
    assert metrics.settings(METRICS["dci"], "quick", bindings)["dci.num_train"] == 7
    assert metrics.settings(METRICS["mig"], "quick")["mig.num_train"] == 10000


def test_the_operative_configuration_is_told(ground_truth, tangled):
    config = run("mig", ground_truth, tangled).gin_config
    assert "mig.num_train = 300" in config
    assert "discretizer.num_bins = 20" in config
    assert "irs" not in config


def test_metrics_are_chosen_in_the_challenges_order():
    assert [metric.name for metric in metrics.choose(["mig", "dci", "mig"])] == ["dci", "mig"]
    assert len(metrics.choose([])) == 5


def test_a_misspelt_metric_names_the_nearest():
    with pytest.raises(UserError, match="did you mean factor_vae_metric"):
        metrics.choose(["factorvae_metric"])


@pytest.mark.parametrize(
    ("binding", "message"),
    [
        ("dci.num_trian = 3", "did you mean dci.num_train?"),
        ("dci.num_train", "write it as"),
        ("dci.num_train = many", "whole number, 10 or more"),
        ("dci.num_train = 0", "whole number, 10 or more"),
        ("dci.num_train = 2.5", "whole number, 10 or more"),
        ("dci.num_train = 3", "whole number, 10 or more"),
        ("dci.num_train = 100000000", "at most 10,000,000"),
        ("factor_vae_score.batch_size = 1", "2 or more"),
        ("prune_dims.threshold = -1", "0 or more"),
        ("prune_dims.threshold = 1e999", "a number, 0 or more"),
        ("sap_score.continuous_factors = 1", "True or False"),
        ("irs.num_train = 3", "selects no metric"),
    ],
)
def test_a_wrong_binding_is_told(binding, message):
    with pytest.raises(UserError) as caught:
        metrics.check_bindings([binding], metrics.choose(["dci", "factor_vae_metric", "sap_score"]))
    assert message in str(caught.value)


def test_a_quantile_is_a_share():
    for binding in ("irs.diff_quantile = 2", "irs.diff_quantile = 0"):
        with pytest.raises(UserError, match="a number, above 0, at most 1"):
            metrics.check_bindings([binding], metrics.choose(["irs"]))


def test_right_bindings_pass():
    bindings = ["dci.num_train=10", "prune_dims.threshold = 0", "discretizer.num_bins = 5"]
    metrics.check_bindings(bindings, metrics.choose([]))
