"""Tiles on several threads, one of torch's each: no thread waits inside an operation for the others."""

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch

MOST = 16  # each holds some tiles of scores
Task = TypeVar("Task")


def for_each(work: Callable[[Task], None], tasks: Iterable[Task], device: torch.device) -> None:
    """work(task) of all, in any order; on a CPU on as many threads as torch may use here, up to 16.

    Shared operations of a few hundred microseconds spend as much time again in waiting, on a busy machine many times
    that. The first exception is raised, after the tasks that had begun.
    """
    tasks, threads = list(tasks), torch.get_num_threads()
    workers = min(threads, len(tasks), MOST)
    if device.type != "cpu" or workers <= 1:
        for task in tasks:
            work(task)
        return
    pool = ThreadPoolExecutor(workers, initializer=torch.set_num_threads, initargs=(1,))
    try:
        for _ in pool.map(work, tasks):
            pass
    finally:
        pool.shutdown(cancel_futures=True)
        torch.set_num_threads(threads)
