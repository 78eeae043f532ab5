"""What the first and the second signal do, in a process of their own."""

import os
import signal
import subprocess
import sys
import time

import pytest

SCRIPT = """
import time
from container import interrupts
interrupts.install()
with interrupts.requested() as request:
    print("ready", flush=True)
    try:
        while not request.is_set():
            time.sleep(0.01)
        print("requested", flush=True)
        time.sleep({seconds})
        print("went on", flush=True)
    except KeyboardInterrupt:
        print("raised", flush=True)
"""


def answer_to(
    seconds: float, *signals: tuple[float, signal.Signals], prefix: tuple[str, ...] = ()
) -> list[str]:
    """The script's lines, when each signal is sent after some seconds."""
    process = subprocess.Popen(
        [*prefix, sys.executable, "-c", SCRIPT.format(seconds=seconds)],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": ":".join(map(str, sys.path))},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    for wait, number in signals:
        time.sleep(wait)
        process.send_signal(number)
    output, _ = process.communicate(timeout=20)
    return output.split("\n")[:-1]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_the_first_signal_is_a_request(number):
    assert answer_to(0.1, (0, number)) == ["requested", "went on"]


def test_a_second_signal_ends_at_once():
    assert answer_to(10, (0, signal.SIGINT), (0.3, signal.SIGINT)) == ["requested", "raised"]


def test_two_signals_of_one_closing_terminal_are_one_wish():
    signals = [(0, signal.SIGHUP), (0.02, signal.SIGTERM)]
    assert answer_to(0.3, *signals) == ["requested", "went on"]


def test_nohup_keeps_sighup_away():
    signals = [(0, signal.SIGHUP), (0.3, signal.SIGTERM)]
    # Had the first one counted, the second would have been raised.
    assert answer_to(1, *signals, prefix=("nohup",)) == ["requested", "went on"]
