import subprocess
import sys
from pathlib import Path

import pytest

from submission.training.execution import Execution, compiled_execution, fastest, plain_executions
from submission.training.recipe import Speed

PLAIN, PHASES = Execution(), Execution(phases=True)
HUGE_PAGES = Path("/sys/kernel/mm/transparent_hugepage/enabled")


def test_the_fastest_form_is_chosen_and_the_sentence_says_why():
    chosen, why = fastest([PHASES, PLAIN], {PHASES: 0.3, PLAIN: 0.2}.__getitem__)
    assert chosen == PLAIN
    assert "decoder in phases: 0.3000 s" in why
    assert "chosen: plain decoder" in why


def test_of_two_that_cannot_be_told_apart_the_first_is_chosen():
    assert fastest([PHASES, PLAIN], {PHASES: 0.201, PLAIN: 0.2}.__getitem__)[0] == PHASES


def test_a_form_that_does_not_work_here_is_passed_over():
    def measure(execution: Execution) -> float:
        if execution.compiled:
            raise RuntimeError("no C++ compiler\nand a long trace")
        return 0.2

    chosen, why = fastest([PLAIN, Execution(compiled=True)], measure)
    assert chosen == PLAIN
    assert "plain decoder, compiled: not to be had (RuntimeError: no C++ compiler)" in why


def test_the_first_forms_exception_is_raised():
    def measure(execution: Execution) -> float:
        raise RuntimeError("broken")

    with pytest.raises(RuntimeError, match="broken"):
        fastest([PLAIN, PHASES], measure)


def test_a_compiler_without_room_is_told_as_such():
    def measure(execution):
        if execution.compiled:
            raise RuntimeError(
                "C++ compile error\n\nOutput:\nas: main.o: No space left on device\n"
            )
        return 0.2

    _, why = fastest([PLAIN, Execution(compiled=True)], measure)
    assert "plain decoder, compiled: not to be had (RuntimeError: no room on the disk" in why
    assert "TMPDIR" in why


def test_each_flag_takes_its_forms_away():
    assert plain_executions(Speed()) == [PHASES, PLAIN]
    assert plain_executions(Speed(phases=False)) == [PLAIN]
    assert plain_executions(Speed(phases=False, bfloat16=True)) == [Execution(bfloat16=True)]
    assert compiled_execution(PLAIN, Speed(compile=False), 1e6, on_gpu=True) is None
    assert compiled_execution(PLAIN, Speed(cuda_graphs=False), 1e6, on_gpu=True) == Execution(
        compiled=True
    )


def test_compilation_is_left_to_budgets_that_can_afford_it():
    speed = Speed(compile_from="30m")
    assert compiled_execution(PHASES, speed, 1799.0, on_gpu=False) is None
    assert compiled_execution(PHASES, speed, 1800.0, on_gpu=False) == Execution(
        phases=True, compiled=True
    )


def test_cuda_graphs_are_for_gpus():
    on_gpu = compiled_execution(PLAIN, Speed(), 1e6, on_gpu=True)
    assert on_gpu == Execution(compiled=True, cuda_graphs=True)


def test_freed_memory_is_kept_for_the_next_step():
    """In a process of its own, since the setting holds for the whole process."""
    program = """
import resource, torch
from submission.training.recipe import Speed
from submission.training.execution import prepare_device
prepare_device(Speed(), on_gpu=False)
for step in range(10):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    torch.ones(64 * 2**20)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    # 256 MiB are 65,536 pages.
    assert int(done.stdout) < 1000


@pytest.mark.skipif(
    not HUGE_PAGES.exists() or "[never]" in HUGE_PAGES.read_text(),
    reason="the kernel gives no huge pages",
)
def test_tensors_lie_in_huge_pages():
    """In a process of its own: PyTorch decides when it makes the first tensor."""
    program = """
import re, torch
from submission.training.recipe import Speed
from submission.training.execution import prepare_device
prepare_device(Speed(), on_gpu=False)
tensor = torch.ones(16 * 2**20)
print(sum(map(int, re.findall(r"AnonHugePages: *(\\d+)", open("/proc/self/smaps").read()))))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    # Of 65,536 KiB, nearly all.
    assert int(done.stdout) > 50_000


def test_a_form_says_what_it_is():
    execution = Execution(phases=True, compiled=True, cuda_graphs=True, bfloat16=True)
    assert str(execution) == "decoder in phases, compiled with CUDA graphs, bfloat16"
