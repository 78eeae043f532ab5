import pytest

from evaluator.arguments import training_record
from submission.errors import UserError


def test_a_representation_without_a_training_has_an_empty_record(tmp_path):
    assert training_record(tmp_path / "representation") == {}


@pytest.mark.parametrize("text", ["{", "[]", "\x1b\n", "[" * 100_000, '{"dataset": 5}'])
def test_a_damaged_record_is_told(tmp_path, text):
    (tmp_path / "training").mkdir()
    (tmp_path / "training" / "run.json").write_text(text)
    with pytest.raises(UserError, match=r"run\.json"):
        training_record(tmp_path / "representation")
