import json
import math
from pathlib import Path

import pytest

from submission.runs.files import NoObjectError, UnreadableError
from submission.runs.folder import RunFolder
from submission.runs.scores import Scores, read_scores

WHOLE = Scores(
    scores={"mig": 0.25, "irs": 0.5},
    sum=0.75,
    metrics={"mig": {"discrete_mig": 0.25}},
    provenance={"seed": 3},
    repeats={"seeds": [3, 4]},
)


def written(path: Path, content: object) -> Path:
    path.write_text(json.dumps(content))
    return path


def test_what_is_written_is_read(tmp_path):
    path = RunFolder(tmp_path / "run").scores
    WHOLE.write(path)
    assert read_scores(path) == WHOLE
    assert list(json.loads(path.read_text())) == [
        *("scores", "sum", "metrics", "provenance", "repeats")
    ]


def test_of_one_seed_there_are_no_repeats(tmp_path):
    path = tmp_path / "scores.json"
    Scores({"modularity_explicitness": 0.5}).write(path)
    content = json.loads(path.read_text())
    assert "repeats" not in content
    assert content["sum"] is None


@pytest.mark.parametrize("content", [{}, {"scores": 1, "metrics": [], "repeats": None}])
def test_parts_that_are_missing_or_of_another_type_are_empty(tmp_path, content):
    assert read_scores(written(tmp_path / "scores.json", content)) == Scores()


@pytest.mark.parametrize("score", [None, "text", [], {}, math.nan, 10**400])
def test_a_score_that_is_no_number_is_nan(tmp_path, score):
    path = written(tmp_path / "scores.json", {"scores": {"mig": score, "irs": 1}, "sum": "text"})
    scores = read_scores(path)
    assert math.isnan(scores.scores["mig"])
    assert scores.scores["irs"] == 1.0
    assert scores.sum is not None and math.isnan(scores.sum)


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b"[" * 100_000])
def test_a_damaged_file_is_none(tmp_path, content):
    (tmp_path / "scores.json").write_bytes(content)
    with pytest.raises(UnreadableError):
        read_scores(tmp_path / "scores.json")


def test_a_file_of_something_else_is_none(tmp_path):
    with pytest.raises(NoObjectError, match="no JSON object"):
        read_scores(written(tmp_path / "scores.json", []))


def test_no_file_is_another_thing_than_a_damaged_one(tmp_path):
    with pytest.raises(FileNotFoundError):
        read_scores(tmp_path / "run" / "scores.json")
    (tmp_path / "run").touch()
    with pytest.raises(NotADirectoryError):
        read_scores(tmp_path / "run" / "scores.json")
