"""Meters read from files as Linux shows them, from NVML's own names, and energy against integrals worked out by hand."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from edgebind import power
from edgebind.errors import EdgebindError, MissingDependencyError, OptionError
from edgebind.power import state
from edgebind.power.hwmon import HwmonMeter
from edgebind.power.meter import Reading, total_watts
from edgebind.power.nvml import NvmlMeter
from edgebind.power.rapl import RaplMeter
from edgebind.power.recorder import Recorder, joules

SECOND = 1_000_000_000


def _write(root: Path, files: dict[str, object]) -> Path:
    for name, value in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{value}\n")
    return root


ORIN_NANO = {
    "hwmon0/name": "thermal-fan-est",
    "hwmon1/name": "ina3221",
    "hwmon1/in1_label": "VDD_IN",
    "hwmon1/in1_input": 5040,
    "hwmon1/curr1_input": 1104,
    "hwmon1/in2_label": "VDD_CPU_GPU_CV",
    "hwmon1/in2_input": 5032,
    "hwmon1/curr2_input": 104,
    "hwmon1/in7_label": "sum of shunt voltages",
    "hwmon1/in7_input": 6,
}


def test_volts_times_amperes_of_an_ina3221(tmp_path: Path) -> None:
    meter = HwmonMeter(_write(tmp_path, ORIN_NANO))
    watts = meter.read().watts
    assert set(watts) == {"VDD_IN", "VDD_CPU_GPU_CV"}
    assert total_watts(watts) == pytest.approx(5.040 * 1.104)


def test_power_monitors_that_do_not_add_up_are_refused(tmp_path: Path) -> None:
    with pytest.raises(MissingDependencyError, match="no INA3221 power monitor"):
        HwmonMeter(tmp_path)
    part = {name: value for name, value in ORIN_NANO.items() if "1_" not in name}
    with pytest.raises(MissingDependencyError, match=r"not known to add up \(got \['VDD_CPU_GPU_CV'\]\)"):
        HwmonMeter(_write(tmp_path, part))


RAPL = {
    "intel-rapl:0/name": "package-0",
    "intel-rapl:0/energy_uj": 900_000,
    "intel-rapl:0/max_energy_range_uj": 1_000_000,
    "intel-rapl:0:0/name": "core",
    "intel-rapl:0:0/energy_uj": 5,
}


def test_a_counter_that_begins_again_is_grown_on(tmp_path: Path) -> None:
    meter = RaplMeter(_write(tmp_path, RAPL))
    assert meter.read().joules == {"package-0": 0.0}
    (tmp_path / "intel-rapl:0/energy_uj").write_text("100000\n")
    assert meter.read().joules == {"package-0": pytest.approx(0.2)}
    (tmp_path / "intel-rapl:0/energy_uj").write_text("400000\n")
    assert meter.read().joules == {"package-0": pytest.approx(0.5)}


def test_no_counters_are_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(MissingDependencyError, match="no RAPL counters"):
        RaplMeter(tmp_path)
    _write(tmp_path, {"intel-rapl:0/name": "package-0"})
    with pytest.raises(MissingDependencyError, match="may not be read"):
        RaplMeter(tmp_path)


class _NvmlError(Exception):
    pass


def _nvml(**answers: Any) -> Any:
    """NVML as a card with these answers shows it; every other question fails as on a card that has none."""
    pynvml = pytest.importorskip("pynvml")

    def ask(name: str) -> Any:
        def answer(*_: object) -> Any:
            if name in answers:
                return answers[name]
            raise _NvmlError("Not Supported")

        return answer

    questions = {name: ask(name) for name in dir(pynvml) if name.startswith("nvmlDevice")}
    constants = {name: value for name, value in vars(pynvml).items() if isinstance(value, int)}
    starts: dict[str, Any] = {"NVMLError": _NvmlError, "nvmlInit": lambda: None, "nvmlShutdown": lambda: None}
    return SimpleNamespace(**{**questions, **constants, **starts})


def test_a_card_tells_energy_power_and_what_holds_it_back() -> None:
    thermal_and_idle = 0x20 | 0x1
    library = _nvml(
        nvmlDeviceGetHandleByIndex="card",
        nvmlDeviceGetTotalEnergyConsumption=12_500,
        nvmlDeviceGetPowerUsage=71_000,
        nvmlDeviceGetCurrentClocksThrottleReasons=thermal_and_idle,
    )
    meter = NvmlMeter(library=library)
    reading = meter.read()
    assert (reading.joules, reading.watts, reading.clocks_mhz) == ({"gpu": 12.5}, {"gpu": 71.0}, {})
    assert meter.throttled() == ["SwThermalSlowdown"]


def test_a_card_that_tells_nothing_is_no_meter() -> None:
    with pytest.raises(MissingDependencyError, match="neither energy nor power"):
        NvmlMeter(library=_nvml(nvmlDeviceGetHandleByIndex="card"))
    with pytest.raises(MissingDependencyError, match="NVML shows no GPU 0"):
        NvmlMeter(library=_nvml())


def test_nvml_without_a_driver_is_one_clear_line() -> None:
    pytest.importorskip("pynvml")
    if power.find("nvml")[0] is not None:
        pytest.skip("this machine has a GPU")
    assert "NVML does not start" in power.find("nvml")[1]["nvml"]


def test_power_is_integrated_by_trapezoids_and_cut_at_both_ends() -> None:
    times = [0, SECOND, 3 * SECOND]
    readings = [Reading({"VDD_IN": watts}) for watts in (2.0, 4.0, 4.0)]
    assert joules(times, readings, 0, 3 * SECOND) == pytest.approx(3.0 + 8.0)
    assert joules(times, readings, SECOND, 2 * SECOND) == pytest.approx(4.0)
    steady = [Reading({"gpu": 10.0}) for _ in times]
    assert joules(times, steady, SECOND // 2, 3 * SECOND // 2) == pytest.approx(10.0)


def test_counters_are_taken_before_power() -> None:
    times = [0, 2 * SECOND]
    readings = [Reading({"gpu": 1.0}, {"a": 5.0, "b": 1.0}), Reading({"gpu": 1.0}, {"a": 9.0, "b": 2.0})]
    assert joules(times, readings, 0, 2 * SECOND) == pytest.approx(5.0)
    assert joules(times, readings, 0, SECOND) == pytest.approx(2.5)


def test_rails_that_are_a_part_give_no_energy() -> None:
    with pytest.raises(EdgebindError, match="not known to add up"):
        joules([0, SECOND], [Reading({"VDD_SOC": 1.0})] * 2, 0, SECOND)


class _Broken:
    name = covers = "broken"

    def __init__(self) -> None:
        self.looks = 0

    def read(self) -> Reading:
        self.looks += 1
        if self.looks > 1:
            raise OSError("gone")
        return Reading({"VDD_IN": 1.0})

    def close(self) -> None:
        pass


def test_a_meter_that_fails_meanwhile_is_told() -> None:
    with Recorder(_Broken(), period_s=0.0) as recorder:
        recorder._thread.join()
        with pytest.raises(EdgebindError, match="the power meter broken failed: gone"):
            recorder.joules(0, 1)


def test_meters_are_asked_for_by_name() -> None:
    with pytest.raises(OptionError, match="unknown power meter"):
        power.find("wattmeter")
    meter, reasons = power.find()
    assert set(reasons) == set(power.NAMES[: len(reasons)])
    assert meter is None or meter.name == power.NAMES[len(reasons)]


# ------------------------------------------------------------------------------------------------ the machine's state


@pytest.mark.parametrize(
    ("text", "mode"),
    [
        ("NV Power Mode: 25W\n1\n", "25W (1)"),
        ("NV Fan Mode:quiet\nNV Power Mode: MAXN\n0\n", "MAXN (0)"),
        ("NVPM VERB: Config file: /etc/nvpmodel.conf\nNVPM VERB: Current mode: NV Power Mode: 15W\n0\n", "15W (0)"),
        ("NVPM ERROR: Error opening /var/lib/nvpmodel/status\n", None),
    ],
)
def test_the_power_mode_of_a_jetson(text: str, mode: str | None) -> None:
    assert state.parse_power_mode(text) == mode


def test_clocks_temperatures_and_what_held_the_machine_back(tmp_path: Path) -> None:
    _write(
        tmp_path,
        {
            "devices/system/cpu/cpu0/cpufreq/scaling_cur_freq": 1_510_400,
            "devices/system/cpu/cpu1/cpufreq/scaling_cur_freq": 729_600,
            "class/devfreq/17000000.gpu/cur_freq": 624_750_000,
            "class/thermal/thermal_zone0/type": "cpu-thermal",
            "class/thermal/thermal_zone0/temp": 48_468,
            "class/thermal/thermal_zone1/type": "cv0-thermal",
            "class/thermal/thermal_zone1/temp": -256_000,
            "class/hwmon/hwmon2/oc1_event_cnt": 3,
            "class/hwmon/hwmon2/oc3_event_cnt": 10,
        },
    )
    before = state.describe(tmp_path)
    assert before["clocks_mhz"] == {"cpu": 1510.4, "17000000.gpu": 624.75}
    assert before["temperatures_c"] == {"cpu": 48.468}
    _write(tmp_path, {"class/hwmon/hwmon2/oc3_event_cnt": 12})
    assert state.held_back(before, state.describe(tmp_path)) == {"oc3": 2}
    assert state.held_back(before, before) == {}


def test_this_machine_is_described_without_a_fault() -> None:
    assert set(state.describe()) <= {"power_mode", "clocks_mhz", "temperatures_c", "throttles"}
    assert np.isfinite(list(state.describe().get("clocks_mhz", {}).values())).all()
