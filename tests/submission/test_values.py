"""Every setting that gin can bind: what it refuses, and that its default is let pass."""

import gin
import pytest

import study.settings  # noqa: F401  (registers what can be configured)
import submission.training.loop  # noqa: F401
from evaluator import udr  # noqa: F401
from evaluator.metrics import ALL_METRICS
from submission.configuration import settings
from submission.values import fits

SETTINGS = {
    name: parameter.annotation
    for name, parameter in settings().items()
    if name.split(".")[0] not in ("fails_at_step", "interrupts_at_step")
}
SETTINGS |= {name: kind for one in ALL_METRICS.values() for name, kind in one.settings.items()}
NEVER_RIGHT = (
    float("nan"),
    float("inf"),
    float("-inf"),
    -1e300,
    10**400,
    "eight",
    {"a": 1},
    object(),
)


@pytest.mark.parametrize("name", sorted(SETTINGS))
def test_a_setting_refuses_what_can_never_be_right(name):
    texts = ("study.dataset", "study.preset")
    for value in NEVER_RIGHT:
        assert not fits(value, SETTINGS[name]) or (name in texts and value == "eight"), value


@pytest.mark.parametrize("name", sorted(SETTINGS))
def test_a_setting_takes_one_kind_of_value_only(name):
    """None is right for some, beside the others; a whole number passes for a real one."""
    kinds = [True, "5m", (), (0.5,), (0.5, 0.5), ("mig.num_train = 20",)]
    taken = [value for value in kinds if fits(value, SETTINGS[name])]
    numbers = [value for value in (1, 0.5, 20, 1000) if fits(value, SETTINGS[name])]
    assert not (taken and numbers)
    assert len({type(value) for value in taken}) <= 1


@pytest.mark.parametrize("name", sorted(settings()))
def test_a_default_is_one_of_the_right_values(name):
    parameter = settings()[name]
    if parameter.default is not gin.REQUIRED and parameter.annotation is not parameter.empty:
        assert fits(default_of(parameter.default), parameter.annotation)


def default_of(value):
    """A dataclass's factory makes its default."""
    return {"": ()} if "factory" in type(value).__name__.lower() else value
