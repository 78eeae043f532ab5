"""The trainer scoring itself: real training, the real evaluator in a process of its own."""

import csv
import json
import time
from pathlib import Path

import pytest
import torch

from submission import datasets
from submission.budget import Budget
from submission.errors import UserError
from submission.networks import NetworkShape
from submission.runs.folder import RunFolder
from submission.training.recipe import Scoring
from submission.training.self_scoring import SelfScorer
from submission.training.step import new_model

STEPS = ["trainer.max_steps = 20", "pretraining.steps = 5"]
ON = ["scoring.every = '0s'", "scoring.share = 1.0"]
SMALL_SAMPLES = (
    "dci.num_train = 60",
    "dci.num_test = 30",
    "factor_vae_score.num_variance_estimate = 100",
    "factor_vae_score.num_train = 10",
    "factor_vae_score.num_eval = 10",
    "sap_score.num_train = 100",
    "sap_score.num_test = 50",
    "mig.num_train = 100",
    "irs.num_train = 100",
)
METRICS = {"dci", "factor_vae_metric", "sap_score", "mig", "irs"}


def weights(folder: RunFolder) -> dict[str, torch.Tensor]:
    return torch.jit.load(str(folder.model)).state_dict()


def assert_same_weights(first: RunFolder, second: RunFolder) -> None:
    ours, theirs = weights(first), weights(second)
    assert all(torch.equal(ours[name], theirs[name]) for name in ours | theirs)


def rows_of(folder: RunFolder) -> list[dict[str, str]]:
    return list(csv.DictReader((folder.training / "scores.csv").open()))


def evaluators_at(folder: Path) -> list[str]:
    """The command lines of running evaluators of a run."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            text = path.read_bytes().decode().replace("\0", " ")
        except (FileNotFoundError, ProcessLookupError):
            continue
        if "evaluator" in text and str(folder) in text:
            found.append(text)
    return found


def started_at(folder: Path) -> str:
    """The command line of the evaluator that was just started; exec takes its time."""
    deadline = time.monotonic() + 60
    while not (found := evaluators_at(folder)) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert len(found) == 1
    return found[0]


class Scored:
    """A scorer on its own, and what the trainer gives it."""

    def __init__(self, root: Path, scoring: Scoring, seconds: float = 3600.0) -> None:
        self.folder = RunFolder(root / "run")
        self.warnings: list[str] = []
        self.model = new_model(NetworkShape(3, width=0.125), 0, torch.device("cpu"))
        self.scorer = SelfScorer(
            scoring,
            self.folder,
            "mpi3d_mini",
            Budget(seconds, time.monotonic()),
            self.warnings.append,
        )

    def poll(self, step: int) -> None:
        self.scorer.poll(self.model, {"phase": "training", "step": step, "loss": 1.0})

    def poll_until_scored(self, step: int, scores: int) -> None:
        deadline = time.monotonic() + 120
        path = self.folder.training / "scores.csv"
        while not (path.exists() and len(rows_of(self.folder)) >= scores):
            assert time.monotonic() < deadline and not self.warnings, self.warnings
            self.poll(step)
            time.sleep(0.1)

    def snapshots(self) -> set[str]:
        return {path.name for path in (self.folder.training / "scoring").glob("*")}


def test_it_is_off_by_default(trial):
    trial(*STEPS, preset="quick")
    assert not (trial.folder().training / "scoring").exists()
    assert not (trial.folder().training / "scores.csv").exists()


def test_an_evaluator_that_fails_costs_a_warning_and_no_bit_of_the_weights(trial):
    """The evaluator knows no data set called squares."""
    plain = trial(*STEPS, name="plain")
    scored = trial(*STEPS, *ON, name="scored")
    assert scored.status == "finished"
    assert plain.warnings == [w for w in scored.warnings if "score itself" not in w]
    log = trial.folder("scored").training / "scoring" / "1" / "evaluator.log"
    assert "squares" in log.read_text()
    assert_same_weights(trial.folder("plain"), trial.folder("scored"))
    assert not evaluators_at(trial.root)


@pytest.mark.parametrize(
    ("binding", "fragment"),
    [
        ("scoring.every = 'often'", "scoring.every is 'often'"),
        ("scoring.share = 0", "scoring.share is 0"),
        ("scoring.share = 10", "scoring.share is 10"),
        ("scoring.settings = 'dci.num_train = 9'", "give a tuple"),
    ],
)
def test_a_setting_that_cannot_be_right_is_told(trial, binding, fragment):
    with pytest.raises(UserError, match=fragment):
        trial(*STEPS, binding)


def test_a_share_of_less_than_a_second_never_starts(tmp_path):
    scored = Scored(tmp_path, Scoring("0s", share=1e-4))
    scored.poll(1)
    assert not scored.snapshots()


def test_the_first_snapshot_is_due_after_the_interval(tmp_path):
    scored = Scored(tmp_path, Scoring("1h", share=1.0))
    scored.poll(1)
    assert not scored.snapshots()


@pytest.mark.parametrize(("share", "niceness"), [(0.1, 10), (0.001, 19), (0.5, 0), (1.0, 0)])
def test_the_priority_follows_the_share(tmp_path, share, niceness):
    """Of a busy core, nice 10 gets 110 / (110 + 1024), about a tenth."""
    scored = Scored(tmp_path, Scoring("0s", share=share))
    scored.poll(1)
    assert f" {niceness} evaluator " in started_at(tmp_path)
    scored.scorer.stop()


def test_stopping_ends_the_evaluator(tmp_path):
    scored = Scored(tmp_path, Scoring("0s"))
    scored.poll(1)
    scored.poll(2)
    assert scored.snapshots() == {"1"}, "never two at once"
    assert started_at(tmp_path)
    scored.scorer.stop()
    assert not evaluators_at(tmp_path)
    assert not scored.warnings


def test_an_evaluator_that_uses_up_the_share_is_ended_with_a_warning(tmp_path):
    scored = Scored(tmp_path, Scoring("0s", share=1.0), seconds=3.0)
    scored.poll(1)
    deadline = time.monotonic() + 60
    while not scored.warnings and time.monotonic() < deadline:
        time.sleep(0.05)
        scored.poll(2)
    assert "is used up" in scored.warnings[0]
    assert scored.snapshots() == {"1"}


def test_a_full_disk_costs_a_warning(tmp_path):
    scored = Scored(tmp_path, Scoring("0s", share=1.0))
    scored.folder.training.mkdir(parents=True)
    (scored.folder.training / "scoring").write_text("in the way, as a full disk is")
    scored.poll(1)
    assert "could not score itself" in scored.warnings[0]


@pytest.mark.slow
def test_the_five_metrics_are_logged_against_the_step_and_the_weights_stay(trial):
    trial.dataset = datasets.load("mpi3d_mini")
    trial(*STEPS, name="plain")
    record = trial(*STEPS, *ON, f"scoring.settings = {SMALL_SAMPLES}", name="scored")
    assert not [warning for warning in record.warnings if "score" in warning]
    folder = trial.folder("scored")
    row = rows_of(folder)[0]
    assert (row["phase"], row["step"]) == ("training", "1")
    assert float(row["scoring_cpu_seconds"]) > 0.5
    kept = json.loads((folder.training / "scoring" / "1" / "scores.json").read_text())
    assert kept["scores"].keys() == METRICS
    for name in METRICS:
        assert float(row[name]) == pytest.approx(kept["scores"][name], rel=1e-5)
    assert list((folder.training / "tensorboard" / "scores").iterdir())
    logged = list(csv.DictReader(folder.history.open()))
    assert row["loss"] == next(r["loss"] for r in logged if r["phase"] == "training")
    assert_same_weights(trial.folder("plain"), folder)


@pytest.mark.slow
def test_the_interval_grows_with_the_cost_and_a_resumed_run_keeps_its_scores(tmp_path):
    datasets.load("mpi3d_mini")
    rare = Scoring("0s", share=0.01, settings=SMALL_SAMPLES)
    first = Scored(tmp_path, rare)
    first.poll_until_scored(step=10, scores=1)
    first.poll(11)
    first.scorer.stop()
    assert first.snapshots() == {"10"}

    resumed = Scored(tmp_path, rare)
    resumed.poll_until_scored(step=20, scores=2)
    resumed.scorer.stop()
    assert [row["step"] for row in rows_of(resumed.folder)] == ["10", "20"]

    from_an_earlier_checkpoint = Scored(tmp_path, Scoring("0s", settings=SMALL_SAMPLES))
    from_an_earlier_checkpoint.poll(15)
    from_an_earlier_checkpoint.scorer.finish(lambda: True)
    assert [row["step"] for row in rows_of(resumed.folder)] == ["10", "15"]
