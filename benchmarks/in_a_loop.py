"""What scoring a module costs in a training loop: the first call, and those that follow.

    .venv/bin/python benchmarks/in_a_loop.py [--calls 5]

In a call's own numbers, encoding and the metrics are what has to be done each time. The rest is
what a first call does once for all that follow: libraries are imported, compiled code is read, the
data set is opened.
"""

import argparse
import sys
import time
from pathlib import Path

import torch

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import evaluator


def encoder() -> torch.nn.Module:
    """Of the paper's size, with 10 latents."""
    layers: list[torch.nn.Module] = []
    for before, after in ((3, 32), (32, 32), (32, 64), (64, 64)):
        layers += [torch.nn.Conv2d(before, after, 4, stride=2, padding=1), torch.nn.ReLU()]
    layers += [torch.nn.Flatten(), torch.nn.Linear(64 * 4 * 4, 256), torch.nn.ReLU()]
    return torch.nn.Sequential(*layers, torch.nn.Linear(256, 10))


def main() -> None:
    """Prints a table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--calls", type=int, default=5)
    parser.add_argument("--dataset", default="mpi3d_mini")
    options = parser.parse_args()
    torch.manual_seed(0)
    module = encoder()
    print("| call | seconds | encoding and metrics | the rest | share of the rest |")
    print("| --- | --- | --- | --- | --- |")
    for call in range(1, options.calls + 1):
        begun = time.perf_counter()
        evaluation = evaluator.score(module, options.dataset)
        seconds = time.perf_counter() - begun
        needed = evaluation.encoding_seconds
        needed += sum(result.seconds for result in evaluation.of_first_seed())
        rest = seconds - needed
        print(
            f"| {call} | {seconds:.2f} | {needed:.2f} | {rest:.2f} | {rest / seconds:.0%} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
