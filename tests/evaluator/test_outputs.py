from pathlib import Path

import pytest

from evaluator import outputs
from submission.errors import UserError


def test_scores_go_beside_a_folder_called_representation_and_into_any_other(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert outputs.folder_for(Path("run/representation")) == tmp_path / "run"
    assert outputs.folder_for(Path("models/a")) == tmp_path / "models" / "a"
    assert outputs.folder_for(Path("models/b")) == tmp_path / "models" / "b"
    (tmp_path / "representation").mkdir()
    monkeypatch.chdir(tmp_path / "representation")
    assert outputs.folder_for(Path(".")) == tmp_path


def test_scores_lead_back_to_the_folder_that_they_are_of(tmp_path):
    for name in ("run/representation", "models/a"):
        (tmp_path / name).mkdir(parents=True)
        scores = outputs.folder_for(tmp_path / name) / "scores.json"
        assert outputs.representation_of(scores) == tmp_path / name


def test_a_folder_that_can_be_made_is_left_unmade(tmp_path):
    outputs.check_writable(tmp_path / "new" / "folder")
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    ("make", "where", "fragment"),
    [
        (lambda path: (path / "file").touch(), "file", "file is a file"),
        (lambda path: (path / "file").touch(), "file/below", "file is a file"),
        (lambda path: (path / "metrics").touch(), ".", "metrics is a file"),
        (lambda path: (path / "scores.json").mkdir(), ".", "scores.json is a folder"),
        (lambda path: None, "x" * 300, "File name too long"),
    ],
)
def test_what_is_in_the_way_is_told(tmp_path, make, where, fragment):
    make(tmp_path)
    with pytest.raises(UserError, match=fragment):
        outputs.check_writable(tmp_path / where)


def test_a_folder_that_cannot_be_written_is_told():
    # Nobody writes there, root neither.
    with pytest.raises(UserError, match="/proc/scores can't be written"):
        outputs.check_writable(Path("/proc/scores"))


def test_scores_and_metrics_set_aside_keep_one_number(tmp_path):
    for number in (1, 2):
        (tmp_path / "scores.json").write_text(str(number))
        (tmp_path / "metrics").mkdir()
        assert outputs.set_aside(tmp_path) == tmp_path / f"scores.{number}.json"
        assert (tmp_path / f"metrics.{number}").is_dir()
    assert (tmp_path / "scores.1.json").read_text() == "1"
