"""What is said of a search's trials, on functions whose optimum and parts are known."""

import optuna
import pytest
from optuna.trial import TrialState

from study.tune.findings import best_trial, importances
from study.tune.trials import _MedianPruner


@pytest.fixture
def study() -> optuna.Study:
    return optuna.create_study(direction="maximize", sampler=optuna.samplers.RandomSampler(seed=0))


def add_trials(study: optuna.Study, count: int) -> None:
    """Of -x^2, on which y has no influence."""
    for _ in range(count):
        trial = study.ask()
        x, _ = trial.suggest_float("x", -1, 1), trial.suggest_float("y", -1, 1)
        study.tell(trial, -(x**2))


def test_the_importance_of_a_setting_is_its_share_of_the_variance(study):
    add_trials(study, 30)
    shares = importances(study)
    assert list(shares) == ["x", "y"]
    assert shares["x"] > 0.9
    assert sum(shares.values()) == pytest.approx(1)


def test_few_trials_tell_no_importances(study):
    add_trials(study, 9)
    assert importances(study) == {}
    add_trials(study, 1)
    assert set(importances(study)) == {"x", "y"}


def test_a_single_setting_has_no_importance(study):
    for _ in range(12):
        trial = study.ask()
        study.tell(trial, trial.suggest_float("x", -1, 1))
    assert importances(study) == {}


def test_the_best_trial_is_the_highest_that_finished(study):
    assert best_trial(study) is None
    for value, state in ((-2.0, TrialState.COMPLETE), (-1.0, TrialState.COMPLETE)):
        study.tell(study.ask(), value, state=state)
    pruned = study.ask()
    pruned.report(5.0, step=1)
    study.tell(pruned, state=TrialState.PRUNED)
    study.tell(study.ask(), state=TrialState.FAIL)
    best = best_trial(study)
    assert best is not None and best.number == 1


def test_values_that_are_all_alike_tell_no_importances(study):
    for _ in range(12):
        trial = study.ask()
        trial.suggest_float("x", 0, 1)
        trial.suggest_float("y", 0, 1)
        study.tell(trial, 0.0)
    assert importances(study) == {}


def test_one_lucky_snapshot_protects_no_trial():
    study = optuna.create_study(direction="maximize", pruner=_MedianPruner(n_startup_trials=1))
    before, trial = study.ask(), study.ask()
    for step in (1, 2):
        before.report(0.5, step)
    study.tell(before, 0.5)
    trial.report(0.9, 1)
    assert not trial.should_prune()
    trial.report(0.1, 2)
    assert trial.should_prune()
