"""UDR against what Duan et al. (2020) say of it, and against scipy's and scikit-learn's numbers."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import spearmanr
from sklearn.linear_model import Lasso
from sklearn.preprocessing import StandardScaler

from evaluator import udr
from evaluator.udr import Settings, agreement, draw_codes, informative, rank

ROOT = Path(__file__).resolve().parents[2]


def lasso(first, second):
    return udr.lasso(first, second, alpha=0.1)


@pytest.fixture
def codes():
    random_state = np.random.RandomState(0)
    return [random_state.normal(size=(500, latents)) for latents in (4, 4, 3)]


def test_spearman_is_scipys(codes):
    expected = [
        [abs(spearmanr(one, other).statistic) for other in codes[2].T] for one in codes[0].T
    ]
    assert udr.spearman(codes[0], codes[2]) == pytest.approx(np.array(expected), abs=1e-12)


def test_the_lasso_is_scikit_learns_on_standardised_codes(codes):
    first, second = (StandardScaler().fit_transform(5 * one + 3) for one in codes[:2])
    expected = np.abs(Lasso(alpha=0.1).fit(first, second).coef_).T
    assert lasso(5 * codes[0] + 3, 5 * codes[1] + 3) == pytest.approx(expected, abs=1e-10)


def test_agreement_is_the_papers_example():
    """Those of disentanglement_lib's own test; a tangled pair of three is (1 + 2 * 0.5) / 3."""
    assert agreement(np.eye(3)) == 1
    assert agreement(np.array([[1.0, 1, 0], [1, 1, 0], [0, 0, 1]])) == pytest.approx(2 / 3)
    assert agreement(np.ones((3, 3))) == pytest.approx(1 / 3)
    assert agreement(np.zeros((3, 3))) == 0
    assert agreement(np.zeros((0, 3))) == 0


@pytest.mark.parametrize(("similarity", "least"), [(lasso, 0.85), (udr.spearman, 0.85)])
def test_order_sign_and_scale_change_nothing(codes, similarity, least):
    alike = codes[0][:, [2, 0, 3, 1]] * np.array([1.0, -1.0, 2.0, -30.0])
    ranking = rank([codes[0], alike], similarity)
    assert (ranking.scores > least).all()
    assert ranking.scores[0] == pytest.approx(ranking.scores[1], abs=0.02)


@pytest.mark.parametrize("similarity", [lasso, udr.spearman])
def test_a_rotation_is_told_from_a_permutation(codes, similarity):
    rotation = np.linalg.qr(np.random.RandomState(1).normal(size=(4, 4)))[0]
    alike = rank([codes[0], codes[0][:, ::-1]], similarity).scores.min()
    assert rank([codes[0], codes[0] @ rotation], similarity).scores.max() < 0.8 * alike


def test_a_score_is_the_median_over_the_other_models(codes):
    ranking = rank([codes[0], codes[0], codes[0], codes[1]], udr.spearman)
    assert (np.diag(ranking.pairwise) == 0).all()
    assert ranking.scores[0] == np.median(ranking.pairwise[[1, 2, 3], 0])
    # Three agree; the fourth agrees with none.
    assert ranking.scores[:3].min() > 0.8 > 0.3 > ranking.scores[3]


@pytest.mark.parametrize("similarity", [lasso, udr.spearman])
def test_a_constant_has_no_counterpart(codes, similarity):
    beside = np.concatenate([codes[0], np.full((500, 1), 0.1)], axis=1)
    values = similarity(beside, beside)
    assert (values[4] == 0).all()
    assert (values[:, 4] == 0).all()


@pytest.mark.parametrize("similarity", [lasso, udr.spearman])
def test_a_model_without_latents_scores_zero(codes, similarity):
    ranking = rank([codes[0], codes[0], codes[0][:, :0]], similarity)
    assert ranking.scores[2] == 0
    assert ranking.pairwise[0, 1] > 0.8


def test_the_recorded_kl_decides_which_latents_count(codes):
    record = {"kl_per_latent": [0.5, 0.009, 0.011, 0.0]}
    assert informative(record, codes[0], 0.01).tolist() == [True, False, True, False]


def test_without_a_record_constants_are_ignored(codes):
    codes[0][:, 1] = 0.1
    assert informative({}, codes[0], 0.01).tolist() == [True, False, True, True]


def test_every_model_sees_the_same_images_in_the_references_draws(ground_truth):
    drawn = draw_codes(
        ground_truth, [lambda x: x[:, 0, 0], lambda x: 2 * x[:, 0, 0]], Settings(30, 10, 0, 0), 3
    )
    random_state = np.random.RandomState(3)
    expected = np.concatenate(
        [ground_truth.sample_observations(10, random_state)[:, 0, 0] for _ in range(3)]
    )
    assert np.array_equal(drawn[0], expected.astype(np.float64))
    assert np.array_equal(drawn[1], 2 * drawn[0])


def command(*arguments: object) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, "-m", "evaluator.udr", *map(str, arguments)]
    return subprocess.run(line, cwd=ROOT, capture_output=True, text=True, env=os.environ)


@pytest.mark.parametrize(
    ("arguments", "fragment"),
    [
        ([], "two representation folders"),
        (["{folder}"], "--dataset is missing"),
        (["{folder}", "--gin", "udr.num_points = 1005"], "a multiple of"),
        (["{folder}", "--gin", "udr.alpha = 'small'"], "udr.alpha"),
        (["{folder}", "--gin", "udr.points = 10"], "did you mean udr.num_points?"),
        (["{folder}", "--gin", "udr.alpha = 1e999"], "udr.alpha is inf"),
        (["{folder}", "--seed", "-1"], "between 0 and"),
        (["nowhere"], "no representation folder nowhere"),
    ],
)
def test_a_wrong_argument_is_told_in_one_line(arguments, fragment, write_torchscript, make_encoder):
    folder = write_torchscript(make_encoder(side=64))
    answer = command(folder, *(argument.format(folder=folder) for argument in arguments))
    assert answer.returncode == 2, answer.stderr
    assert answer.stderr.startswith("error: ")
    assert answer.stderr.count("\n") == 1
    assert fragment in answer.stderr


@pytest.mark.slow
def test_the_command_ranks_runs_by_their_records(write_torchscript, make_encoder, tmp_path):
    folder = write_torchscript(make_encoder(side=64))
    (folder.parent / "training").mkdir()
    record = {"dataset": "mpi3d_mini", "kl_per_latent": [1.0, 1.0, 1.0, 0.0, 1.0, 1.0]}
    (folder.parent / "training" / "run.json").write_text(json.dumps(record))
    answer = command(folder, folder, "--output", tmp_path / "udr", "--gin", "udr.num_points = 200")
    assert answer.returncode == 0, answer.stderr
    assert "5 of 6" in answer.stdout
    written = json.loads((tmp_path / "udr" / "udr.json").read_text())
    assert written["latents"] == [5, 5]
    assert written["settings"]["num_points"] == 200
    assert written["spearman"]["scores"][0] == pytest.approx(written["spearman"]["scores"][1])
    assert np.shape(written["lasso"]["pairwise"]) == (2, 2)
