"""The wall clock of training, beside the budget that training is given."""

import pytest

from container import simulation


@pytest.mark.parametrize(
    ("arguments", "budget"),
    [
        (["--preset", "quick", "--budget", "12h"], "12h"),
        (["--preset=paper"], "72h"),
        (["--preset", "paper", "--budget", "20m"], None),
        (["--preset", "quick", "--gin", "trainer.seed = 3"], None),
        (["options", "of", "another's"], None),
    ],
)
def test_an_end_before_the_budget_is_told_at_the_start(arguments, budget, capsys):
    simulation.tell_early_end(arguments, 8 * 3600.0)
    output = capsys.readouterr().out
    assert bool(output) == (budget is not None)
    assert f"before its budget of {budget};" in output or budget is None
