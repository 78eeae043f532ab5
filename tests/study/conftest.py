"""A study so small that it is done in seconds, executed for real."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gin
import pytest

ROOT = Path(__file__).resolve().parents[2]
TINY = (
    "study.methods = ('beta_vae', 'factor_vae')",
    "study.seeds = (0,)",
    "study.metrics = ('mig',)",
    "mig.num_train = 200",
    "network.width = 0.05",
    "trainer.batch_size = 8",
    "trainer.max_steps = 400",
    "trainer.snapshot_every = 200",
    "trainer.checkpoint_every = '0.1s'",
    "pretraining.steps = 200",
)


@pytest.fixture(autouse=True)
def clear_gin():
    yield
    gin.clear_config()


@pytest.fixture(scope="session")
def tiny() -> tuple[str, ...]:
    """The settings of the small study."""
    return TINY


class Command:
    """`python -m study run` on the small study, as a user starts it."""

    def __call__(self, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.line(folder, *arguments), cwd=ROOT, capture_output=True, text=True, timeout=240
        )

    def start(self, folder: Path, *arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            self.line(folder, *arguments),
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def line(self, folder: Path, *arguments: str) -> list[str]:
        settings = [part for setting in TINY for part in ("--gin", setting)]
        command = [sys.executable, "-m", "study", "run", "--output", str(folder)]
        return [*command, *settings, *arguments]


@pytest.fixture(scope="session")
def study_run() -> Command:
    return Command()


@pytest.fixture(scope="session")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory, study_run: Command) -> Path:
    """The folder of the small study, which nothing disturbed."""
    folder = tmp_path_factory.mktemp("uninterrupted") / "study"
    result = study_run(folder)
    assert result.returncode == 0, result.stdout + result.stderr
    return folder


@pytest.fixture(scope="session")
def numbers() -> Callable[[Path], dict[str, Any]]:
    return _numbers


def _numbers(folder: Path) -> dict[str, Any]:
    """All that a report may read of a study's runs, by file: nothing in it is a time or a place."""
    import torch

    found: dict[str, Any] = {"plan": json.loads((folder / "study.json").read_text())}
    for run in sorted((folder / "runs").iterdir()):
        record = run / "training" / "run.json"
        if not record.exists():
            continue
        content = json.loads(record.read_text())
        del content["started"], content["seconds_spent"]
        found[f"{run.name}/run.json"] = content
        with (run / "training" / "history.csv").open() as file:
            rows = [{**row, "seconds": None} for row in csv.DictReader(file)]
        found[f"{run.name}/history.csv"] = rows
        for path in sorted(run.rglob("scores.json")):
            content = json.loads(path.read_text())
            found[str(path.relative_to(folder))] = content["scores"], content["metrics"]
        for path in sorted(run.rglob("*.pt")):
            weights = torch.jit.load(str(path)).state_dict()
            found[str(path.relative_to(folder))] = {
                name: tensor.tolist() for name, tensor in weights.items()
            }
    return found


@pytest.fixture(scope="session")
def processes_at_work() -> Callable[[Path], list[int]]:
    return _processes_at_work


def _processes_at_work(folder: Path) -> list[int]:
    """The trainers and evaluators whose output goes to a study's folder."""
    wanted = f"AICROWD_OUTPUT_PATH={folder}/runs".encode()
    found = []
    for entry in Path("/proc").iterdir():
        try:
            variables = (
                (entry / "environ").read_bytes().split(b"\0") if entry.name.isdigit() else []
            )
        except OSError:
            continue
        if wanted in variables:
            found.append(int(entry.name))
    return found


@pytest.fixture(scope="session")
def wait_until() -> Callable[[Callable[[], Any]], None]:
    return _wait_until


def _wait_until(holds: Callable[[], Any], seconds: float = 120.0) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.fixture
def leftovers() -> Any:
    """Collects processes that must not outlive the test."""
    started: list[subprocess.Popen[str]] = []
    yield started
    for process in started:
        if process.poll() is None:
            os.kill(process.pid, signal.SIGKILL)
        process.wait()
        if process.stdout is not None:
            process.stdout.close()
