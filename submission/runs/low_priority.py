"""Runs a module in this process as `python -m` does, but in the background of the machine's work.

`python -m submission.runs.low_priority SECONDS NICENESS MODULE [ARGUMENTS…]`: at most so many CPU
seconds, at a low priority, on one core, and not longer than the process that started it.
"""

import os
import resource
import runpy
import sys

from submission.runs.processes import end_with


def main() -> None:
    """Gives this process its limits and turns it into the module."""
    seconds, niceness, module = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
    del sys.argv[1:4]
    # Equal soft and hard limits make the kernel kill without a core dump.
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
    end_with(os.getppid())
    os.nice(niceness)
    # What counts cores to choose its number of threads then chooses one.
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {cores[os.getpid() % len(cores)]})
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
