import time

import pytest

from submission.budget import (
    Budget,
    affordable_steps,
    choose_width,
    format_duration,
    parse_duration,
)
from submission.errors import UserError


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("8h", 28800),
        ("5m", 300),
        ("90s", 90),
        ("90", 90),
        ("1h30m", 5400),
        ("0.5h", 1800),
        ("0s", 0),
    ],
)
def test_durations_are_read(text, seconds):
    assert parse_duration(text, "--budget") == seconds


@pytest.mark.parametrize("text", ["", "5 minutes", "-5m", "m", "5d", "nan", "1e9"])
def test_what_is_no_duration_is_refused_with_an_example(text):
    with pytest.raises(UserError, match=r"--budget.*5m"):
        parse_duration(text, "--budget")


@pytest.mark.parametrize(("seconds", "text"), [(7, "7s"), (245, "4m05s"), (3720, "1h02m")])
def test_durations_are_written_for_people(seconds, text):
    assert format_duration(seconds) == text


def test_time_of_earlier_processes_counts():
    budget = Budget(100.0, time.monotonic(), spent_before=60.0)
    assert budget.spent == pytest.approx(60.0, abs=0.1)
    assert budget.left < 40.0


def test_two_exports_and_a_margin_are_held_back():
    budget = Budget(1000.0, time.monotonic())
    budget.export_seconds = 4.0
    assert budget.reserve == pytest.approx(10.0 + 2 * 4.0)


def test_the_margin_of_a_short_budget_is_a_tenth():
    assert Budget(10.0, time.monotonic()).reserve == pytest.approx(1.0)


def test_affordable_steps_are_bounded():
    assert affordable_steps(10.0, 0.1, 1000) in (99, 100)
    assert affordable_steps(10.0, 0.1, 50) == 50
    assert affordable_steps(-1.0, 0.1, 50) == 0


def test_the_widest_network_that_affords_the_steps_is_chosen():
    seconds = {1.0: 0.5, 0.5: 0.1, 0.25: 0.01}
    choose = lambda left: choose_width(seconds.__getitem__, lambda: left, (1.0, 0.5, 0.25), 1000)  # noqa: E731
    assert [choose(left) for left in (600.0, 200.0, 20.0, 1.0)] == [1.0, 0.5, 0.25, 0.25]


def test_without_candidates_the_width_is_left_alone():
    assert choose_width(lambda width: 1.0, lambda: 100.0) is None
