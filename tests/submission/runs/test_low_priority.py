import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
ENDLESS = ("timeit", "-n", "1000000000000", "pass")


def command(seconds: int, *module: str) -> list[str]:
    return [sys.executable, "-m", "submission.runs.low_priority", str(seconds), "12", *module]


def test_the_module_gets_its_own_arguments_and_exit_code():
    right = subprocess.run(
        command(10, "timeit", "-n", "1", "-r", "1", "pass"), cwd=ROOT, capture_output=True
    )
    assert right.returncode == 0
    assert b"1 loop" in right.stdout
    wrong = subprocess.run(command(10, "timeit", "1 +"), cwd=ROOT, capture_output=True)
    assert wrong.returncode == 1


def test_it_ends_when_its_cpu_seconds_are_used_up():
    done = subprocess.run(command(1, *ENDLESS), cwd=ROOT, check=False)
    assert done.returncode == -signal.SIGKILL


def test_it_has_its_priority_one_core_and_ends_with_the_process_that_started_it():
    starter = (
        "import subprocess, sys\n"
        "child = subprocess.Popen(sys.argv[1:])\n"
        "print(child.pid, flush=True)\n"
        "child.wait()"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", starter, *command(60, *ENDLESS)], cwd=ROOT, stdout=subprocess.PIPE
    )
    try:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        # Of what started these tests, such as `nice`; Linux has none lower than 19.
        niceness = min(19, os.getpriority(os.PRIO_PROCESS, 0) + 12)
        wait_until(lambda: os.getpriority(os.PRIO_PROCESS, child) == niceness)
        wait_until(lambda: len(os.sched_getaffinity(child)) == 1)
    finally:
        parent.kill()
        parent.wait()
    wait_until(lambda: not is_running(child))


def wait_until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def is_running(process: int) -> bool:
    """A zombie, which nobody may be there to bury in a container, has ended."""
    try:
        state = Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"
