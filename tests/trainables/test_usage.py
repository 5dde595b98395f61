"""What an epoch took of the machine."""

import mmap
import subprocess
import sys
import time
from types import SimpleNamespace

import psutil
import pytest
import torch

from trainables import usage
from trainables.training import Report

BUSY = "import time\nwhile time.process_time() < 0.4: pass"


def test_cpu_and_memory_of_the_process_and_its_children() -> None:
    held = []

    def epoch() -> Report:
        subprocess.run([sys.executable, "-c", BUSY], check=True)  # it has ended when it is over
        fresh = mmap.mmap(-1, 50_000_000)  # memory that this process has freed before may be used again
        fresh.write(b"x" * 50_000_000)
        held.append(fresh)
        until = time.process_time() + 0.2
        while time.process_time() < until:
            pass
        return Report(3, {"val/map_at_r": 0.5})

    before, started = psutil.Process().memory_info().rss, time.perf_counter()
    report = usage.measured(epoch)
    wall = time.perf_counter() - started
    metrics = {key.removeprefix("system/"): value for key, value in report.metrics.items()}
    assert report.epoch == 3 and metrics.pop("val/map_at_r") == 0.5
    assert metrics["cpu_utilization_percentage"] >= 100 * 0.55 / wall
    assert metrics["memory_usage_megabytes"] > before / 1e6 + 20
    assert 0 < metrics["system_memory_usage_percentage"] < 100
    assert len(metrics) == 3 and usage.card() == ""


def test_a_card_is_asked_for_its_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """A card of a test's own: no machine of these tests has one."""
    asked: list[str] = []
    card = {
        "is_available": lambda: True, "reset_peak_memory_stats": lambda: asked.append("reset"),
        "mem_get_info": lambda: (30_000_000, 40_000_000), "max_memory_reserved": lambda: 5_000_000,
        "get_device_name": lambda: "H100", "utilization": lambda: 70,
    }  # fmt: skip
    monkeypatch.setattr(usage, "torch", SimpleNamespace(cuda=SimpleNamespace(**card)))
    metrics = usage.measured(lambda: Report(1, {})).metrics
    assert asked == ["reset"] and usage.card() == "H100"
    assert metrics["system/gpu_0_memory_usage_megabytes"] == 5.0
    assert metrics["system/gpu_0_memory_usage_percentage"] == 25.0
    assert metrics["system/gpu_0_utilization_percentage"] == 70.0

    def not_installed() -> int:
        raise ModuleNotFoundError("pynvml")

    monkeypatch.setattr(usage.torch.cuda, "utilization", not_installed)
    assert "system/gpu_0_utilization_percentage" not in usage.measured(lambda: Report(1, {})).metrics


def test_what_is_asked_of_torch_is_there() -> None:
    for name in ("reset_peak_memory_stats", "mem_get_info", "max_memory_reserved", "get_device_name", "utilization"):
        assert callable(getattr(torch.cuda, name))
