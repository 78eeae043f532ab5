"""Each family does to the factors what it says, and nothing else."""

import math

import numpy as np
import pytest

from evaluator.metrics import ALL_METRICS
from study.audit import families
from study.audit.baselines import BASELINES
from study.audit.families import FAMILIES, PROPERTIES
from study.audit.grid import Grid, factors_of, grid_of
from submission.datasets import Dataset

SIZES = (2, 3, 4, 10)


def states(sizes=SIZES):
    return np.stack(np.unravel_index(np.arange(math.prod(sizes)), sizes), axis=1)


def build(name, dial, seed=0):
    return FAMILIES[name].build(states(), dial, np.random.RandomState(seed))


def test_the_perfect_representation_is_each_factor_with_mean_0_and_variance_1():
    codes = build("perfect", 0)
    np.testing.assert_allclose(codes.mean(axis=0), 0, atol=1e-12)
    np.testing.assert_allclose(codes.std(axis=0), 1)
    assert np.abs(np.corrcoef(codes.T, states().T)[:4, 4:]) == pytest.approx(np.eye(4), abs=1e-12)


@pytest.mark.parametrize("name", FAMILIES)
def test_every_value_of_a_dial_gives_a_code_of_every_state(name):
    for dial in FAMILIES[name].values:
        codes = build(name, dial)
        assert codes.shape[0] == len(states()) and codes.shape[1] >= 1
        assert np.isfinite(codes).all()
        np.testing.assert_array_equal(codes, build(name, dial))


@pytest.mark.parametrize(
    "name", [name for name, family in FAMILIES.items() if family.start is not None]
)
def test_a_dial_starts_from_the_perfect_representation(name):
    if name in ("bent", "drowned"):
        # A tangent is nearly straight there, and what gives way to noise stays in [0, 1].
        correlations = np.corrcoef(build(name, FAMILIES[name].start).T, build("perfect", 0).T)
        assert np.diag(correlations[:4, 4:]).min() > 0.999
    else:
        np.testing.assert_allclose(build(name, FAMILIES[name].start), build("perfect", 0))


def test_every_family_breaks_a_property_and_names_its_source():
    assert {family.breaks for family in FAMILIES.values()} == set(PROPERTIES)
    assert all(family.source and family.build.__doc__ for family in FAMILIES.values())


def test_rotations_keep_all_distances():
    for name, dial in (("rotated", 30), ("mixed", 1.0)):
        np.testing.assert_allclose(
            np.linalg.norm(build(name, dial), axis=1), np.linalg.norm(build("perfect", 0), axis=1)
        )


def test_a_merged_latent_tells_both_of_its_factors():
    assert [len(np.unique(latent)) for latent in build("merged", 1.0).T] == [2 * 3, 4 * 10]


def test_a_fold_gives_values_on_either_side_one_code():
    assert [len(np.unique(latent)) for latent in build("folded", 0.5).T] == [2, 2, 3, 6]


@pytest.mark.parametrize(
    ("name", "dial", "sizes", "codes"),
    [("circled", 1.0, (2, 4), [2, 3, 1, 3]), ("rotated", 45.0, (4, 4), [7, 7])],
)
def test_values_that_share_a_code_do_so_in_what_is_scored(name, dial, sizes, codes):
    table = FAMILIES[name].build(states(sizes), dial, np.random.RandomState(0)).astype(np.float32)
    assert [len(np.unique(latent)) for latent in table.T] == codes


def test_latents_are_as_many_as_a_family_says():
    assert build("copied", 0.5).shape[1] == 6
    assert build("copied", 3).shape[1] == 16
    assert build("one_hot", 1.0).shape[1] == sum(SIZES)
    assert build("circled", 1.0).shape[1] == 8
    assert build("dropped", 1.0).shape[1] == 1
    assert build("with_loud_noise", 30).shape[1] == 34


def test_sample_sizes_are_the_challenges_in_proportion():
    bound = families.sample_sizes(ALL_METRICS["dci"], 1_000)
    assert bound == ["dci.num_train = 1000", "dci.num_test = 500"]


def test_a_setting_leaves_out_metrics_that_do_not_read_it():
    bind = FAMILIES["bins"].bind
    assert bind(ALL_METRICS["mig"], 5) == ["discretizer.num_bins = 5"]
    assert bind(ALL_METRICS["dci"], 5) == []


def small() -> Dataset:
    images = np.random.RandomState(0).randint(0, 256, (72, 64, 64, 3)).astype(np.uint8)
    return Dataset("small", images, ("one", "two", "three"), (2, 9, 4), (0, 2))


def test_a_grid_has_the_scored_factors_and_draws_them_as_the_data_set_does():
    grid = grid_of(small())
    assert grid.factor_sizes == (2, 4) and grid.factor_names == ("one", "three")
    np.testing.assert_array_equal(
        grid.sample_factors(50, np.random.RandomState(1)),
        small().sample_factors(50, np.random.RandomState(1)),
    )
    assert len(factors_of(grid)) == len(grid.images) == 8


def test_coupled_factors_follow_one_another_in_that_share_of_draws():
    grid = grid_of(small())
    coupled = Grid(**{**vars(grid), "coupling": 0.5})
    drawn = coupled.sample_factors(20_000, np.random.RandomState(0))
    # Half of the draws follow, and of the others a quarter happens to.
    assert np.mean(drawn[:, 1] == drawn[:, 0] * 2) == pytest.approx(0.5 + 0.5 / 4, abs=0.01)


@pytest.mark.parametrize("name", BASELINES)
def test_a_baseline_has_fifty_latents_of_every_image(name):
    rows = np.arange(72)
    table = BASELINES[name].table(small(), rows, 0)
    assert table.shape == (72, 50) and np.isfinite(table).all()
    np.testing.assert_array_equal(table, BASELINES[name].table(small(), rows, 0))


def test_principal_components_are_those_of_the_pixels():
    flat = small().observe(np.arange(72), np.random.RandomState(0)).reshape(72, -1)
    _, scales, _ = np.linalg.svd(flat - flat.mean(axis=0), full_matrices=False)
    table = BASELINES["principal"].table(small(), np.arange(72), 0)
    spread = np.linalg.norm(table - table.mean(axis=0), axis=0)
    np.testing.assert_allclose(spread, scales[:50], rtol=1e-3)
