"""What an epoch took of the machine, of the process that trains: names as MLflow's system metrics have them.

No thread looks on: the process asks before and after. Its loaders' processes count with it.
"""

import contextlib
import time
from collections.abc import Callable
from dataclasses import replace

import psutil
import torch

from trainables.training import Report

MEGABYTE = 1e6


def measured(epoch: Callable[[], Report]) -> Report:
    """The epoch's report, with:

    system/cpu_utilization_percentage         100 is one core
    system/memory_usage_megabytes             resident, at its end
    system/system_memory_usage_percentage     of the machine, at its end
    system/gpu_0_memory_usage_megabytes       reserved at most, of the card that torch uses
    system/gpu_0_memory_usage_percentage      in use by everybody, at its end
    system/gpu_0_utilization_percentage       at its end, where nvidia-ml-py is installed
    """
    on_card = torch.cuda.is_available()
    if on_card:
        torch.cuda.reset_peak_memory_stats()
    wall, cpu = time.perf_counter(), _cpu_s()
    report = epoch()
    taken = (_cpu_s() - cpu) / (time.perf_counter() - wall)
    memory = _summed(lambda process: process.memory_info().rss)
    found = {
        "cpu_utilization_percentage": 100 * max(taken, 0.0),
        "memory_usage_megabytes": memory / MEGABYTE,
        "system_memory_usage_percentage": psutil.virtual_memory().percent,
        **(_of_card() if on_card else {}),
    }
    return replace(report, metrics={**report.metrics, **{f"system/{key}": value for key, value in found.items()}})


def card() -> str:
    """The name of the GPU that this process trains on; "" without one."""
    return torch.cuda.get_device_name() if torch.cuda.is_available() else ""


def _of_card() -> dict[str, float]:
    free, total = torch.cuda.mem_get_info()
    found = {
        "gpu_0_memory_usage_megabytes": torch.cuda.max_memory_reserved() / MEGABYTE,
        "gpu_0_memory_usage_percentage": 100 * (1 - free / total),
    }
    with contextlib.suppress(ImportError, RuntimeError):
        found["gpu_0_utilization_percentage"] = float(torch.cuda.utilization())
    return found


def _cpu_s() -> float:
    """CPU seconds of this process and those that it has started, the ended ones among them."""
    own = psutil.Process().cpu_times()
    return own.children_user + own.children_system + _summed(lambda process: sum(process.cpu_times()[:2]))


def _summed(read: Callable[[psutil.Process], float]) -> float:
    """Over this process and those below it; one that goes away meanwhile is left out."""
    own, total = psutil.Process(), 0.0
    for process in (own, *own.children(recursive=True)):
        with contextlib.suppress(psutil.Error):
            total += read(process)
    return total
