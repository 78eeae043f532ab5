"""One trial of a search: its settings chosen, its runs trained and watched, its value told."""

import copy
import threading
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import gin
import optuna
from numpy.random import SeedSequence
from optuna.trial import TrialState

from evaluator.latents import latents_of
from study.folder import Stopped, StudyFolder
from study.run.jobs import Job, plan
from study.run.pool import Pool, workers_that_fit
from study.run.work import RunFailed, execute
from study.settings import Study
from study.tune.criteria import Criterion, MeasuringFailed
from study.tune.search_space import Range
from submission import configuration
from submission.runs.folder import RunFolder
from submission.runs.record import read_record
from submission.schedules import Capacity

# What a trial's attributes are called in the storage.
SETTINGS = "settings"
RUNS = "runs"
STEPS = "steps"
# Earlier versions' `latents_in_use` were counted by the KL alone.
LATENTS_IN_USE = "latents_in_use_by_variance"
PROBLEM = "problem"

# A median of fewer finished trials says little.
_TRIALS_BEFORE_PRUNING = 5


@dataclass(frozen=True)
class SearchFolder(StudyFolder):
    """The files of a search; its runs lie as a study's do.

    Attributes:
        path: The folder.
    """

    @property
    def runs(self) -> Path:
        """The folders of the trials' runs."""
        return self.path / "trials"

    @property
    def journal(self) -> Path:
        """Optuna's storage."""
        return self.path / "journal.log"

    @property
    def best(self) -> Path:
        """The best settings, as gin."""
        return self.path / "best.gin"

    @property
    def table(self) -> Path:
        """All trials, as CSV."""
        return self.path / "trials.csv"


@dataclass(frozen=True)
class Search:
    """What all trials of a search have in common.

    Attributes:
        folder: The search's folder.
        study: The method, the data set, the settings that stay as they are, and the seeds: one, or
            several for UDR.
        space: The settings that are searched.
        criterion: What is maximised.
        seed: Of the sampler.
        gpus: The GPUs that runs are trained on, as `CUDA_VISIBLE_DEVICES` names them, if any.
        say: Takes a line on what happens.
    """

    folder: SearchFolder
    study: Study
    space: tuple[Range, ...]
    criterion: Criterion
    seed: int
    gpus: tuple[str, ...]
    say: Callable[[str], None]

    def runs(self, settings: tuple[str, ...]) -> list[Job]:
        """The runs of a trial. A run's name has a hash of its settings, so equal ones are one run.

        Args:
            settings: The trial's.

        Returns:
            One run for each seed. They are not scored beyond the criterion.
        """
        study = replace(self.study, settings=(*self.study.settings, *settings))
        # What dies under extreme settings does so again: a second attempt would be a lost hour.
        return [replace(job, metrics=(), attempts=1) for job in plan(study) if not job.pretraining]


def carry_out(search: Search, trial: optuna.Trial) -> None:
    """Does a trial, or what is left to do of it, and tells Optuna how it ended.

    Args:
        search: The search.
        trial: A trial that was just begun, or one whose process was killed; its runs go on from
            their checkpoints.

    Raises:
        UserError: Something that only a person can mend; the trial goes on when that is done.
    """
    study = trial.study
    chosen = {}
    for place, one in enumerate(search.space):
        # Drawn anew for each setting of each trial: a search that goes on draws what it would have.
        study.sampler = optuna.samplers.TPESampler(seed=_seed(search.seed, trial.number, place))
        chosen[one.setting] = one.suggest(trial)
    trial.set_user_attr(SETTINGS, chosen)
    search.say(f"trial {trial.number}: {describe(chosen)}")

    jobs = search.runs(tuple(f"{name} = {value!r}" for name, value in chosen.items()))
    names = [job.name for job in jobs]
    earlier = _same_runs(study, names)
    trial.set_user_attr(RUNS, names)
    if earlier is not None:
        search.say(f"trial {trial.number}: the same settings as trial {earlier.number}")
        _tell_again(trial, earlier)
        return
    runs = [search.folder.run(job.name) for job in jobs]
    value: float | None = None
    state = TrialState.PRUNED
    try:
        if _train(search, trial, jobs):
            value, state = search.criterion.measure(runs), TrialState.COMPLETE
            _note(trial, runs)
            search.say(f"trial {trial.number}: {search.criterion.name} {value:.6g}")
    except (RunFailed, MeasuringFailed) as error:
        state = TrialState.FAIL
        trial.set_user_attr(PROBLEM, str(error))
        search.say(f"trial {trial.number}: failed: {error}")
    study.tell(trial, value, state=state)


def describe(chosen: dict[str, object]) -> str:
    """Settings in one line."""
    return ", ".join(f"{name} = {value!r}" for name, value in chosen.items())


def _seed(*parts: int) -> int:
    return int(SeedSequence(parts).generate_state(1)[0])


def _same_runs(study: optuna.Study, names: list[str]) -> optuna.trial.FrozenTrial | None:
    """The first finished trial of the same runs, if there is one."""
    ended = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL)
    for trial in study.get_trials(deepcopy=False, states=ended):
        if trial.user_attrs.get(RUNS) == names:
            return trial
    return None


def _tell_again(trial: optuna.Trial, earlier: optuna.trial.FrozenTrial) -> None:
    """Tells what an earlier trial of the same runs has told."""
    for name in (STEPS, LATENTS_IN_USE, PROBLEM):
        if name in earlier.user_attrs:
            trial.set_user_attr(name, earlier.user_attrs[name])
    for step, reported in earlier.intermediate_values.items():
        if step not in _reported(trial):
            trial.report(reported, step)
    value = earlier.value if earlier.state == TrialState.COMPLETE else None
    trial.study.tell(trial, value, state=earlier.state)


def _reported(trial: optuna.Trial) -> dict[int, float]:
    return trial.study.get_trials(deepcopy=False)[trial.number].intermediate_values


def _train(search: Search, trial: optuna.Trial, jobs: list[Job]) -> bool:
    """Trains the runs of a trial; False if it was pruned on the way."""
    if search.criterion.prunes:
        watch = _Watch(search, trial, jobs[0])
        try:
            gpu = search.gpus[0] if search.gpus else None
            execute(jobs[0], search.folder, gpu, watch.falls_behind)
        except Stopped:
            return False
        # What a run has left between the last look and its end decides as if it had been seen.
        return not watch.falls_behind()
    stop = threading.Event()
    workers = min(len(jobs), workers_that_fit(search.study.threads, search.gpus))
    pool = Pool(search.folder, workers, search.gpus, stop.is_set)
    try:
        for future in [pool.start(job) for job in jobs]:
            future.result()
    finally:
        # Of one that fails, the others would be of no use.
        stop.set()
        pool.close()
    return True


@dataclass
class _Watch:
    """Reports the snapshots of a run to Optuna, in the order of their steps.

    The steps are the same for every run, so the pruner compares like with like. The last step is
    left out: a run that got there is finished.

    Attributes:
        search: The search.
        trial: The trial.
        job: Its run.
        pruned: Whether the pruner has ended the trial.
        step: The next snapshot's.
        last: The last step.
    """

    search: Search
    trial: optuna.Trial
    job: Job
    pruned: bool = False
    step: int = field(init=False)
    last: int = field(init=False)

    def __post_init__(self) -> None:
        """Makes the pruner ready for this run."""
        from submission.training.recipe import Recipe

        configuration.configure(self.job.method, self.job.preset, self.job.bindings)
        self.last = Recipe().max_steps
        every = self.job.snapshot_every or self.last
        self.step = every
        # While the capacity grows, it moves the KL, the loss and what latents hold: nothing that
        # is seen then tells how the run will end.
        capacity = Capacity()
        final = capacity.at(10**12, self.last)
        compared = range(every, self.last, every)
        grown = [step for step in compared if capacity.at(step, self.last) >= final]
        if compared and not grown:
            self.search.say(f"trial {self.trial.number}: can't be pruned, its capacity grows on")
        self.trial.study.pruner = _MedianPruner(
            n_startup_trials=_TRIALS_BEFORE_PRUNING, n_warmup_steps=min(grown, default=self.last)
        )
        gin.clear_config()

    def falls_behind(self) -> bool:
        """Reports what is new; whether the run is to end."""
        folder = self.search.folder.run(self.job.name)
        while not self.pruned and self.step < self.last:
            snapshot = RunFolder(folder.snapshots / str(self.step))
            # Of a snapshot, the decoder is written last.
            if not snapshot.decoder.exists():
                break
            if self.step not in _reported(self.trial):
                value = self.search.criterion.measure([snapshot])
                self.trial.report(value, self.step)
                self._say(f"{self.search.criterion.name} {value:.6g}")
            # It judges the last value. What a killed search has reported before was let pass.
            last = self.step == max(_reported(self.trial))
            self.pruned = last and self.trial.should_prune()
            if self.pruned:
                # How far the run gets until it is told is a matter of chance.
                self.trial.set_user_attr(STEPS, [self.step])
                self._say("pruned, being behind the median of the trials before")
            self.step += self.job.snapshot_every or self.last
        return self.pruned

    def _say(self, what: str) -> None:
        self.search.say(f"trial {self.trial.number}, step {self.step}: {what}")


class _MedianPruner(optuna.pruners.MedianPruner):
    """Holds a trial's last value against the others' at that step.

    Optuna's own takes the best so far, which one lucky snapshot would protect to the end.
    """

    def prune(self, study: optuna.Study, trial: optuna.trial.FrozenTrial) -> bool:
        """See `optuna.pruners.BasePruner`."""
        last = trial.last_step
        if last is not None:
            trial = copy.copy(trial)
            trial.intermediate_values = {last: trial.intermediate_values[last]}
        return super().prune(study, trial)


def _note(trial: optuna.Trial, runs: list[RunFolder]) -> None:
    """Notes how far the runs got and how many latents they use."""
    records = [read_record(run.record) for run in runs]
    trial.set_user_attr(STEPS, [record["steps"] for record in records])
    parted = [latents_of(record) for record in records]
    trial.set_user_attr(LATENTS_IN_USE, [len(one.in_use) if one else "?" for one in parted])
