"""Real signals to real processes: a wish, an end in one line, and nothing after it."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
ALL = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]

# Says "ready", then works in short steps, and tells of a wish 1.5 s after it came.
WISHES = """
import time
from submission.command_line import run_command_line
from submission.interruption import Interruption

interruption = Interruption()
interruption.install()

def main():
    print("ready", flush=True)
    while interruption.reason is None:
        time.sleep(0.01)
    time.sleep(1.5)
    print("ended by", interruption.reason)

run_command_line(main, interruption)
"""

ENDS_AT_ONCE = """
import time
from submission.command_line import run_command_line

def main():
    try:
        print("ready", flush=True)
        time.sleep(60)
    finally:
        time.sleep(0.5)
        print("closed")

run_command_line(main)
"""

# Python reads it first: the process gets a signal while it looks for the COUNTth module after ours.
SITE_CUSTOMIZE = """
import os
import sys

class Finder:
    left = None

    def find_spec(self, name, path, target=None):
        if self.left is not None:
            self.left -= 1
            if self.left == 0:
                os.kill(os.getpid(), int(os.environ["NUMBER"]))
        elif name == "submission":
            self.left = int(os.environ["COUNT"])

sys.meta_path.insert(0, Finder())
"""

COMMANDS = [
    ["submission", "--method", "none"],
    ["submission.datasets", "check", "none"],
    ["evaluator", "none"],
    ["evaluator.udr", "none", "none"],
    ["evaluator.report", "none"],
    ["study", "report", "none"],
]


def start(script: str, *before: str) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [*before, sys.executable, "-c", script],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


@pytest.mark.parametrize("number", ALL)
def test_the_first_signal_is_a_wish(number):
    process = start(WISHES)
    process.send_signal(number)
    assert process.communicate(timeout=20) == (f"ended by {number.name}\n", "")
    assert process.returncode == 0


@pytest.mark.parametrize("script", [WISHES, ENDS_AT_ONCE])
def test_two_signals_within_20_ms_are_one(script):
    process = start(script)
    process.send_signal(signal.SIGTERM)
    time.sleep(0.02)
    process.send_signal(signal.SIGTERM)
    output, _ = process.communicate(timeout=20)
    assert output == ("ended by SIGTERM\n" if script == WISHES else "closed\n")


def test_an_impatient_second_signal_ends_the_process_in_one_line():
    process = start(WISHES)
    process.send_signal(signal.SIGINT)
    time.sleep(1.2)
    process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=20) == ("", "interrupted by SIGINT\n")
    assert process.returncode == 1


@pytest.mark.parametrize("number", ALL)
def test_a_command_that_has_nothing_to_save_ends_in_one_line_and_closes_its_files(number):
    process = start(ENDS_AT_ONCE)
    process.send_signal(number)
    assert process.communicate(timeout=20) == ("closed\n", f"interrupted by {number.name}\n")
    assert process.returncode == 1


@pytest.mark.parametrize("count", [1, 4, 20, 60])
@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command[0])
def test_a_signal_while_a_command_starts_is_no_traceback(command, count, tmp_path):
    """Before it is the command's, a Ctrl-C ends the process without a line."""
    (tmp_path / "sitecustomize.py").write_text(SITE_CUSTOMIZE)
    number = ALL[count % 2]
    result = subprocess.run(
        [sys.executable, "-m", *command],
        cwd=ROOT,
        env=os.environ
        | {"PYTHONPATH": str(tmp_path), "COUNT": str(count), "NUMBER": str(int(number))},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert result.stdout == ""
    if result.returncode == -number:
        assert result.stderr == "" and count < 20
    elif command[0] == "submission":
        # A wish, which is told once there is something to end.
        assert result.stderr.count("\n") == 1
    else:
        assert result.stderr == f"interrupted by {number.name}\n"
        assert result.returncode == 1


def test_nohup_is_heeded():
    process = start(WISHES, "nohup")
    process.send_signal(signal.SIGHUP)
    time.sleep(0.2)
    process.send_signal(signal.SIGTERM)
    assert process.communicate(timeout=20)[0] == "ended by SIGTERM\n"
