"""How benchmarks compare: ratios of medians, measured in turns in the same run."""

import gc
from collections.abc import Callable
from statistics import median
from time import perf_counter

__all__ = ["ratio_to", "record"]


def ratio_to(
    baseline: Callable[[], object],
    ours: Callable[[], object],
    *,
    rounds: int,
    collect: bool = False,
    clock: Callable[[], float] = perf_counter,
) -> dict:
    """The medians in seconds of both, called in turns, and what ours is as a multiple of the baseline.

    The first round is not counted: it warms caches and makes what is made lazily.

    Args:
        baseline: What is compared with.
        ours: What is measured.
        rounds: How many times each is called.
        collect: Clear away before each call what earlier calls left; for calls that make much.
        clock: What tells the seconds; `time.process_time` those that this process works.
    """
    times: dict[Callable[[], object], list[float]] = {baseline: [], ours: []}
    for _ in range(rounds + 1):
        for call, taken in times.items():
            if collect:
                gc.collect()
            start = clock()
            call()
            taken.append(clock() - start)
    of_baseline, of_ours = (median(taken[1:]) for taken in times.values())
    return {"baseline": of_baseline, "ours": of_ours, "ratio": of_ours / of_baseline}


def record(benchmark, **figures: float) -> None:
    """Put figures into the benchmark's report, and show them."""
    benchmark.extra_info.update(figures)
    shown = ", ".join(f"{name} {figure:.4g}" for name, figure in figures.items())
    print(f"\n{benchmark.name}: {shown}")  # noqa: T201 - what a benchmark is run for
