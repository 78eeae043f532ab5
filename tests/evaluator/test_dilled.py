"""Dilled functions: of other Pythons, of a script's `__main__`, and such as end the process."""

import base64
import os
import pickle
import pickletools
import subprocess
import sys
from pathlib import Path

import dill
import numpy as np
import pytest

from evaluator import representations
from evaluator.formats import DILL
from submission.errors import UserError
from tests.evaluator.reading import read_representation

# What Pythons from 3.7 to 3.13 made of this function, by dill 0.3.1 (3.7) and 0.4:
#     def plain(batch):
#         return batch[:, :, 1, 2] * 2.0
OTHERS = {
    "3.7 or older": """
        gASVzAAAAAAAAACMCmRpbGwuX2RpbGyUjBBfY3JlYXRlX2Z1bmN0aW9ulJOUKGgAjApfbG9hZF90eXBllJOUjAhDb2Rl
        VHlwZZSFlFKUKEsBSwBLAUsFS0NDHHwAZABkAIUCZABkAIUCZAFkAmYEGQBkAxQAUwCUKE5LAUsCR0AAAAAAAAAAdJQp
        jAViYXRjaJSFlIwJc2NyaXB0LnB5lIwFcGxhaW6USw1DAgABlCkpdJRSlGNfX2J1aWx0aW5fXwpfX21haW5fXwpoDU5O
        fZROdJRSlC4=""",
    "3.8 to 3.10": """
        gASV2gAAAAAAAACMCmRpbGwuX2RpbGyUjBBfY3JlYXRlX2Z1bmN0aW9ulJOUKGgAjAxfY3JlYXRlX2NvZGWUk5QoSwFL
        AEsASwFLBUtDQxx8AGQAZACFAmQAZACFAmQBZAJmBBkAZAMUAFMAlChOSwFLAkdAAAAAAAAAAHSUKYwFYmF0Y2iUhZSM
        CXNjcmlwdC5weZSMBXBsYWlulEsNQwIAAZQpKXSUUpRjX19idWlsdGluX18KX19tYWluX18KaApOTnSUUpR9lH2UjA9f
        X2Fubm90YXRpb25zX1+UfZRzhpRiLg==""",
    "3.10": """
        gASV5wAAAAAAAACMCmRpbGwuX2RpbGyUjBBfY3JlYXRlX2Z1bmN0aW9ulJOUKGgAjAxfY3JlYXRlX2NvZGWUk5QoQwIA
        AZRLAUsASwBLAUsFS0NDHHwAZABkAIUCZABkAIUCZAFkAmYEGQBkAxQAUwCUKE5LAUsCR0AAAAAAAAAAdJQpjAViYXRj
        aJSFlIwRL3RtcC9ldi9zY3JpcHQucHmUjAVwbGFpbpRLDUMCHAGUKSl0lFKUY19fYnVpbHRpbl9fCl9fbWFpbl9fCmgL
        Tk50lFKUfZR9lIwPX19hbm5vdGF0aW9uc19flH2Uc4aUYi4=""",
    "3.11": """
        gASVGAEAAAAAAACMCmRpbGwuX2RpbGyUjBBfY3JlYXRlX2Z1bmN0aW9ulJOUKGgAjAxfY3JlYXRlX2NvZGWUk5QoQwIC
        AZRLAUsASwBLAUsFSwNDKJcAfABkAGQAhQJkAGQAhQJkAWQCZgQZAAAAAAAAAAAAZAN6BQAAUwCUKE5LAUsCR0AAAAAA
        AAAAdJQpjAViYXRjaJSFlIwRL3RtcC9ldi9zY3JpcHQucHmUjAVwbGFpbpRoC0sNQyKAANgLEJARkBGQEZBBkEGQQZBx
        mCGQGtQLHJhz0Qsi0AQilEMAlCkpdJRSlGNfX2J1aWx0aW5fXwpfX21haW5fXwpoC05OdJRSlH2UfZSMD19fYW5ub3Rh
        dGlvbnNfX5R9lHOGlGIu""",
    "3.12": """
        gASVCgEAAAAAAACMCmRpbGwuX2RpbGyUjBBfY3JlYXRlX2Z1bmN0aW9ulJOUKGgAjAxfY3JlYXRlX2NvZGWUk5QoQwIC
        AZRLAUsASwBLAUsFSwNDIpcAfABkAGQAhQJkAGQAhQJkAWQCZgQZAAAAZAN6BQAAUwCUKE5LAUsCR0AAAAAAAAAAdJQp
        jAViYXRjaJSFlIwRL3RtcC9ldi9zY3JpcHQucHmUjAVwbGFpbpRoC0sNQxqAANgLEJIRkkGQcZghkBrRCxyYc9ELItAE
        IpRDAJQpKXSUUpRjX19idWlsdGluX18KX19tYWluX18KaAtOTnSUUpR9lH2UjA9fX2Fubm90YXRpb25zX1+UfZRzhpRi
        Lg==""",
    "3.13": """
        gASVCgEAAAAAAACMCmRpbGwuX2RpbGyUjBBfY3JlYXRlX2Z1bmN0aW9ulJOUKGgAjAxfY3JlYXRlX2NvZGWUk5QoQwIC
        AZRLAUsASwBLAUsFSwNDIpUAVQBTAFMAMgJTAFMAMgJTAVMCNAQFAAAAUwMtBQAAJACUKE5LAUsCR0AAAAAAAAAAdJQp
        jAViYXRjaJSFlIwRL3RtcC9ldi9zY3JpcHQucHmUjAVwbGFpbpRoC0sNQxqAANgLEJIRkkGQcZghkBrRCxyYc9ELItAE
        IpRDAJQpKXSUUpRjX19idWlsdGluX18KX19tYWluX18KaAtOTnSUUpR9lH2UjA9fX2Fubm90YXRpb25zX1+UfZRzhpRi
        Lg==""",
}
THIS = f"{sys.version_info.major}.{sys.version_info.minor}"


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "representation").mkdir()
    return tmp_path / "representation"


@pytest.fixture
def dilled(folder):
    """Dills a function `hack(x)` as the starter kit does: from the `__main__` of a script."""

    def write(*lines: str, imports: str = "import numpy as np") -> Path:
        script = [
            *("import sys, dill", imports, "def hack(x):"),
            *(f"    {line}" for line in lines),
            "with open(sys.argv[1], 'wb') as file:",
            "    dill.dump(hack, file, protocol=dill.HIGHEST_PROTOCOL)",
        ]
        (folder.parent / "script.py").write_text("\n".join(script))
        command = [sys.executable, folder.parent / "script.py", folder / DILL]
        subprocess.run(command, check=True)
        return folder

    return write


def refusal(folder, ground_truth):
    with pytest.raises(UserError) as caught:
        read_representation(folder, ground_truth, allow_pickle=True)
    return one_line(folder, caught.value)


def refusal_of_the_worker(folder, ground_truth):
    with (
        pytest.raises(UserError) as caught,
        representations.start(folder / DILL) as process,
    ):
        representations.read(process, ground_truth)
    return one_line(folder, caught.value)


def one_line(folder, error):
    assert "\n" not in str(error)
    assert str(folder / DILL) in str(error)
    return str(error)


@pytest.mark.parametrize("python", [python for python in OTHERS if python != THIS])
def test_a_function_of_another_python_is_refused_with_both_versions(folder, ground_truth, python):
    (folder / DILL).write_bytes(base64.b64decode(OTHERS[python]))
    message = refusal(folder, ground_truth)
    assert f"was dilled by Python {python}" in message
    assert f"dill the function again with Python {THIS}" in message


def test_a_function_of_this_python_is_read(folder, ground_truth):
    (folder / DILL).write_bytes(base64.b64decode(OTHERS[THIS]))
    images = ground_truth.sample_observations(3, np.random.RandomState(0))
    codes = read_representation(folder, ground_truth, allow_pickle=True).encode(images)
    np.testing.assert_array_equal(codes, images[:, 1, 2] * 2.0)


def test_telling_the_python_runs_nothing_of_the_file(folder, ground_truth, tmp_path):
    class Payload:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "ran"),)

    other = next(python for python in OTHERS if python != THIS)
    # Without the stop of the first, and what it made popped, two pickles are one.
    first = pickletools.optimize(pickle.dumps(Payload(), protocol=2))[:-1] + b"0"
    (folder / DILL).write_bytes(first + base64.b64decode(OTHERS[other]))
    assert f"was dilled by Python {other}" in refusal(folder, ground_truth)
    assert not (tmp_path / "ran").exists()


def test_names_of_the_scripts_main_are_those_of_the_challenges_evaluator(dilled, ground_truth):
    folder = dilled("return np.array(json.loads('[[0, 1]]') * len(x)) + len(os.sep)")
    representation = read_representation(folder, ground_truth, allow_pickle=True)
    images = ground_truth.sample_observations(3, np.random.RandomState(0))
    np.testing.assert_array_equal(representation.encode(images), [[1, 2]] * 3)


def test_tensorflow_is_there_for_a_function_that_names_it(dilled, ground_truth):
    folder = dilled("return np.mean(tf.constant(x), (2, 3)) if gin and tf.placeholder else None")
    representation = read_representation(folder, ground_truth, allow_pickle=True)
    assert representation.latents == 3


def test_what_the_function_leaves_in_its_main_stays_out_of_ours(dilled, ground_truth):
    folder = dilled("global ground_truth", "ground_truth = x", "return x[:, :, 0, 0]")
    read_representation(folder, ground_truth, allow_pickle=True)
    assert not hasattr(sys.modules["__main__"], "ground_truth")


def test_a_name_that_only_the_script_had_is_told_with_the_remedy(dilled, ground_truth):
    message = refusal(dilled("return scale * x[:, :, 0, 0]", imports="scale = 2"), ground_truth)
    assert "name 'scale' is not defined" in message
    assert "recurse=True" in message


@pytest.mark.parametrize(
    ("line", "fragment"),
    [
        ("__import__('ctypes').string_at(0)", "by SIGSEGV"),
        ("os.kill(os.getpid(), 9)", "by SIGKILL"),
        ("os.kill(os.getpid(), 40)", "by signal 40"),
        ("os._exit(0)", "with exit code 0"),
        ("exit(0)", "it calls exit(0)"),
        ("raise SystemExit", "it calls exit(None)"),
    ],
)
def test_a_function_that_ends_the_process_is_told_in_one_line(dilled, ground_truth, line, fragment):
    assert fragment in refusal_of_the_worker(dilled(line), ground_truth)


def test_a_pickle_that_exits_when_it_is_read_is_told(folder, ground_truth):
    class Payload:
        def __reduce__(self):
            return sys.exit, (0,)

    (folder / DILL).write_bytes(dill.dumps(Payload()))
    assert "it calls exit(0)" in refusal_of_the_worker(folder, ground_truth)


def test_what_a_function_prints_is_not_shown(dilled, ground_truth, capfd):
    folder = dilled("print('encoding', len(x))", "return x[:, :, 0, 0]")
    with representations.start(folder / DILL) as process:
        assert representations.read(process, ground_truth).latents == 3
    assert capfd.readouterr() == ("", "")
