import json
import math

import numpy as np
import pytest
from scipy import stats

from evaluator.compare.differences import difference, pairs, what_differs
from evaluator.compare.runs import read_runs, shared_metrics


def test_with_the_same_seeds_the_interval_is_that_of_paired_draws(write_run) -> None:
    one, other = [0.50, 0.60, 0.40], [0.45, 0.56, 0.34]
    first, second = read_runs([str(write_run("a", one)), str(write_run("b", other))])
    found = difference(first, second, ["dci"])
    test = stats.ttest_rel(one, other)
    low, high = test.confidence_interval(0.95)
    assert found.mean == pytest.approx((low + high) / 2)
    assert found.half_width == pytest.approx((high - low) / 2)
    assert test.pvalue < 0.05 and found.is_beyond_noise is True


def test_with_other_seeds_it_is_welchs(write_run) -> None:
    one, other = [0.50, 0.60, 0.40, 0.50], [0.45, 0.55, 0.35]
    first, second = read_runs([str(write_run("a", one)), str(write_run("b", other))])
    found = difference(first, second, ["dci"])
    low, high = stats.ttest_ind(one, other, equal_var=False).confidence_interval(0.95)
    assert found.mean == pytest.approx((low + high) / 2)
    assert found.half_width == pytest.approx((high - low) / 2)
    assert found.is_beyond_noise is False


def test_one_seed_tells_nothing_of_noise(write_run) -> None:
    runs = read_runs([str(write_run("a", [0.5])), str(write_run("b", [0.4, 0.5]))])
    found = difference(*runs, ["dci"])
    assert math.isnan(found.half_width) and found.is_beyond_noise is None
    assert found.mean == pytest.approx(0.5 - np.mean([0.4, 0.5]))


def test_settings_and_versions_that_differ_are_told(write_run) -> None:
    a = write_run(
        "a",
        [0.5],
        record={
            "method": "beta_vae",
            "seed": 0,
            "started": "today",
            "gin_config": "# Parameters:\nbeta_vae.beta = 4.0\nnetwork.latents = \\\n    20",
            "versions": {"torch": "2.13.0"},
        },
        threads=2,
    )
    b = write_run(
        "b",
        [0.5],
        record={
            "method": "beta_vae",
            "seed": 1,
            "started": "yesterday",
            "gin_config": "beta_vae.beta = 6.0\nnetwork.latents = 20",
            "versions": {"torch": "2.12.0"},
        },
        threads=2,
    )
    c = write_run("c", [0.5], threads=2)
    assert what_differs(read_runs([str(a), str(b)])) == [
        ("seed", ["0", "1"]),
        ("versions.torch", ["2.13.0", "2.12.0"]),
        ("beta_vae.beta", ["4.0", "6.0"]),
    ]
    assert ("method", ["beta_vae", "\N{EN DASH}"]) in what_differs(read_runs([str(a), str(c)]))


def test_the_sum_is_of_the_metrics_that_all_runs_have(write_run) -> None:
    five = write_run("five", *([0.5, 0.6] for _ in range(5)))
    two = write_run("two", [0.4, 0.5], [0.4, 0.4])
    runs = read_runs([str(five), str(two)])
    [(_, _, differences)] = pairs(runs, shared_metrics(runs))
    assert [each.mean for each in differences] == pytest.approx([0.1, 0.15, 0.25])


def test_repeats_that_cannot_be_read_count_as_one_seed(write_run) -> None:
    folder = write_run("odd", [0.4, 0.5])
    content = json.loads((folder / "scores.json").read_text())
    content["repeats"]["dci"]["scores"] = [0.4, "?"]
    (folder / "scores.json").write_text(json.dumps(content))
    odd, other = read_runs([str(folder), str(write_run("other", [0.4, 0.5]))])
    assert odd.by_seed("dci") == (0.4,)
    assert difference(odd, other, ["dci"]).is_beyond_noise is None
