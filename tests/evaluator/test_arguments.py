import argparse

import pytest

from evaluator.arguments import LAST_SEED, parse_count, parse_seed, training_record
from submission.errors import Parser, UserError


def test_a_mistake_is_one_line_that_points_to_the_help():
    parser = Parser()
    parser.add_argument("--seed", type=parse_seed)
    with pytest.raises(UserError, match=r"--seed: one is not a whole number.*--help"):
        parser.parse_args(["--seed", "one"])


def test_numpys_seeds_pass():
    assert [parse_seed(text) for text in ("0", str(LAST_SEED))] == [0, LAST_SEED]
    for text in ("-1", str(LAST_SEED + 1)):
        with pytest.raises(argparse.ArgumentTypeError, match="between 0 and"):
            parse_seed(text)


@pytest.mark.parametrize("text", ["0", "-3", "2.5", "many", ""])
def test_a_count_is_one_or_more(text):
    assert parse_count("5") == 5
    with pytest.raises(argparse.ArgumentTypeError, match="between 1 and"):
        parse_count(text)


def test_a_representation_without_a_training_has_an_empty_record(tmp_path):
    assert training_record(tmp_path / "representation") == {}


@pytest.mark.parametrize("text", ["{", "[]", "\x1b\n", "[" * 100_000, '{"dataset": 5}'])
def test_a_damaged_record_is_told(tmp_path, text):
    (tmp_path / "training").mkdir()
    (tmp_path / "training" / "run.json").write_text(text)
    with pytest.raises(UserError, match=r"run\.json"):
        training_record(tmp_path / "representation")
