import warnings
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evaluator import metrics
from evaluator.compat import load_metric_module
from evaluator.ground_truth import GroundTruth
from evaluator.metrics import METRICS
from evaluator.metrics.dci import concentration
from evaluator.metrics.draws import draw
from evaluator.metrics.mig import _mutual_information, _positions
from evaluator.metrics.reference import run
from evaluator.representations import Representation
from submission.datasets import Dataset
from submission.errors import UserError
from tests.evaluator.reading import encode_all

SIZES = (2, 3, 4, 5)
SMALL = {
    "dci": {"num_train": 300, "num_test": 150},
    "factor_vae_metric": {"num_variance_estimate": 300, "num_train": 120, "num_eval": 60},
    "sap_score": {"num_train": 500, "num_test": 300},
    "mig": {"num_train": 500},
    "irs": {"num_train": 300},
}
EXACT = ("factor_vae_metric", "mig", "irs")


def make_table(latents, seed=0, dtype=np.float32):
    """Codes of the 120 images that mix the factors, as an encoder's do."""
    rng = np.random.default_rng(seed)
    factors = np.stack(np.unravel_index(np.arange(120), SIZES), axis=1) / np.array(SIZES)
    mixed = np.tanh(factors @ rng.normal(size=(4, latents)))
    return (mixed + 0.1 * rng.normal(size=(120, latents))).astype(dtype)


@pytest.fixture(scope="module")
def truth():
    images = np.random.RandomState(0).randint(0, 256, (120, 4, 4, 3)).astype(np.uint8)
    images[:, 0, 0, 0], images[:, 0, 0, 1] = np.arange(120), 0
    return GroundTruth(Dataset("spelled", images, tuple("abcd"), SIZES, (0, 1, 2, 3)))


@pytest.fixture
def both(truth, from_table):
    """The values of the fast function and of disentanglement_lib, for codes by image."""

    def compute(name, table, seed=0):
        ours = fast(truth, from_table(table), name, seed)
        theirs = reference(truth, from_table(table), name, seed)
        return ours, theirs

    return compute


def arguments(name):
    chosen = metrics.settings(METRICS[name], "challenge")
    return {key.split(".")[1]: value for key, value in chosen.items()} | SMALL[name]


def fast(truth, representation, name, seed=0):
    computed = METRICS[name].compute(encode_all(truth, representation), seed, **arguments(name))
    return {key: value for key, value in computed.items() if not isinstance(value, np.ndarray)}


def reference(truth, representation, name, seed=0):
    sizes = [f"{METRICS[name].configurable}.{key} = {value}" for key, value in SMALL[name].items()]
    return run(METRICS[name], truth, representation, seed, "challenge", sizes).values


# Equal to disentanglement_lib


@pytest.mark.parametrize("name", EXACT)
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("latents", [2, 7, 20, 33])
def test_the_same_codes_give_the_same_bits(both, name, dtype, latents):
    for seed in (0, 1):
        ours, theirs = both(name, make_table(latents, latents, dtype), seed)
        assert ours == theirs


@pytest.mark.parametrize("name", ["factor_vae_metric", "irs"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_one_latent_gives_the_same_bits_where_no_second_is_needed(both, name, dtype):
    ours, theirs = both(name, make_table(1, 3, dtype))
    assert ours == theirs


@pytest.mark.parametrize("name", EXACT)
def test_whole_numbers_give_the_same_bits(both, name):
    table = np.stack(np.unravel_index(np.arange(120), SIZES), axis=1)
    ours, theirs = both(name, table)
    assert ours == theirs


@pytest.mark.parametrize("name", EXACT)
def test_collapsed_and_duplicated_latents_give_the_same_bits(both, name):
    table = make_table(6)
    table[:, 1] = table[:, 0]
    table[:, 2] *= 1e-3
    table[:, 3] = 0
    ours, theirs = both(name, table)
    assert ours == theirs


def test_a_thousand_latents_give_the_same_bits(both):
    for name in EXACT:
        ours, theirs = both(name, make_table(1000))
        assert ours == theirs


@pytest.mark.parametrize("latents", [pytest.param(2, marks=pytest.mark.slow), 6, 20])
def test_sap_equals_the_reference(both, latents):
    ours, theirs = both("sap_score", make_table(latents, latents))
    assert ours["SAP_score"] == pytest.approx(theirs["SAP_score"], abs=1e-3)


def test_sap_of_continuous_factors_equals_the_reference(truth, from_table):
    representation = from_table(make_table(6))
    sizes = ["sap_score.num_train = 500", "sap_score.num_test = 300"]
    theirs = run(
        METRICS["sap_score"],
        truth,
        representation,
        0,
        "challenge",
        [*sizes, "sap_score.continuous_factors = True"],
    )
    chosen = arguments("sap_score") | {"continuous_factors": True}
    ours = METRICS["sap_score"].compute(encode_all(truth, representation), 0, **chosen)
    del ours["squared_correlation"]
    assert ours == theirs.values


def test_dci_lies_within_the_spread_of_the_reference(truth, from_table):
    """At 300 samples ties are many; scikit-learn itself breaks them by chance."""
    representation = from_table(make_table(6))
    draws = [reference(truth, representation, "dci")["disentanglement"]]
    module = load_metric_module("dci")
    random_state = np.random.RandomState(0)
    train, test = (draw(truth.dataset, num, 16, random_state) for num in (300, 150))
    codes = encode_all(truth, representation)
    for seed in range(2):
        np.random.seed(seed)
        scores = module._compute_dci(
            codes[train.indices].T, train.factors.T, codes[test.indices].T, test.factors.T
        )
        draws.append(scores["disentanglement"])
    ours = fast(truth, representation, "dci")["disentanglement"]
    assert ours == pytest.approx(np.mean(draws), abs=2e-3 + 2 * np.ptp(draws))


def test_dci_scores_an_importance_matrix_as_the_reference(truth):
    module = load_metric_module("dci")
    rng = np.random.default_rng(0)
    for latents, factors in ((20, 7), (2, 2), (5, 1000)):
        importance = rng.dirichlet(np.full(latents, 0.1), size=factors).T
        importance[0] = 0
        assert concentration(importance) == pytest.approx(
            module.disentanglement(importance), abs=1e-12
        )
        assert concentration(importance.T) == pytest.approx(
            module.completeness(importance), abs=1e-12
        )


def test_mutual_information_is_scikit_learns_to_the_last_bit():
    from sklearn.metrics import mutual_info_score

    rng = np.random.default_rng(0)
    for height, width, count in ((2, 20, 10_000), (40, 20, 10_000), (5, 3, 50), (1, 4, 9)):
        true, other = rng.integers(height, size=count), rng.integers(width, size=count)
        for pair in ((true, other), (true, (true * 3 + rng.integers(2, size=count)) % width)):
            ours = _mutual_information(*map(_positions, pair))
            assert ours == mutual_info_score(*pair)


# Where disentanglement_lib has no number, or nonsense


@pytest.fixture
def warned(truth, from_table):
    def compute(name, table, message):
        with pytest.warns(UserWarning, match=message):
            return fast(truth, from_table(table), name)

    return compute


@pytest.mark.parametrize("name", ["dci", "sap_score", "mig"])
def test_one_latent_is_scored_with_a_constant_one_beside_it(name, warned, truth, from_table):
    alone = make_table(1)
    beside = np.concatenate([alone, np.zeros_like(alone)], axis=1)
    values = warned(name, alone, "one latent has no second best")
    assert values == fast(truth, from_table(beside), name)
    assert all(np.isfinite(value) for value in values.values())


@pytest.mark.parametrize("name", METRICS)
@pytest.mark.parametrize("value", [0.0, 0.1, 7.3])
def test_a_constant_is_worth_nothing(name, value, truth, from_table):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        values = fast(truth, from_table(np.full((120, 5), value, np.float32)), name)
    assert values[METRICS[name].score] == pytest.approx(0, abs=1e-12)


def test_irs_leaves_constants_out_where_rounding_spoils_it(warned, truth, from_table):
    table = make_table(3)
    beside = np.concatenate([table, np.full((120, 2), 7.3, np.float32)], axis=1)
    values = warned("irs", beside, "2 latents are constant")
    assert values["IRS"] == fast(truth, from_table(table), "irs")["IRS"]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_huge_codes_are_scored_as_their_shares(dtype, warned, truth, from_table):
    """1e30 in float32 and 1e200 in float64 have no square."""
    table = make_table(5, dtype=dtype)
    huge = np.ldexp(table, 100 if dtype == np.float32 else 700)
    values = warned("factor_vae_metric", huge, "overflows")
    small = fast(truth, from_table(table.astype(np.float64)), "factor_vae_metric")
    assert values == small
    for name in ("mig", "dci"):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            of_huge = fast(truth, from_table(huge), name)
        if dtype == np.float32 or name == "mig":
            expected = fast(truth, from_table(table), name)
            assert of_huge == pytest.approx(expected, abs=1e-6)


def test_irs_of_codes_whose_sum_overflows(warned, truth, from_table):
    table = make_table(5)
    values = warned("irs", np.ldexp(table, 127), "overflows")
    small = fast(truth, from_table(table.astype(np.float64)), "irs")
    assert values["IRS"] == pytest.approx(small["IRS"], abs=1e-12)


def test_irs_of_float16_codes_whose_sum_overflows(truth, from_table):
    """The sum only stands under `num_active_dims`; the score is still the reference's."""
    table = (700 + make_table(4)).astype(np.float16)
    ours = fast(truth, from_table(table), "irs")
    assert ours["num_active_dims"] > 65504
    with pytest.raises(UserError, match="too large"):
        reference(truth, from_table(table), "irs")


def test_huge_codes_are_scored_by_sap(warned):
    assert 0 <= warned("sap_score", np.ldexp(make_table(5), 100), "the optimum")["SAP_score"] <= 1


def test_bins_that_float16_has_no_room_for(warned):
    table = (1000 + make_table(4)).astype(np.float16)
    assert 0 <= warned("mig", table, "bins don't fit")["discrete_mig"] <= 1


@pytest.mark.parametrize("name", METRICS)
def test_a_thousand_latents_are_scored(name, truth, from_table):
    values = fast(truth, from_table(make_table(1000)), name)
    assert 0 <= values[METRICS[name].score] <= 1


def test_codes_that_are_not_finite_are_refused(truth, from_table):
    table = make_table(3)
    table[5, 1] = np.nan
    with pytest.raises(UserError, match="NaN"):
        fast(truth, from_table(table), "dci")


# Invariances


FEW = settings(max_examples=8, deadline=None)
seeds = st.integers(0, 2**31)


@pytest.fixture(scope="module")
def score_of(truth):
    """Scores a table; the module's, since hypothesis calls a test many times."""

    def compute(name, table):
        def encode(images):
            return table[np.rint(images[:, 0, 0, 0] * 255).astype(int)]

        representation = Representation(Path("table"), encode, table.shape[1], True)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return fast(truth, representation, name)[METRICS[name].score]

    return compute


@pytest.mark.parametrize("name", METRICS)
@FEW
@given(seed=seeds)
def test_the_order_of_latents_does_not_matter(score_of, name, seed):
    """DCI may break ties otherwise; the votes of FactorVAE and MIG's and SAP's gaps are sets."""
    table = make_table(6, seed)
    permuted = table[:, np.random.default_rng(seed).permutation(6)]
    tolerance = {"dci": 0.02, "irs": 1e-6}.get(name, 0)
    assert score_of(name, permuted) == pytest.approx(score_of(name, table), abs=tolerance)


@FEW
@given(seed=seeds, shift=st.floats(0.1, 3))
def test_dci_does_not_see_a_monotone_rescaling(score_of, seed, shift):
    """Trees see the order of codes only, if no two are closer than 1e-7, hence the ranks."""
    ranks = make_table(5, seed).argsort(axis=0).argsort(axis=0).astype(np.float64)
    rescaled = np.exp(ranks / 40) * shift + ranks**3
    assert score_of("dci", rescaled) == score_of("dci", ranks)


@pytest.mark.parametrize("name", ["mig", "factor_vae_metric"])
@FEW
@given(seed=seeds, exponents=st.lists(st.integers(0, 20), min_size=5, max_size=5))
def test_mig_and_factor_vae_do_not_see_the_scale_of_each_latent(score_of, name, seed, exponents):
    """Powers of two, so that nothing is rounded; FactorVAE's threshold is on the scale, so up."""
    table = make_table(5, seed)
    assert score_of(name, np.ldexp(table, exponents)) == score_of(name, table)


@FEW
@given(seed=seeds, exponent=st.integers(-20, 20))
def test_irs_does_not_see_the_scale_of_all_latents(score_of, seed, exponent):
    """It weighs latents by their range, so a scale of one alone matters."""
    table = make_table(5, seed)
    assert score_of("irs", np.ldexp(table, exponent)) == score_of("irs", table)


@pytest.mark.parametrize("name", ["sap_score", "irs", "factor_vae_metric"])
@FEW
@given(seed=seeds)
def test_the_sign_of_a_latent_does_not_matter(score_of, name, seed):
    """MIG's bins are open on one side, and so is a tree's threshold: those may change."""
    table = make_table(5, seed)
    signs = np.random.default_rng(seed).choice([-1, 1], size=5).astype(np.float32)
    assert score_of(name, table * signs) == pytest.approx(score_of(name, table), abs=1e-6)
