"""Codes given as arrays, against the scores of a model that gives the same codes."""

import json
from decimal import Decimal

import numpy as np
import pandas
import pytest
import torch

import evaluator
from evaluator import metrics
from evaluator.given_arrays import binned, read_factors
from evaluator.given_codes import score_table
from submission import datasets
from submission.errors import UserError

SIZES = (2, 3, 4, 5)
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
]
VOTES = ["factor_vae_score.num_train = 400", "factor_vae_score.num_eval = 200"]
FURTHER = [
    "beta_vae_sklearn.num_train = 50",
    "beta_vae_sklearn.num_eval = 20",
    "modularity_explicitness.num_train = 200",
    "modularity_explicitness.num_test = 100",
]


@pytest.fixture
def dataset(make_dataset):
    return make_dataset(SIZES)


def grid(*sizes):
    """Every combination of the factors' values, last factor fastest."""
    return np.stack(np.unravel_index(np.arange(np.prod(sizes)), sizes), axis=1)


def noise(rows, latents=4, dtype=np.float64, seed=1):
    return np.random.RandomState(seed).standard_normal((rows, latents)).astype(dtype)


def rows_of(count, *sizes, seed=0):
    """Rows of factors, each drawn by itself."""
    draws = np.random.RandomState(seed)
    return np.stack([draws.randint(size, size=count) for size in sizes], axis=1)


def holed():
    """A table of pandas that lacks a number."""
    table = pandas.DataFrame(rows_of(120, 9, 9)).astype("Float64")
    table.iloc[3, 1] = pandas.NA
    return table


def looking_up(table):
    """A model of images that spell their number in the first pixel."""

    def model(images):
        pixel = np.rint(images[:, :, 0, 0] * 255).astype(int)
        return table[pixel[:, 0] + 256 * pixel[:, 1]]

    return model


def test_a_table_scores_as_the_model_that_gives_its_codes(dataset):
    """Every metric, those that have no fast form too."""
    table = np.asfortranarray(noise(120))
    every, bindings = list(metrics.ALL_METRICS), [*SMALL, *FURTHER]
    scored = score_table(dataset, table, metrics.choose(every), bindings=bindings)
    model = evaluator.score(looking_up(table), dataset, metrics=every, gin=bindings)
    assert list(scored) == every
    assert {name: one.values for name, one in scored.items()} == model.values
    assert [one.metric.name for one in scored.values()] == every


# Rows that cover a grid


def test_rows_of_a_grid_in_any_order_score_as_a_folder_to_the_bit(
    dataset, lookup, write_torchscript
):
    codes = grid(*SIZES).astype(np.float32)
    order = np.random.RandomState(0).permutation(120)
    given = evaluator.score_codes(codes[order], grid(*SIZES)[order], gin=SMALL, repeats=2)
    scored = evaluator.score(write_torchscript(lookup(SIZES)), dataset, gin=SMALL, repeats=2)
    assert given.values == scored.values
    assert given.intervals == scored.intervals
    assert given.protocol == scored.protocol == "challenge"
    assert not given.warnings


@pytest.mark.slow
def test_a_networks_codes_of_the_challenges_data_set_score_to_the_bit(tmp_path, monkeypatch):
    monkeypatch.setenv("DISENTANGLEMENT_LIB_DATA", str(tmp_path))
    mini = datasets.load("mpi3d_mini")
    channels_first = mini.images.transpose(0, 3, 1, 2)
    torch.manual_seed(0)
    network = torch.nn.Sequential(
        torch.nn.Conv2d(3, 8, 4, 4), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(2048, 10)
    )
    with torch.no_grad():
        codes = np.concatenate(
            [
                network(torch.tensor(channels_first[start : start + 64] / 255).float()).numpy()
                for start in range(0, len(mini.images), 64)
            ]
        )
    row_of = {hash(image.tobytes()): row for row, image in enumerate(channels_first)}

    def model(images):
        pixels = np.rint(images * 255).astype(np.uint8)
        return codes[[row_of[hash(image.tobytes())] for image in pixels]]

    factors = grid(*mini.factor_sizes)
    order = np.random.RandomState(0).permutation(len(factors))
    given = evaluator.score_codes(codes[order], factors[order])
    assert given.values == evaluator.score(model, mini).values


def test_a_factor_of_one_value_is_left_out_and_changes_no_bit():
    factors = grid(*SIZES)
    with_one = np.insert(factors, 2, 7, axis=1)
    given = evaluator.score_codes(noise(120), with_one, gin=SMALL)
    assert given.values == evaluator.score_codes(noise(120), factors, gin=SMALL).values
    assert list(given.warnings) == ["the factor factor 2 has one value, so it is left out"]
    assert given.protocol == "challenge"


def test_a_grids_values_may_be_any_that_rise_alike():
    factors = grid(*SIZES)
    spelled = np.stack(
        [
            np.array(["blue", "red"])[factors[:, 0]],
            np.array(["-1.5", "2", "10"])[factors[:, 1]],
            np.array(["a", "b", "c", "d"])[factors[:, 2]],
            np.linspace(0, 6.28, 5)[factors[:, 3]],
        ],
        axis=1,
    )
    expected = evaluator.score_codes(noise(120), factors, gin=SMALL)
    assert evaluator.score_codes(noise(120), spelled, gin=SMALL).values == expected.values
    table = pandas.DataFrame(
        {
            "colour": pandas.Categorical(spelled[:, 0]),
            "size": spelled[:, 1].astype(float),
            "shape": spelled[:, 2],
            "angle": factors[:, 3],
        }
    )
    given = evaluator.score_codes(pandas.DataFrame(noise(120)), table, gin=SMALL)
    assert given.values == expected.values
    assert given.origin["factor_names"] == ["colour", "size", "shape", "angle"]


def test_a_tensor_with_a_gradient_is_read():
    codes = torch.tensor(noise(120), requires_grad=True)
    factors = grid(*SIZES)
    assert evaluator.score_codes(codes, torch.from_numpy(factors), gin=SMALL).values == (
        evaluator.score_codes(noise(120), factors, gin=SMALL).values
    )


@pytest.mark.parametrize(
    "turn",
    [
        lambda codes: codes.astype(">f4"),
        lambda codes: [torch.tensor(row, requires_grad=True) for row in codes],
        lambda codes: torch.tensor(codes).bfloat16(),
        lambda codes: pandas.DataFrame(codes),
        np.asfortranarray,
        lambda codes: np.ma.masked_array(codes),
    ],
    ids=["big-endian", "tensors", "bfloat16", "pandas", "Fortran's order", "masked"],
)
def test_the_same_numbers_in_another_shape_of_memory_give_the_same_bits(turn):
    codes = torch.tensor(noise(120)).bfloat16().float().numpy()
    factors = grid(*SIZES)
    given = evaluator.score_codes(turn(codes), factors, metrics=["irs", "mig"])
    assert given.values == evaluator.score_codes(codes, factors, metrics=["irs", "mig"]).values


@pytest.mark.parametrize("make", [np.int64, Decimal, str, bytes, np.float32])
def test_factors_that_are_objects_are_the_same_numbers(make):
    factors = grid(*SIZES)
    objects = np.empty(factors.shape, object)
    for place, value in np.ndenumerate(factors):
        objects[place] = str(value).encode() if make is bytes else make(int(value))
    assert read_factors(objects).values.tolist() == factors.tolist()


def test_names_that_are_numbers_are_written(tmp_path):
    options = {"metrics": ["mig"], "names": np.arange(4)}
    path = evaluator.score_codes(noise(120), grid(*SIZES), **options).write(tmp_path)
    assert json.loads(path.read_text())["provenance"]["factor_names"] == ["0", "1", "2", "3"]


def test_a_list_is_read():
    given = evaluator.score_codes(noise(120).tolist(), grid(*SIZES).tolist(), gin=SMALL)
    assert given.values == evaluator.score_codes(noise(120), grid(*SIZES), gin=SMALL).values


@pytest.mark.parametrize("dtype", [bool, np.uint8, np.int32])
def test_truth_values_and_integers_score_as_the_same_numbers(dtype):
    codes = (noise(120) > 0).astype(dtype)
    options = {"metrics": ["mig", "beta_vae"], "gin": [*SMALL[-2:-1], *FURTHER[:2]]}
    given = evaluator.score_codes(codes, grid(*SIZES), **options)
    same = evaluator.score_codes(codes.astype(float), grid(*SIZES), **options)
    assert given.values == same.values


def test_one_latent_is_scored_with_a_constant_one_beside_it():
    given = evaluator.score_codes(noise(120, 1), grid(*SIZES), metrics=["mig"], gin=SMALL[-2:-1])
    assert "one latent has no second best" in next(iter(given.results["mig"][0].warnings))


# What is written


def test_what_is_written_tells_the_protocol_and_that_nothing_ran(tmp_path):
    factors = rows_of(100, *SIZES)
    given = evaluator.score_codes(noise(100), factors, metrics=["mig"])
    provenance = json.loads(given.write(tmp_path).read_text())["provenance"]
    assert provenance["protocol"] == given.protocol == "sampled"
    assert provenance["unproven"] == "the codes were given, no model was run"
    assert "not the challenge's" in "".join(provenance["warnings"]["engine"])
    assert "sampled protocol (not the challenge's)" in given.table().title
    covering = evaluator.score_codes(noise(120), grid(*SIZES), metrics=["mig"])
    assert covering.origin["protocol"] == "challenge"
    assert "protocol" not in covering.table().title


def test_scores_of_the_same_codes_join_and_those_of_others_do_not(tmp_path):
    factors = grid(*SIZES)
    for metric in ("mig", "irs"):
        evaluator.score_codes(noise(120), factors, metrics=[metric]).write(tmp_path)
    assert json.loads((tmp_path / "scores.json").read_text())["scores"].keys() == {"mig", "irs"}
    evaluator.score_codes(noise(120, seed=2), factors, metrics=["mig"]).write(tmp_path)
    assert json.loads((tmp_path / "scores.json").read_text())["scores"].keys() == {"mig"}
    evaluator.score_codes(noise(120, seed=2), factors[::-1], metrics=["irs"]).write(tmp_path)
    assert json.loads((tmp_path / "scores.json").read_text())["scores"].keys() == {"irs"}


# Rows that cover no grid


def test_continuous_factors_are_binned_and_it_is_said():
    factors = np.random.RandomState(0).uniform(size=(1000, 2))
    given = evaluator.score_codes(
        factors, factors, names=["x", "y"], metrics=["factor_vae_metric", "mig"], gin=VOTES
    )
    assert given.warnings[1] == (
        "the factor x has 1,000 values in 1,000 rows, fewer than 10 rows to a value: taken as "
        "continuous, and binned into 20 bins of as many rows (sap_score.continuous_factors = True "
        "takes it as it is)"
    )
    assert given.origin["factors_num_values"] == [20, 20]
    assert given.scores["factor_vae_metric"] == 1
    assert given.scores["mig"] > 0.7


def test_a_factor_that_is_mostly_one_number_is_binned_into_that_and_the_rest():
    values = np.zeros((40, 1))
    values[31:, 0] = np.arange(1, 10)
    other = np.tile([0, 1], 20)[:, None]
    factors = binned(read_factors(np.hstack([values, other]), name="factors"))
    assert factors.numbers[:, 0].tolist() == [0] * 31 + [1] * 9


def test_sample_sizes_that_leave_no_rows_to_test_on_are_refused():
    random = np.random.default_rng(0)
    codes, factors = random.normal(size=(400, 3)), random.integers(0, 3, (400, 2))
    with pytest.raises(UserError, match="split the 400 rows into 400 and 0"):
        evaluator.score_codes(
            codes,
            factors,
            metrics=["factor_vae_metric"],
            gin=["factor_vae_score.num_train = 10000", "factor_vae_score.num_eval = 10"],
        )


def test_continuous_factors_are_left_as_they_are_for_sap():
    """The squared correlation of a latent with itself is 1, of independent ones nearly 0."""
    factors = np.random.RandomState(0).uniform(size=(1000, 2))
    continuous = ["sap_score.continuous_factors = True"]
    given = evaluator.score_codes(factors, factors, metrics=["sap_score"], gin=continuous)
    between = np.corrcoef(factors[np.random.RandomState(0).permutation(1000)[:667]].T)[0, 1] ** 2
    assert given.scores["sap_score"] == pytest.approx(1 - between)


def test_samples_larger_than_what_is_there_shrink_and_it_is_said():
    given = evaluator.score_codes(noise(300), rows_of(300, *SIZES), metrics=["sap_score", "mig"])
    assert list(given.results["sap_score"][0].warnings) == [
        "UserWarning: there are 300 rows, so num_train is 200 and not 10,000 and num_test is 100 "
        "and not 5,000"
    ]
    assert "sap_score.num_train = 200" in given.results["sap_score"][0].gin_config
    assert list(given.results["mig"][0].warnings) == [
        "UserWarning: there are 300 rows, so num_train is 300 and not 10,000"
    ]


def test_samples_that_are_there_do_not_shrink():
    gin = ["sap_score.num_train = 200", "sap_score.num_test = 100"]
    given = evaluator.score_codes(noise(300), rows_of(300, *SIZES), metrics=["sap_score"], gin=gin)
    assert not given.results["sap_score"][0].warnings


def test_a_seed_gives_the_same_bits_again():
    codes, factors = noise(300), rows_of(300, *SIZES)
    one, other = (evaluator.score_codes(codes, factors, repeats=2, gin=SMALL) for _ in range(2))
    assert one.values == other.values
    assert one.intervals == other.intervals


def test_noise_scores_at_chance():
    """Were rows both trained and tested on, a group's stillest latent would be learnt by heart."""
    chances = []
    for seed in range(10):
        codes, factors = noise(90, 10, seed=seed), rows_of(90, 3, 3, seed=seed)
        given = evaluator.score_codes(
            codes, factors, seed=seed, metrics=["factor_vae_metric"], gin=VOTES
        )
        chances.append(given.scores["factor_vae_metric"])
    assert np.mean(chances) == pytest.approx(1 / 2, abs=0.06)


# Mistakes


@pytest.mark.parametrize(
    ("codes", "factors", "options", "message"),
    [
        (noise(120)[:, 0], grid(*SIZES), {}, r"rank 1, shape \[120\].*reshape\(-1, 1\)"),
        (noise(120).reshape(120, 2, 2), grid(*SIZES), {}, r"rank 3, .* \[n, latents\]"),
        (noise(120)[:, :0], grid(*SIZES), {}, r"codes are empty: the shape is \[120, 0\]"),
        (noise(0), grid(*SIZES), {}, r"codes are empty: the shape is \[0, 4\]"),
        (noise(120), grid(*SIZES)[:, 0], {}, r"factors are an array of rank 1"),
        (noise(119), grid(*SIZES), {}, "codes of 119 rows, but factors of 120"),
        (np.where(noise(120) > 2, np.nan, 0), grid(*SIZES), {}, r"3 are not.*row \d+, latent"),
        (np.full((120, 4), np.inf), grid(*SIZES), {}, r"480 are not, .* row 0, latent 0 \(inf"),
        (noise(120).astype(complex), grid(*SIZES), {}, "codes are complex128, not numbers"),
        (np.full((120, 2), "1"), grid(*SIZES), {}, "codes are <U1, not numbers"),
        (np.full((120, 2), None), grid(*SIZES), {}, "codes must be finite numbers: 240 are not"),
        (np.full((120, 2), [{}, 1]), grid(*SIZES), {}, "something that is no number"),
        ([[1, 2], [3]], grid(*SIZES), {}, "codes are no table"),
        (torch.zeros(9, 2).to_sparse(), grid(*SIZES), {}, "codes are no table: .*Sparse"),
        ({"mean": noise(120)}, grid(*SIZES), {}, "codes are a dict, and must be a table"),
        (noise(120), None, {}, "factors are a NoneType, and must be a table"),
        (holed(), grid(*SIZES), {}, r"codes must be finite numbers: 1 are not, .* row 3, latent 1"),
        (
            noise(120),
            holed().astype(object),
            {},
            "factor 1 is missing, .* in 1 of 120 rows, first in",
        ),
        (np.ma.masked_less(noise(120), 0), grid(*SIZES), {}, "codes are a masked array"),
        (noise(120), np.where(grid(*SIZES) == 4, np.nan, 1), {}, "factor 3 is missing, .* in 24"),
        (noise(120), np.full((120, 2), ["a", ""]), {}, "factor 1 is missing, .* in 120 of 120"),
        (noise(120), np.full((120, 2), [None, 1]), {}, "factor 0 is missing"),
        (noise(120), [[{}, 1]] * 120, {}, "factor 0 holds a dict"),
        (noise(120), np.ones((120, 3)), {}, "one value each"),
        (noise(120), grid(*SIZES).astype("M8[D]"), {}, "factor 0 holds a date"),
        (noise(120), grid(*SIZES), {"names": ["a"]}, "4 columns, but there are 1 names"),
        (noise(120), grid(*SIZES), {"names": "abcd"}, "names is 'abcd', and must be a list"),
        (noise(20), rows_of(20, 2, 2), {}, "20 rows that cover no grid .* are too few"),
        (noise(90), [[f"id {i}", "ab"[i % 2]] for i in range(90)], {}, "90 values in 90 rows"),
        (noise(120), grid(*SIZES), {"metrics": ["mgi"]}, "did you mean mig"),
        (noise(120), grid(*SIZES), {"gin": ["dci.num_trian = 3"]}, "did you mean dci.num_train"),
        (noise(120), grid(*SIZES), {"preset": "fast"}, "unknown 'fast'"),
        (noise(120), grid(*SIZES), {"seed": -1}, "a seed is 0 or more"),
        (noise(120), grid(*SIZES), {"repeats": 0}, "repeats 1 or more"),
        (noise(120), grid(*SIZES), {"seed": 0.5}, "whole numbers, not 0.5 and 1"),
        (noise(120), grid(*SIZES), {"metrics": "mig"}, r"must be a list of names: \['mig'\]"),
        (noise(120), grid(*SIZES), {"gin": "mig.num_train = 9"}, "must be a list of settings"),
    ],
)
def test_a_mistake_is_told_in_one_line(codes, factors, options, message):
    with pytest.raises(UserError, match=message) as told:
        evaluator.score_codes(codes, factors, **options)
    assert "\n" not in str(told.value)


def test_a_sample_of_rows_that_leaves_none_to_test_on_is_refused():
    gin = ["dci.num_train = 1000", "dci.num_test = 10"]
    with pytest.raises(UserError, match=r"split the 100 rows into 99 and 1"):
        evaluator.score_codes(noise(100), rows_of(100, *SIZES), metrics=["dci"], gin=gin)
