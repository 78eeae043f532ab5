"""A training that MLflow or Weights & Biases follows, each for real where it is installed."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest

from submission.runs import tracking

ROOT = Path(__file__).resolve().parents[3]
NOBODY = "http://127.0.0.1:9"  # the port of "discard", where nothing listens
WANDB_ACCOUNT = {"WANDB_BASE_URL": NOBODY, "WANDB_API_KEY": "0" * 40}


def needed(module):
    if importlib.util.find_spec(module) is None:
        pytest.skip(f"{module} is not installed (requirements-tracking.txt)")


@pytest.fixture(autouse=True)
def untracked(monkeypatch):
    for variable in ("MLFLOW_TRACKING_URI", "WANDB_PROJECT"):
        monkeypatch.delenv(variable, raising=False)


@pytest.fixture
def follow(monkeypatch):
    """Sets what asks for a service."""

    def follow(**variables):
        for name, value in variables.items():
            monkeypatch.setenv(name, value)

    return follow


def test_nothing_is_imported_and_no_thread_begun_unless_it_is_asked_for():
    program = (
        "import sys, threading; from pathlib import Path\n"
        "from submission.runs.tracking import Tracking\n"
        "tracking = Tracking(Path(), 'run', {}, 1.0, print)\n"
        "tracking.log({'training/loss': 1.0}, 3)\n"
        "print(threading.active_count())\n"
        "print([name for name in ('mlflow', 'wandb') if name in sys.modules])"
    )
    answer = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert answer.stdout == "1\n[]\n"


@pytest.mark.parametrize(
    ("variable", "module"), [("MLFLOW_TRACKING_URI", "mlflow"), ("WANDB_PROJECT", "wandb")]
)
def test_a_package_that_is_missing_costs_a_line(variable, module, follow, tmp_path):
    if importlib.util.find_spec(module) is not None:
        pytest.skip(f"{module} is installed")
    follow(**{variable: "somewhere"})
    said = []
    following = tracking.Tracking(tmp_path, "run", {}, 10.0, said.append)
    following.log({"training/loss": 1.0}, 3)
    following.close()
    assert said == [f"{variable} is set, but there is no package {module}: pip install it"]


@pytest.mark.slow
def test_mlflow_has_the_losses_the_settings_and_the_record(trial, follow, tmp_path, monkeypatch):
    needed("mlflow")
    from mlflow.tracking import MlflowClient

    monkeypatch.chdir(tmp_path)
    follow(MLFLOW_TRACKING_URI=f"sqlite:///{tmp_path}/mlflow.db")
    monkeypatch.setattr("submission.training.outputs._SECONDS_TO_TRACK", 120.0)
    record = trial("trainer.max_steps = 10", "pretraining.steps = 5")
    client = MlflowClient()
    (run,) = client.search_runs(["0"])
    assert (run.info.run_name, run.info.status) == ("run", "FINISHED")
    assert run.data.params["method"] == "beta_tcvae"
    assert run.data.params["trainer.max_steps"] == "10"
    lines = trial.folder().history.read_text().splitlines()
    steps = [int(line.split(",")[1]) for line in lines if line.startswith("training")]
    losses = client.get_metric_history(run.info.run_id, "training/loss")
    assert [one.step for one in losses] == steps == [1, 5, 10]
    assert f"{losses[-1].value:.6g}" in lines[-1]
    assert client.get_metric_history(run.info.run_id, "pretraining/loss")
    kept = Path(client.download_artifacts(run.info.run_id, "run.json", str(tmp_path)))
    assert json.loads(kept.read_text())["steps"] == record.steps == 10


@pytest.mark.slow
def test_wandb_has_the_losses_and_the_record_offline(trial, follow, monkeypatch, capsys):
    needed("wandb")
    follow(WANDB_PROJECT="paper", WANDB_MODE="offline")
    monkeypatch.setattr("submission.training.outputs._SECONDS_TO_TRACK", 120.0)
    trial("trainer.max_steps = 5", "pretraining.steps = 0")
    if "WANDB_PROJECT is set, but" in capsys.readouterr().out:
        pytest.skip("the service that W&B starts for itself has not started in time")
    (offline,) = (trial.folder().training / "wandb").glob("offline-run-*")
    assert {"run.json", "history.csv"} <= {path.name for path in (offline / "files").iterdir()}
    # As at the end of a process, when the last of it goes into the file.
    importlib.import_module("wandb").teardown()
    (log,) = offline.glob("*.wandb")
    assert b"training/loss" in log.read_bytes()
    assert (trial.folder().training / "wandb.run").read_text() in log.name


@pytest.mark.slow
@pytest.mark.parametrize(
    ("module", "variables"),
    [
        ("mlflow", {"MLFLOW_TRACKING_URI": NOBODY}),
        ("wandb", {"WANDB_PROJECT": "paper", **WANDB_ACCOUNT}),
    ],
)
def test_a_server_that_is_gone_costs_a_line_and_no_more(module, variables, trial, follow, capsys):
    needed(module)
    follow(**variables)
    record = trial("trainer.max_steps = 5", "pretraining.steps = 0")
    assert (record.status, record.steps) == ("finished", 5)
    lines = [line for line in capsys.readouterr().out.splitlines() if module in line]
    assert len(lines) == 1
    assert lines[0].startswith(f"warning: {next(iter(variables))} is set, but {module} ")
