"""Scores beside the losses, in a real MLflow where it is installed."""

import pytest

import evaluator
from evaluator.tracked import log_scores
from submission.runs.folder import RunFolder


@pytest.mark.slow
def test_the_scores_join_the_run_that_training_began(
    make_dataset, make_encoder, tmp_path, monkeypatch
):
    pytest.importorskip("mlflow", reason="mlflow is not installed (requirements-tracking.txt)")
    from mlflow.tracking import MlflowClient

    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("WANDB_PROJECT", raising=False)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    client = MlflowClient()
    begun = client.create_run("0", run_name="seed_3").info.run_id
    trained = RunFolder(tmp_path / "seed_3")
    trained.training.mkdir(parents=True)
    trained.record.write_text("{}")
    (trained.training / "mlflow.run").write_text(begun)
    found = evaluator.score(
        make_encoder(), make_dataset(), metrics=["mig"], gin=["mig.num_train = 100"]
    )
    found.write(trained.path)
    said = []
    log_scores(found, trained.path, trained, said.append)
    (run,) = client.search_runs(["0"])
    assert said == []
    assert run.info.run_id == begun
    assert run.data.metrics == {"score/mig": found.scores["mig"], "score/sum": found.sum}
    assert [file.path for file in client.list_artifacts(begun)] == ["scores.json"]
