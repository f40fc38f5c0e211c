"""Meters read what the machine used, and say where a number comes from."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pynvml
import pytest
import torch

from rsa_ops.training import meters
from rsa_ops.training.meters import CPU_WATTS_A_CORE, Meter

MIB = 2**20


def used(meter: Meter) -> meters.Usage:
    assert meter.usage is not None
    return meter.usage


def test_waiting_takes_wall_time_and_no_cpu_time() -> None:
    with Meter("cpu") as meter:
        time.sleep(0.3)
    assert 0.3 <= used(meter).wall_seconds < 1
    assert used(meter).cpu_seconds < 0.2
    assert used(meter).peak_device_memory_bytes is None


def test_working_takes_cpu_time() -> None:
    with Meter("cpu") as meter:
        end = time.process_time() + 0.3
        while time.process_time() < end:
            pass
    assert 0.3 <= used(meter).cpu_seconds < 0.6
    assert used(meter).wall_seconds >= 0.29


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="the peak can be reset on Linux alone")
def test_the_peak_is_of_the_block_and_not_of_what_was_before() -> None:
    before = np.ones(400 * MIB, dtype=np.uint8)
    del before
    with Meter("cpu") as empty:
        pass
    with Meter("cpu") as full:
        inside = np.ones(200 * MIB, dtype=np.uint8)
        del inside
    grown = used(full).peak_host_memory_bytes - used(empty).peak_host_memory_bytes
    assert 190 * MIB < grown < 230 * MIB


def test_without_a_counter_energy_is_an_estimate_that_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(meters, "_rapl_files", list)
    with Meter("cpu") as meter:
        sum(range(10**6))
    energy = used(meter).energy
    assert energy.source == "estimate from processor power"
    assert energy.energy_kwh == pytest.approx(used(meter).cpu_seconds * CPU_WATTS_A_CORE / 3.6e6)
    assert "assumed" in energy.note


def test_a_counter_of_microjoules_becomes_kilowatt_hours(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    # 1 kWh is 3.6e6 J (SI); two packages that each used 1.8 MJ.
    files = [tmp_path / "a", tmp_path / "b"]
    for file in files:
        file.write_text("1000\n")
    monkeypatch.setattr(meters, "_rapl_files", lambda: files)
    with Meter("cpu") as meter:
        for file in files:
            file.write_text(f"{1000 + 1_800_000_000_000}\n")
    assert used(meter).energy.source == "rapl counter"
    assert used(meter).energy.energy_kwh == pytest.approx(1.0)


def test_a_counter_that_ran_over_is_not_believed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "a"
    file.write_text("9000\n")
    monkeypatch.setattr(meters, "_rapl_files", lambda: [file])
    with Meter("cpu") as meter:
        file.write_text("10\n")
    assert used(meter).energy.source == "estimate from processor power"


def test_a_counter_of_millijoules_on_the_board_becomes_kilowatt_hours(monkeypatch: pytest.MonkeyPatch) -> None:
    # NVML's reference: nvmlDeviceGetTotalEnergyConsumption answers in mJ; 1 kWh is 3.6e9 mJ (SI).
    readings = iter([7_000_000_000, 7_000_000_000 + 1_800_000_000])
    monkeypatch.setattr(meters, "_nvml_handle", object)
    monkeypatch.setattr(pynvml, "nvmlDeviceGetTotalEnergyConsumption", lambda handle: next(readings))
    energy = meters._EnergyCounter("cuda").read(cpu_seconds=99.0, wall_seconds=60.0)
    assert energy.energy_kwh == pytest.approx(0.5)
    assert energy.source == "nvml counter"
    assert "host is not in it" in energy.note


@pytest.mark.skipif(torch.cuda.is_available(), reason="here a GPU shows its counter")
def test_a_gpu_without_a_counter_has_no_energy_rather_than_that_of_its_host() -> None:
    energy = meters._EnergyCounter("cuda").read(cpu_seconds=3600.0, wall_seconds=60.0)
    assert (energy.energy_kwh, energy.source) == (None, "not measured")
    assert "counter" in energy.note


def test_a_block_that_fails_is_measured_all_the_same() -> None:
    meter = Meter("cpu")
    with pytest.raises(ZeroDivisionError), meter:
        _ = 1 / 0
    assert used(meter).wall_seconds > 0


def test_nothing_is_read_before_the_block_has_ended() -> None:
    meter = Meter("cpu")
    assert meter.usage is None
    with meter:
        assert meter.usage is None
    assert meter.usage is not None


def test_every_figure_of_energy_says_how_far_it_may_be_off(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(meters, "_rapl_files", list)
    assert meters._EnergyCounter("cpu").read(cpu_seconds=1.0, wall_seconds=1.0).relative_uncertainty == 0.5
    counter = tmp_path / "a"
    counter.write_text("0\n")
    monkeypatch.setattr(meters, "_rapl_files", lambda: [counter])
    rapl = meters._EnergyCounter("cpu")
    counter.write_text("1\n")
    assert rapl.read(cpu_seconds=1.0, wall_seconds=1.0).relative_uncertainty == 0.1


@pytest.mark.parametrize(("seconds", "off"), [(30.0, 0.05), (29.9, 0.75)])
def test_a_counter_of_the_board_is_trusted_less_in_a_short_window(
    seconds: float, off: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    # ml-energy/zeus issue 181: 187 J by the counter, 327 J by the power, in 5 s: 327 / 187 - 1 = 0.75
    monkeypatch.setattr(meters, "_nvml_handle", object)
    monkeypatch.setattr(pynvml, "nvmlDeviceGetTotalEnergyConsumption", lambda handle: 1)
    found = meters._EnergyCounter("cuda").read(cpu_seconds=1.0, wall_seconds=seconds)
    assert found.relative_uncertainty == off
    assert round(327 / 187 - 1, 2) == meters.NVML_SHORT_UNCERTAINTY
