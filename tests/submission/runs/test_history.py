import csv

from tensorboardX.event_file_writer import EventFileWriter  # noqa: F401  (the writer is installed)

from submission.runs.history import History


def test_rows_of_different_phases_share_one_table(tmp_path):
    history = History(tmp_path / "history.csv", tmp_path / "tensorboard")
    history.add({"phase": "pretraining", "step": 1, "loss": 2.0})
    history.add({"phase": "training", "step": 1, "loss": 1.0, "capacity": 0.5, "mmd": 0.25})
    history.write()
    history.close()
    rows = list(csv.DictReader((tmp_path / "history.csv").open()))
    assert rows[0]["mmd"] == rows[0]["capacity"] == ""
    assert rows[1]["mmd"] == "0.25"
    assert list(rows[0])[:2] == ["phase", "step"]
    assert list((tmp_path / "tensorboard").iterdir())


def test_earlier_rows_of_a_resumed_run_are_kept(tmp_path):
    earlier = [{"phase": "training", "step": 1, "loss": 2.0}]
    history = History(tmp_path / "history.csv", tmp_path / "tensorboard", earlier)
    history.add({"phase": "training", "step": 2, "loss": 1.0})
    history.write()
    history.close()
    rows = list(csv.DictReader((tmp_path / "history.csv").open()))
    assert [row["step"] for row in rows] == ["1", "2"]
