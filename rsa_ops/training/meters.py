"""What a stretch of work took: wall and CPU seconds, peak memory of host and device, energy with its source."""

from __future__ import annotations

import os
import resource
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from rsa_ops.core.measurements import Energy, kilowatt_hours

CPU_WATTS_A_CORE = 8.0
"""Fallback power of one busy server core. Cloud processors of 2020-2025 list 180-400 W for 28-96 cores,
that is 4-8 W a core; the upper end is taken so that the estimate does not flatter. Marked as an estimate."""

NVML_UNCERTAINTY = 0.05
"""NVIDIA's NVML reference on nvmlDeviceGetPowerUsage: within 5 % of the power drawn. The counter has no figure."""

NVML_SHORT_UNCERTAINTY = 0.75
SHORT_SECONDS = 30.0
"""In a window of 5 s the counter and the sampled power of one GPU gave 187 and 327 J (ml-energy/zeus, issue 181):
75 % apart. Windows below half a minute are said to be as bad as that."""

RAPL_UNCERTAINTY = 0.1
"""No maker states one. Khan et al. 2018 (RAPL in Action) find that the package counter of Haswell and later follows
a meter at the plug; a tenth is our own allowance. Memory, board and power supply are not in it."""

ESTIMATE_UNCERTAINTY = 0.5
"""From 8 W a core down to 4 W, and as far up."""


@dataclass(frozen=True)
class Usage:
    """The reading of a `Meter`. `peak_device_memory_bytes` is None on a CPU."""

    wall_seconds: float
    cpu_seconds: float
    peak_host_memory_bytes: int
    peak_device_memory_bytes: int | None
    energy: Energy


class Meter:
    """Measures a `with` block in this process; read `usage` afterwards.

    Host memory is the peak resident set of the block: on Linux the kernel's high-water mark is reset at
    the start; elsewhere the peak of the process is taken, which may be older than the block.
    """

    def __init__(self, device: str) -> None:
        self._device = device
        self.usage: Usage | None = None

    def __enter__(self) -> Self:
        _reset_peak_host_memory()
        if self._device == "cuda":
            import torch

            torch.cuda.synchronize()
            torch.cuda.reset_peak_memory_stats()
        self._counter = _EnergyCounter(self._device)
        self._cpu = _cpu_seconds()
        self._wall = time.perf_counter()
        return self

    def __exit__(self, *_: object) -> None:
        peak_device = None
        if self._device == "cuda":
            import torch

            torch.cuda.synchronize()
            peak_device = int(torch.cuda.max_memory_allocated())
        wall = time.perf_counter() - self._wall
        cpu = _cpu_seconds() - self._cpu
        self.usage = Usage(
            wall_seconds=wall,
            cpu_seconds=cpu,
            peak_host_memory_bytes=_peak_host_memory(),
            peak_device_memory_bytes=peak_device,
            energy=self._counter.read(cpu_seconds=cpu, wall_seconds=wall),
        )


def _cpu_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def _reset_peak_host_memory() -> None:
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return  # not Linux, or not allowed: the process peak stands in


def _peak_host_memory() -> int:
    try:
        status = Path("/proc/self/status").read_text()
    except OSError:
        unit = 1 if os.uname().sysname == "Darwin" else 1024
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
    line = next(line for line in status.splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) * 1024


class _EnergyCounter:
    """NVML's energy counter on a GPU, RAPL on a CPU that shows it, else CPU seconds x an assumed power.

    A GPU without a counter (an old one, a MIG slice) gives no number: its host's CPU seconds say nothing of it.
    """

    def __init__(self, device: str) -> None:
        self._device = device
        self._nvml = _nvml_handle() if device == "cuda" else None
        self._rapl = _rapl_files() if device != "cuda" else []
        self._start_mj = self._read_nvml()
        self._start_uj = self._read_rapl()

    def read(self, *, cpu_seconds: float, wall_seconds: float) -> Energy:
        if self._nvml is not None:
            return Energy(
                energy_kwh=(self._read_nvml() - self._start_mj) / 3.6e9,
                source="nvml counter",
                note="GPU board only; the host is not in it",
                relative_uncertainty=NVML_UNCERTAINTY if wall_seconds >= SHORT_SECONDS else NVML_SHORT_UNCERTAINTY,
            )
        if self._device == "cuda":
            return Energy(energy_kwh=None, source="not measured", note="this GPU shows no energy counter")
        used = self._read_rapl() - self._start_uj
        if self._rapl and used > 0:
            note = "processor packages, everything that ran on them"
            return Energy(
                energy_kwh=used / 3.6e12,
                source="rapl counter",
                note=note,
                relative_uncertainty=RAPL_UNCERTAINTY,
            )
        return Energy(
            energy_kwh=kilowatt_hours(CPU_WATTS_A_CORE, cpu_seconds),
            source="estimate from processor power",
            note=f"no counter readable here; CPU seconds x {CPU_WATTS_A_CORE:g} W a core (assumed)",
            relative_uncertainty=ESTIMATE_UNCERTAINTY,
        )

    def _read_nvml(self) -> int:
        if self._nvml is None:
            return 0
        import pynvml

        return int(pynvml.nvmlDeviceGetTotalEnergyConsumption(self._nvml))

    def _read_rapl(self) -> int:
        return sum(int(file.read_text()) for file in self._rapl)


def _nvml_handle() -> Any:
    try:
        import pynvml
    except ImportError:
        return None
    try:
        pynvml.nvmlInit()
        handle = pynvml.nvmlDeviceGetHandleByIndex(0)
        pynvml.nvmlDeviceGetTotalEnergyConsumption(handle)
    except pynvml.NVMLError:
        return None
    return handle


def _rapl_files() -> list[Path]:
    files = sorted(Path("/sys/class/powercap").glob("intel-rapl:?/energy_uj"))
    return [file for file in files if os.access(file, os.R_OK)]
