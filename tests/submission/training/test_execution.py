import subprocess
import sys
from pathlib import Path

import pytest

from submission.training.execution import (
    Execution,
    compiled_execution,
    fastest,
    on_device,
    plain_executions,
)
from submission.training.recipe import Speed

PLAIN, PHASES = Execution(), Execution(phases=True)
HUGE_PAGES = Path("/sys/kernel/mm/transparent_hugepage/enabled")


def test_the_fastest_form_is_chosen_and_the_sentence_says_why():
    chosen, why = fastest({PHASES: 0.3, PLAIN: 0.2})
    assert chosen == PLAIN
    assert "decoder in phases: 0.3000 s" in why
    assert "chosen: plain decoder" in why


def test_of_two_that_cannot_be_told_apart_the_first_is_chosen():
    assert fastest({PHASES: 0.201, PLAIN: 0.2})[0] == PHASES


def test_a_form_that_does_not_work_is_not_chosen():
    chosen, why = fastest({PHASES: float("inf"), PLAIN: 0.2})
    assert chosen == PLAIN
    assert "decoder in phases" not in why


def test_each_flag_takes_its_forms_away():
    assert plain_executions(Speed(), on_gpu=False) == [PHASES, PLAIN]
    assert plain_executions(Speed(phases=False), on_gpu=False) == [PLAIN]
    assert plain_executions(Speed(phases=False, bfloat16=True), on_gpu=False) == [
        Execution(bfloat16=True)
    ]
    assert plain_executions(Speed(phases=False), on_gpu=True) == [Execution(tf32=True)]
    assert plain_executions(Speed(phases=False, tf32=False), on_gpu=True) == [PLAIN]
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


def test_cuda_graphs_and_tf32_are_for_gpus():
    form = compiled_execution(Execution(tf32=True), Speed(), 1e6, on_gpu=True)
    assert form == Execution(compiled=True, cuda_graphs=True, tf32=True)
    assert on_device(form, on_gpu=True) == form
    assert on_device(form, on_gpu=False) == Execution(compiled=True)


def test_freed_memory_is_kept_for_the_next_step():
    """In a process of its own, since the setting holds for the whole process."""
    program = """
import resource, torch
from submission.training.execution import prepare_device
prepare_device(on_gpu=False)
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
import mmap, re, torch
from submission.training.execution import prepare_device
def huge():
    return sum(map(int, re.findall(r"AnonHugePages: *(\\d+)", open("/proc/self/smaps").read())))
prepare_device(on_gpu=False)
tensor = torch.ones(16 * 2**20)
of_tensor = huge()
plain = mmap.mmap(-1, 2**26, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
plain.madvise(mmap.MADV_HUGEPAGE)
plain.write(bytes(2**26))
print(of_tensor, huge() - of_tensor)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    of_tensor, of_plain_memory = map(int, done.stdout.split())
    if of_plain_memory < 50_000:
        pytest.skip("the kernel has no huge pages left")
    # Of 65,536 KiB, nearly all.
    assert of_tensor > 50_000


def test_a_form_says_what_it_is():
    execution = Execution(phases=True, compiled=True, cuda_graphs=True, bfloat16=True)
    assert str(execution) == "decoder in phases, compiled with CUDA graphs, bfloat16"
