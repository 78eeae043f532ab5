"""Losses, scores and files in MLflow and Weights & Biases, where the environment asks for it.

A run's processes, the training and the evaluator, log to one run there, whose number stands beside
the record. A thread talks to each service, so that one which is slow or gone costs the training
nothing, and ends it never.
"""

import importlib.util
import logging
import os
import queue
import shutil
import threading
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from submission.runs.files import write_text
from submission.runs.record import Record

# MLflow's own limit until version 2.8.
_LONGEST_SETTING = 500
_LONGEST_ERROR = 200

Log = Mapping[str, float]


def settings_of(record: Record) -> dict[str, Any]:
    """What a run is told by in a table of runs: what was asked for, and each of its settings."""
    names = ("method", "dataset", "preset", "seed", "budget_seconds", "git_revision")
    lines = [line for line in record.gin_config.splitlines() if not line.startswith("#")]
    bound = dict(line.split(" = ", 1) for line in lines if " = " in line)
    return {name: getattr(record, name) for name in names} | bound


class _Service(Protocol):
    def log(self, values: Log, step: int | None) -> None: ...
    def keep(self, file: Path) -> None: ...
    def close(self) -> None: ...


class Tracking:
    """What `MLFLOW_TRACKING_URI` and `WANDB_PROJECT` ask for; nothing where neither is set.

    Args:
        folder: Where the numbers of the runs there are kept, and what W&B writes.
        name: The run's name there.
        settings: What it was run with.
        seconds: The longest wait at the end for what a service has not taken yet.
        warn: Takes one line on a service that fails, which is given up; from another thread.
    """

    def __init__(
        self,
        folder: Path,
        name: str,
        settings: Mapping[str, Any],
        seconds: float,
        warn: Callable[[str], None],
    ) -> None:
        texts = {key: str(value)[:_LONGEST_SETTING] for key, value in settings.items()}
        begins: dict[str, tuple[str, Callable[[Path], _Service]]] = {
            "MLFLOW_TRACKING_URI": ("mlflow", lambda note: _MLflow(note, name, texts)),
            "WANDB_PROJECT": ("wandb", lambda note: _WandB(note, name, texts, seconds)),
        }
        self._seconds = seconds
        self._talks = [
            _Talk(variable, module, partial(begin, folder / f"{module}.run"), warn)
            for variable, (module, begin) in begins.items()
            if os.environ.get(variable)
        ]
        for talk in self._talks:
            talk.start()

    def log(self, values: Log, step: int | None = None) -> None:
        """Logs numbers.

        Args:
            values: By names such as `training/loss`, all with the same beginning.
            step: Where in the run they belong; None for what there is once.
        """
        for talk in self._talks:
            talk.say(lambda service: service.log(values, step))

    def keep(self, file: Path) -> None:
        """Keeps a file as it is when the service takes it."""
        for talk in self._talks:
            talk.say(lambda service: service.keep(file))

    def close(self) -> None:
        """Waits until the services have taken all of it, but not for long."""
        until = time.monotonic() + self._seconds
        for talk in self._talks:
            talk.close(until)
        self._talks = []


class _Talk(threading.Thread):
    """One service, and what it has yet to be told."""

    def __init__(
        self,
        variable: str,
        module: str,
        begin: Callable[[], _Service],
        warn: Callable[[str], None],
    ) -> None:
        super().__init__(daemon=True)
        self._module = module
        self._what = f"{variable} is set, but"
        self._begin = begin
        self._warn = warn
        self._waiting: queue.SimpleQueue[Callable[[_Service], None] | None] = queue.SimpleQueue()

    def run(self) -> None:
        if importlib.util.find_spec(self._module) is None:
            self._warn(f"{self._what} there is no package {self._module}: pip install it")
            return
        try:
            service = self._begin()
            while (say := self._waiting.get()) is not None:
                say(service)
            service.close()
        except (Exception, SystemExit) as error:
            lines = [line.strip() for line in str(error).splitlines() if line.strip()]
            told = [*lines, type(error).__name__][0][:_LONGEST_ERROR]
            self._warn(f"{self._what} {self._module} fails: {told}")

    def say(self, something: Callable[[_Service], None]) -> None:
        if self.is_alive():
            self._waiting.put(something)

    def close(self, until: float) -> None:
        self._waiting.put(None)
        self.join(max(0.0, until - time.monotonic()))
        if self.is_alive():
            self._warn(f"{self._what} {self._module} gets no answer: what came last is not logged")


class _MLflow:
    def __init__(self, note: Path, name: str, settings: Mapping[str, str]) -> None:
        # Its own would be minutes, in which a thread of the process stays behind.
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "10")
        from mlflow.entities import Metric, Param
        from mlflow.tracking import MlflowClient

        # Both tell of each table that a new data base gets.
        for logger in ("mlflow", "alembic"):
            logging.getLogger(logger).setLevel(logging.WARNING)
        self._metric = Metric
        self._client = MlflowClient()
        if note.exists():
            self._run = note.read_text()
            return
        experiment = os.environ.get("MLFLOW_EXPERIMENT_NAME") or "Default"
        found = self._client.get_experiment_by_name(experiment)
        place = found.experiment_id if found else self._client.create_experiment(experiment)
        self._run = self._client.create_run(place, run_name=name).info.run_id
        params = [Param(key, value) for key, value in settings.items()]
        self._client.log_batch(self._run, params=params)
        write_text(note, self._run)

    def log(self, values: Log, step: int | None) -> None:
        now = int(time.time() * 1000)
        metrics = [self._metric(name, value, now, step or 0) for name, value in values.items()]
        self._client.log_batch(self._run, metrics=metrics)

    def keep(self, file: Path) -> None:
        self._client.log_artifact(self._run, str(file))

    def close(self) -> None:
        self._client.set_terminated(self._run)


class _WandB:
    def __init__(self, note: Path, name: str, settings: Mapping[str, str], seconds: float) -> None:
        import wandb

        self._run = wandb.init(
            id=note.read_text() if note.exists() else None,
            resume="allow",
            name=name,
            config=dict(settings),
            dir=os.environ.get("WANDB_DIR") or str(note.parent),
            settings=wandb.Settings(
                silent=True,
                console="off",
                init_timeout=60,
                # Else a server that is gone holds the process at its end.
                finish_timeout=seconds,
                finish_timeout_raises=True,
            ),
        )
        write_text(note, self._run.id)

    def log(self, values: Log, step: int | None) -> None:
        if step is None:
            self._run.log(dict(values))
            return
        # Its own count of steps never goes back, as that from pre-training to training does.
        beginning = next(iter(values)).split("/")[0]
        self._run.define_metric(f"{beginning}/*", step_metric=f"{beginning}/step")
        self._run.log({**values, f"{beginning}/step": step})

    def keep(self, file: Path) -> None:
        # It would link to a file elsewhere, which may be another one by the time it is sent.
        copy = shutil.copy(file, self._run.dir)
        self._run.save(copy, base_path=self._run.dir, policy="now")

    def close(self) -> None:
        self._run.finish()
