import argparse

import pytest

from submission.command_line import Parser, parse_count, parse_seed
from submission.errors import UserError
from submission.values import LAST_SEED


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
