"""Runs on this machine: as many at once as it has GPUs, or cores for their threads."""

import os
import queue
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import torch

from study.folder import StudyFolder
from study.run.jobs import Job
from study.run.work import RunFailed, execute
from submission.environment import Environment


def local_gpus() -> list[str]:
    """The GPUs that may be used, as `CUDA_VISIBLE_DEVICES` names them."""
    if not Environment.read().use_cuda:
        return []
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    numbers = [str(number) for number in range(torch.cuda.device_count())]
    return [name.strip() for name in visible.split(",")][: len(numbers)] if visible else numbers


def workers_that_fit(threads: int, gpus: Sequence[str]) -> int:
    """How many runs this machine takes at once: one a GPU, else by its cores.

    Args:
        threads: The threads of a run; 0 is all cores.
        gpus: The GPUs.

    Returns:
        At least 1.
    """
    if gpus:
        return len(gpus)
    return max(1, len(os.sched_getaffinity(0)) // threads) if threads else 1


class Pool:
    """Runs' processes on this machine.

    A run is processes of its own; here, a thread waits for them. The kernel ends them when the
    thread that started them is gone, so it must not end before they do.

    Args:
        folder: The study's folder.
        workers: How many runs there are at once.
        gpus: The GPUs that they share; none trains on the processor.
        stopping: Whether to stop.
    """

    def __init__(
        self,
        folder: StudyFolder,
        workers: int,
        gpus: Sequence[str],
        stopping: Callable[[], bool],
    ) -> None:
        self.count = workers
        self._folder = folder
        self._stopping = stopping
        self._threads = ThreadPoolExecutor(workers)
        self._places: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        for place in range(workers):
            self._places.put(gpus[place % len(gpus)] if gpus else None)

    def start(self, job: Job) -> Future[None]:
        """Begins a run, or goes on with it; errors as `execute`."""
        return self._threads.submit(self._attempt, job)

    def stop(self) -> None:
        """Nothing: the threads ask for themselves whether to stop."""

    def close(self) -> None:
        """Waits for what is running."""
        self._threads.shutdown()

    def _attempt(self, job: Job) -> None:
        gpu = self._places.get()
        try:
            for _ in range(job.attempts - 1):
                try:
                    return execute(job, self._folder, gpu, self._stopping)
                except RunFailed:
                    continue
            return execute(job, self._folder, gpu, self._stopping)
        finally:
            self._places.put(gpu)
