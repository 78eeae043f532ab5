"""What a search has found: its trials as a table and as CSV, the best settings as gin."""

import csv
import io
import shlex
from collections.abc import Sequence

import optuna
from optuna.trial import FrozenTrial, TrialState
from rich.console import Console
from rich.table import Table

from study.tune.trials import LATENTS_IN_USE, SETTINGS, STEPS, Search
from submission.runs.files import write_text

_TRIALS_FOR_IMPORTANCES = 10
_STATES = {
    TrialState.COMPLETE: "finished",
    TrialState.PRUNED: "pruned",
    TrialState.FAIL: "failed",
    TrialState.RUNNING: "running",
}


def best_trial(study: optuna.Study) -> FrozenTrial | None:
    """The finished trial of the highest value, the first of equal ones; None before there is one.

    A pruned trial is none, however high its last value was: it isn't the value of a whole run.
    """
    if not study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,)):
        return None
    return study.best_trial


def write(search: Search, study: optuna.Study) -> None:
    """Writes `trials.csv` and, once a trial has finished, `best.gin`."""
    settings = [one.setting for one in search.space]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    criterion = search.criterion
    writer.writerow(
        ["trial", "state", criterion.name, "supervised", "steps", "latents_in_use", *settings]
    )
    for trial in study.get_trials(deepcopy=False):
        chosen = trial.user_attrs.get(SETTINGS, {})
        writer.writerow(
            [
                trial.number,
                _STATES[trial.state],
                "" if trial.value is None else repr(trial.value),
                criterion.supervised,
                _joined(trial, STEPS),
                _joined(trial, LATENTS_IN_USE),
                *(chosen.get(setting, "") for setting in settings),
            ]
        )
    write_text(search.folder.table, text.getvalue())
    best = best_trial(study)
    if best is not None:
        write_text(search.folder.best, _gin(search, best, len(study.get_trials(deepcopy=False))))


def show(search: Search, study: optuna.Study, console: Console) -> None:
    """Prints the trials, the importances of the settings, and how to train with the best ones."""
    best = best_trial(study)
    console.print(_table(search, study, best))
    for name, importance in importances(study).items():
        console.print(f"importance of {name}: {importance:.2f}")
    console.print(f"trials: {search.folder.table}", soft_wrap=True)
    if best is None:
        console.print("no trial has finished, so there is no best one")
        return
    console.print(f"best, trial {best.number}: {search.folder.best}", soft_wrap=True)
    if search.criterion.supervised:
        console.print(
            f"chosen by {search.criterion.label}: say so wherever these settings are used",
            soft_wrap=True,
        )
    console.print(f"to train with them:\n  {command(search, best)}", soft_wrap=True)


def importances(study: optuna.Study) -> dict[str, float]:
    """Each setting's share of the variance between trials (fANOVA, Hutter et al. 2014).

    Args:
        study: The trials.

    Returns:
        Shares that sum to 1, the largest first; none where they would mean nothing: of a single
        setting, or of fewer than ten finished trials.
    """
    finished = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    alike = len({trial.value for trial in finished}) < 2
    if alike or len(finished) < _TRIALS_FOR_IMPORTANCES or len(finished[0].params) < 2:
        return {}
    evaluator = optuna.importance.FanovaImportanceEvaluator(seed=0)
    return optuna.importance.get_param_importances(study, evaluator=evaluator)


def command(search: Search, best: FrozenTrial) -> str:
    """The command line that trains with a trial's settings, as long as the preset says."""
    study = search.study
    words = [
        *("./run.sh", "--method", study.methods[0], "--dataset", study.dataset),
        *("--preset", study.preset),
    ]
    for name, value in best.user_attrs[SETTINGS].items():
        words += ["--gin", f"{name} = {value!r}"]
    return shlex.join(words)


def _gin(search: Search, best: FrozenTrial, trials: int) -> str:
    study = search.study
    lines = [
        f"# {study.methods[0]} on {study.dataset}: trial {best.number}, the best of {trials}",
        f"# by {search.criterion.label}: {best.value!r}",
        *(f"{name} = {value!r}" for name, value in best.user_attrs[SETTINGS].items()),
        "",
        f"# All trials had the preset {study.preset} and",
        *(f"#   {binding}" for binding in _in_force(study.settings)),
        f"#   trainer.seed = {', '.join(map(str, study.seeds))}",
        "# To train with the settings above:",
        f"#   {command(search, best)}",
    ]
    return "\n".join(lines) + "\n"


def _in_force(bindings: Sequence[str]) -> list[str]:
    """The bindings that no later one replaces."""
    return list({binding.partition("=")[0].strip(): binding for binding in bindings}.values())


def _table(search: Search, study: optuna.Study, best: FrozenTrial | None) -> Table:
    name, criterion = search.study.methods[0], search.criterion
    table = Table(title=f"{name} on {search.study.dataset}, by {criterion.label}")
    # Broken at the dot, a long name leaves room for the others.
    settings = (one.setting.replace(".", ".\n") for one in search.space)
    for column in ("trial", *settings, criterion.name, "latents in use", "steps"):
        table.add_column(column, justify="right", overflow="fold")
    table.add_column("state")
    for trial in study.get_trials(deepcopy=False):
        chosen = trial.user_attrs.get(SETTINGS, {})
        table.add_row(
            str(trial.number),
            *(str(chosen.get(one.setting, "")) for one in search.space),
            "" if trial.value is None else f"{trial.value:.6g}",
            _joined(trial, LATENTS_IN_USE),
            _joined(trial, STEPS),
            _STATES[trial.state],
            style="bold" if best is not None and trial.number == best.number else None,
        )
    return table


def _joined(trial: FrozenTrial, attribute: str) -> str:
    """A number for each run of a trial."""
    return "/".join(map(str, trial.user_attrs.get(attribute, ())))
