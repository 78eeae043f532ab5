"""Real signals to real processes: a wish, an end in one line, and nothing after it."""

import signal
import subprocess
import sys
import time

import pytest

ALL = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]

# Says "ready", then works in short steps, and tells of a wish 2 s after it came.
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
    time.sleep(2.0)
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

IMPORTS = """
import time
from submission.interruption import Interruption

Interruption(at_once=True).install()
print("ready", flush=True)
time.sleep(60)
"""


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


@pytest.mark.parametrize("number", ALL)
def test_a_signal_during_the_imports_is_one_line(number):
    process = start(IMPORTS)
    process.send_signal(number)
    assert process.communicate(timeout=20) == ("", f"interrupted by {number.name}\n")
    assert process.returncode == 1


def test_nohup_is_heeded():
    process = start(WISHES, "nohup")
    process.send_signal(signal.SIGHUP)
    time.sleep(0.2)
    process.send_signal(signal.SIGTERM)
    assert process.communicate(timeout=20)[0] == "ended by SIGTERM\n"
