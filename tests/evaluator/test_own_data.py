"""Representations scored on data of one's own, by a path in place of a name."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import evaluator
from submission.errors import UserError

ROOT = Path(__file__).resolve().parents[2]
SMALL = ["mig.num_train = 200", "irs.num_train = 200"]
SIZES = (3, 4, 5)


@pytest.fixture
def images() -> np.ndarray:
    return np.random.RandomState(0).randint(0, 256, (60, 64, 64, 3)).astype(np.uint8)


@pytest.fixture
def factors() -> np.ndarray:
    return np.indices(SIZES).reshape(3, -1).T


def test_rows_of_a_grid_in_any_order_give_the_scores_of_the_grid(
    tmp_path, images, factors, make_encoder
):
    model = make_encoder(side=64)
    np.savez(tmp_path / "grid.npz", images=images.reshape(*SIZES, 64, 64, 3))
    order = np.random.RandomState(1).permutation(60)
    np.savez_compressed(tmp_path / "rows.npz", images=images[order], factors=factors[order])
    one, other = (
        evaluator.score(model, str(tmp_path / name), metrics=["mig", "irs"], gin=SMALL)
        for name in ("grid.npz", "rows.npz")
    )
    assert one.scores == other.scores
    assert [one.dataset.name, other.dataset.name] == ["grid", "rows"]
    assert one.origin["dataset_fingerprint"] != other.origin["dataset_fingerprint"]


def test_images_without_factors_are_reported_without_scores(
    tmp_path, images, write_torchscript, make_encoder
):
    path = tmp_path / "plain images.npz"
    np.savez(path, images=images)
    run = write_torchscript(make_encoder(side=64)).parent
    (run / "training").mkdir()
    record = {"dataset": "plain images", "dataset_path": str(path)}
    (run / "training" / "run.json").write_text(json.dumps(record))
    (run / "scores.json").write_text('{"scores": {"mig": 1}}')
    answer = subprocess.run(
        [sys.executable, "-m", "evaluator", str(run)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        env=os.environ,
    )
    assert answer.returncode == 0, answer.stderr
    reason = "plain images tells no factors of its images, so there is nothing to score by"
    assert f"no scores: {reason}\n" in answer.stdout
    # The scores of what was there before are not this run's.
    assert (run / "scores.1.json").exists() and not (run / "scores.json").exists()
    assert f"Left out: {reason}." in (run / "report.html").read_text()


def test_rows_that_cover_no_grid_are_scored_as_their_codes_and_factors_are(
    tmp_path, images, factors, make_encoder
):
    model = make_encoder(side=64)
    # Two rows of one combination, none of another; a text and a constant beside the numbers.
    kept = np.array([0, *range(59)])
    table = np.stack([np.array(["a", "b", "c"])[factors[:, 0]], *factors[:, 1:].T], axis=1)
    table = np.concatenate([table, np.full((60, 1), "same")], axis=1)[kept]
    np.savez(tmp_path / "rows.npz", images=images[kept], factors=table)
    metrics = ["mig", "factor_vae_metric"]
    scored = evaluator.score(model, str(tmp_path / "rows.npz"), metrics=metrics, repeats=2)
    with torch.no_grad():
        pixels = torch.from_numpy(images[kept]).permute(0, 3, 1, 2).float() / 255
        codes = model(pixels).numpy()
    given = evaluator.score_codes(codes, table, metrics=metrics, repeats=2)
    assert scored.scores == pytest.approx(given.scores, abs=1e-6)
    assert scored.protocol == given.protocol == "sampled"
    assert any("don't hold each combination" in warning for warning in scored.warnings)
    assert "sampled protocol (not the challenge's)" in str(scored.table().title)
    with pytest.raises(UserError, match="rows is no grid of its factors: only --engine fast"):
        evaluator.score(model, str(tmp_path / "rows.npz"), engine="reference")


def test_a_program_is_told_that_there_is_nothing_to_score_by(tmp_path, images, make_encoder):
    np.savez(tmp_path / "plain.npz", images=images)
    with pytest.raises(UserError, match="plain tells no factors of its images"):
        evaluator.score(make_encoder(side=64), str(tmp_path / "plain.npz"))
