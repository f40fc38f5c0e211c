"""The ratios of the CPU benchmark, by hand."""

from __future__ import annotations

import tuner_cpu


def test_ratios_are_taken_within_a_round() -> None:
    # The machine is twice as slow in the second round, for both arms alike: the ratio does not move.
    wall = {"rsa": [7.0, 14.0, 8.0], "full": [10.0, 20.0, 10.0]}
    busy = {"rsa": [6.0, 6.0, 6.0], "full": [12.0, 12.0, 12.0]}
    (found,) = tuner_cpu.ratios(wall, busy)
    assert found["ratio"] == "rsa / full"
    assert (found["time"], found["processor_time"]) == (0.7, 0.5)
    assert found["quartiles"] == [0.7, 0.8]
    assert (found["time_target"], found["time_met"]) == (0.75, True)


def test_arms_without_a_promise_have_no_target() -> None:
    (found,) = tuner_cpu.ratios({"rsa": [1.0], "shira": [2.0]}, {"rsa": [1.0], "shira": [2.0]})
    assert (found["time"], found["time_target"], found["time_met"]) == (0.5, None, None)
