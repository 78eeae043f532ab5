"""What every test may rely on."""

import signal

import pytest
from xdist.scheduler import LoadScopeScheduling

# A shell's background jobs, and what nohup starts, ignore these, and so would every process that a
# test starts and then interrupts.
for _number, _handler in (
    (signal.SIGINT, signal.default_int_handler),
    (signal.SIGHUP, signal.SIG_DFL),
    (signal.SIGTERM, signal.SIG_DFL),
):
    if signal.getsignal(_number) == signal.SIG_IGN:
        signal.signal(_number, _handler)


class _Scheduling(LoadScopeScheduling):
    """Keeps together the tests of a file, which share its fixtures, and those of the one engine."""

    def _split_scope(self, nodeid: str) -> str:
        file, _, _ = nodeid.partition("::")
        return "tests/docker" if file.startswith("tests/docker/") else file


def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> _Scheduling:
    """What each process runs next, where there is more than one."""
    return _Scheduling(config, log)
