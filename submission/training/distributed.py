"""The processes that train one run together (`torchrun`), each with a part of every batch.

They compute what one process would: all draw the same random numbers and take their own rows of
them, and the terms of a loss that depend on the whole batch (total correlation, covariances, MMD)
see the latents of all of it.

`DistributedDataParallel` averages the gradients of the processes: it sums them and divides by the
world size. What every process computes alike from all rows (a loss of the gathered latents) would
so be divided once too often, since each process backpropagates to its own rows only. So `gather`
and `mean` hand back gradients that are the world size times too large, which the average undoes.
"""

import gc
import os
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

from submission.errors import UserError

Value = TypeVar("Value")


class Group:
    """This process's place among those that train the run; alone, it does nothing.

    Args:
        rank: Its number; 0 leads: it decides, measures, writes and shows.
        world_size: The number of processes.

    Attributes:
        rank: As given.
        world_size: As given.
    """

    def __init__(self, rank: int = 0, world_size: int = 1) -> None:
        self.rank = rank
        self.world_size = world_size

    @classmethod
    def join(cls, on_gpu: bool) -> "Group":
        """Meets the processes that torchrun has started; without it, this one is alone."""
        size = int(os.environ.get("WORLD_SIZE", "1"))
        if size == 1:
            return cls()
        if on_gpu:
            rank, gpus = int(os.environ["LOCAL_RANK"]), torch.cuda.device_count()
            if rank >= gpus:
                raise UserError(
                    f"PyTorch sees {gpus} GPU(s) on this machine, one for each process: give "
                    f"torchrun --nproc-per-node {gpus}"
                )
            torch.cuda.set_device(rank)
        # Decisions travel through gloo, so that no process waits for its GPU to hear of one.
        dist.init_process_group("cpu:gloo,cuda:nccl" if on_gpu else "gloo")
        return cls(dist.get_rank(), size)

    def leave(self) -> None:
        """Ends the meeting."""
        if self.world_size > 1:
            # A wrapped module lies in a circle of references; where one outlives the meeting, the
            # process may abort as it ends ("terminate called without an active exception").
            gc.collect()
            dist.destroy_process_group()

    @property
    def is_leader(self) -> bool:
        """Whether this process is the one that decides and writes."""
        return self.rank == 0

    def broadcast(self, value: Value) -> Value:
        """The leader's value, which all others take over. Every process has to call this."""
        if self.world_size == 1:
            return value
        values: list[Any] = [value]
        dist.broadcast_object_list(values, src=0, device=torch.device("cpu"))
        agreed: Value = values[0]
        return agreed

    def first(self, value: Value | None) -> Value | None:
        """The first process's value that is true, which all take over; None if there is none.

        Every process has to call this.
        """
        values = [value]
        if self.world_size > 1:
            values = [None] * self.world_size
            dist.all_gather_object(values, value)
        return next(filter(None, values), None)

    def share_of(self, batch_size: int) -> int:
        """Rows of a batch that fall to each process.

        Raises:
            UserError: The processes can't share it evenly.
        """
        if batch_size % self.world_size:
            raise UserError(
                f"trainer.batch_size is {batch_size}: give a multiple of the "
                f"{self.world_size} processes"
            )
        return batch_size // self.world_size

    def rows(self, whole: Tensor) -> Tensor:
        """This process's rows of a tensor `[batch, …]` that all have drawn alike."""
        share = self.share_of(len(whole))
        return whole[self.rank * share : (self.rank + 1) * share]

    def wrap(self, module: nn.Module) -> nn.Module:
        """The module with gradients that are averaged over the group."""
        if self.world_size == 1:
            return module
        return nn.parallel.DistributedDataParallel(module)

    def gather(self, rows: Tensor) -> Tensor:
        """All the group's rows `[batch, …]`, from each process's own; gradients flow back."""
        if self.world_size == 1:
            return rows
        whole: Tensor = _Gather.apply(rows, self)
        return whole

    def mean(self, value: Tensor) -> Tensor:
        """The group's mean of a scalar; gradients flow back."""
        if self.world_size == 1:
            return value
        mean: Tensor = _Mean.apply(value, self.world_size)
        return mean


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(context: Any, rows: Tensor, group: Group) -> Tensor:
        context.group = group
        parts = [torch.empty_like(rows) for _ in range(group.world_size)]
        dist.all_gather(parts, rows.contiguous())
        return torch.cat(parts)

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> tuple[Tensor, None]:
        gradient = gradient.contiguous().clone()
        dist.all_reduce(gradient)
        return context.group.rows(gradient), None


class _Mean(torch.autograd.Function):
    @staticmethod
    def forward(context: Any, value: Tensor, size: int) -> Tensor:
        mean = value.clone()
        dist.all_reduce(mean)
        return mean / size

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return gradient, None
