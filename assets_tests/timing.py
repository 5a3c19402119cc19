"""Cases timed side by side: the rounds of all cases in turn, shown as ratios to the first."""

import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from rich import box
from rich.console import Console
from rich.table import Table

Work = Callable[[], object]


def interleaved(
    cases: Mapping[str, Work], rounds: int, *, clock: Callable[[], Any] = time.process_time
) -> dict[str, list[Any]]:
    """What the clock tells of each round, after one that is not counted: seconds, unless told otherwise of the CPU.

    Work that another process does measures itself there, and returns that, as an array.
    """
    times: dict[str, list[Any]] = {name: [] for name in cases}
    for counted in range(-1, rounds):
        for name, work in cases.items():
            begin = clock()
            told = work()
            if counted >= 0:
                times[name].append(told if isinstance(told, np.ndarray) else clock() - begin)
    return times


def show(title: str, times: Mapping[str, list[float]], *, heading: str = "CPU ms") -> None:
    """Medians, and the ratios of rounds to those of the first case."""
    base = next(iter(times.values()))
    table = Table(title=title, box=box.SIMPLE_HEAD)
    for name in ("case", heading, "ratio", "min … max"):
        table.add_column(name, justify="left" if name == "case" else "right")
    for name, seconds in times.items():
        ratios = sorted(mine / theirs for mine, theirs in zip(seconds, base, strict=False))
        spread = f"{ratios[0]:.2f} … {ratios[-1]:.2f}"
        table.add_row(name, f"{statistics.median(seconds) * 1e3:,.0f}", f"{statistics.median(ratios):.2f}", spread)
    Console().print(table)
