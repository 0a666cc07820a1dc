"""Lines that tegrastats printed on real boards, and what they say.

Each was recorded and published by its board's owner; long lists of engines that are off are cut.
"""

from __future__ import annotations

import stat
import sys
from pathlib import Path

import pytest

from edgebind.errors import MissingDependencyError
from edgebind.power import tegrastats
from edgebind.power.meter import total_watts

LINES: dict[str, tuple[str, dict[str, float | None]]] = {
    "Orin NX 8 GB, JetPack 5": (
        "01-24-2024 09:17:09 RAM 3503/7337MB (lfb 7x1MB) SWAP 430/3668MB (cached 1MB) "
        "CPU [11%@729,13%@729,9%@729,18%@729,off,off] EMC_FREQ 0%@2133 GR3D_FREQ 0%@305 GR3D2_FREQ 0%@0 VIC_FREQ 115 "
        "APE 174 CV0@42.718C CPU@44.093C SOC2@42.625C SOC0@43.281C CV1@42.25C GPU@41.343C tj@46.968C SOC1@46.968C "
        "CV2@42.875C VDD_IN 4915mW/4915mW VDD_CPU_GPU_CV 449mW/449mW VDD_SOC 1431mW/1431mW",
        {"total": 4.915, "VDD_CPU_GPU_CV": 0.449, "cpu": 729, "gr3d": 305, "emc": 2133, "tj": 46.968, "cv2": 42.875},
    ),
    "Orin NX 16 GB, JetPack 6": (
        "07-28-2026 20:28:42 RAM 3941/15656MB (lfb 6x4MB) SWAP 0/24212MB (cached 0MB) "
        "CPU [1%@1984,7%@1984,3%@1984,2%@1984,0%@1984,5%@1984,1%@1984,2%@1984] GR3D_FREQ 0% cv0@47.156C cpu@52.375C "
        "soc2@45.531C soc0@48.25C cv1@47.968C gpu@50C tj@52.375C soc1@46.156C cv2@44.406C VDD_IN 7956mW/7956mW "
        "VDD_CPU_GPU_CV 2363mW/2363mW VDD_SOC 2506mW/2506mW",
        {"total": 7.956, "VDD_SOC": 2.506, "cpu": 1984, "gr3d": None, "gpu": 50},
    ),
    "Orin Nano, JetPack 6, as a user": (
        "04-27-2026 14:59:41 RAM 775/7620MB (lfb 3x4MB) SWAP 0/3810MB (cached 0MB) "
        "CPU [1%@729,0%@729,0%@729,0%@729,0%@729,0%@729] GR3D_FREQ 0% cpu@48.468C soc2@47.531C soc0@48.062C "
        "gpu@48.562C tj@49.156C soc1@49.156C VDD_IN 4761mW/4778mW VDD_CPU_GPU_CV 515mW/501mW VDD_SOC 1428mW/1428mW ",
        {"total": 4.761, "VDD_CPU_GPU_CV": 0.515, "cpu": 729, "emc": None, "tj": 49.156},
    ),
    "Orin Nano, JetPack 6, as root": (
        "10-08-2026 04:35:02 RAM 6712/7620MB (lfb 12x4MB) SWAP 369/3810MB (cached 8MB) "
        "CPU [38%@1497,2%@729,1%@729,0%@729,1%@729,0%@729] EMC_FREQ 61%@2133 GR3D_FREQ 99%@[612] NVDEC off NVJPG off "
        "VIC off OFA off APE 200 cpu@57.125C soc2@55.093C soc0@56.625C gpu@58.625C tj@58.312C soc1@55.937C "
        "VDD_IN 16321mW/11204mW VDD_CPU_GPU_CV 7104mW/4944mW VDD_SOC 3120mW/3659mW",
        {"total": 16.321, "cpu": 1497, "gr3d": 612, "emc": 2133, "gpu": 58.625},
    ),
    "AGX Orin, JetPack 5": (
        "04-11-2025 10:36:27 RAM 4321/62801MB (lfb 1759x4MB) SWAP 19/31400MB (cached 0MB) CPU [0%@729,0%@729,0%@729] "
        "EMC_FREQ 0%@2133 GR3D_FREQ 0%@[0,0] VIC_FREQ 729 APE 174 CV0@-256C CPU@44.562C Tboard@32C SOC2@40.093C "
        "Tdiode@33C SOC0@41.093C CV1@-256C GPU@-256C tj@44.343C SOC1@41.25C CV2@-256C VDD_GPU_SOC 2340mW/2340mW "
        "VDD_CPU_CV 390mW/390mW VIN_SYS_5V0 4025mW/4025mW NC 0mW/0mW VDDQ_VDD2_1V8AO 301mW/301mW NC 0mW/0mW",
        {"total": 6.755, "NC": None, "VDDQ_VDD2_1V8AO": 0.301, "gpu": None, "tboard": 32, "gr3d": 0, "VIC_FREQ": None},
    ),
    "AGX Orin, JetPack 6": (
        "05-09-2026 18:42:06 RAM 18207/62841MB (lfb 466x4MB) SWAP 86/31420MB (cached 0MB) "
        "CPU [14%@2188,5%@2112,8%@2035,14%@2201,46%@1267,47%@1267] EMC_FREQ 3%@2133 GR3D_FREQ 0%@[0,0] NVENC 79%@166 "
        "NVDEC off VIC 36%@115 OFA off PVA0_FREQ off APE 174 cpu@52.562C soc2@48.437C soc0@49.093C tj@52.562C "
        "soc1@49.656C VDD_GPU_SOC 2412mW/2412mW VDD_CPU_CV 1607mW/1607mW VIN_SYS_5V0 4707mW/4707mW",
        {"total": 8.726, "cpu": 2201, "soc1": 49.656, "gpu": None},
    ),
    "AGX Orin, JetPack 6, an offset below zero": (
        "03-17-2024 18:54:10 RAM 10239/62841MB (lfb 442x4MB) SWAP 1/31421MB (cached 0MB) CPU [0%@1728,0%@1728,off,off] "
        "GR3D_FREQ 0% cpu@37.5C tboard@27C soc2@34.562C tdiode@27.5C soc0@34.531C tj@37.5C soc1@33.656C "
        "VDD_GPU_SOC 1592mW/1592mW VDD_CPU_CV -398mW/-398mW VIN_SYS_5V0 2624mW/2624mW VDDQ_VDD2_1V8AO 403mW/403mW",
        {"total": 3.818, "VDD_CPU_CV": -0.398, "cpu": 1728},
    ),
    "AGX Orin, JetPack 7": (
        "07-25-2026 09:08:28 RAM 20642/62817MB (lfb 1x2MB) CPU [23%@2201,10%@2201,4%@2201,14%@2201] EMC_FREQ 3%@3199 "
        "GR3D_FREQ 12%@[1300,1300] NVENC0 off NVDEC0 off VIC off OFA off NVDLA0 off PVA0_FREQ off APE 174 "
        "cpu@52.968C/52.968C soc2@48.406C/48.406C soc0@49.531C/49.531C gpu@47.625C/47.625C "
        "VDD_GPU_SOC 5139mW/5139mW/5139mW VDD_CPU_CV 3268mW/3268mW/3268mW VIN_SYS_5V0 5500mW/5500mW/5500mW",
        {"total": 13.907, "gr3d": 1300, "emc": 3199, "gpu": 47.625},
    ),
    "AGX Thor, JetPack 7.1": (
        "04-21-2026 15:50:52 RAM 105265/125772MB (lfb 34x4MB) CPU [0%@972,0%@972,1%@972,8%@972] EMC_FREQ 0%@2750 "
        "GR3D_FREQ @[314,314,314] NVENC0_FREQ @314 NVDEC0_FREQ @314 VIC off OFA_FREQ @315 PVA0_FREQ off APE 300 "
        "cpu@37.343C tj@38.875C soc012@37.468C gpu@38.875C soc345@37.406C VDD_GPU 1962mW/1962mW "
        "VDD_CPU_SOC_MSS 5887mW/5887mW VIN_SYS_5V0 5635mW/5635mW VIN 19780mW/19780mW",
        {"total": 19.78, "VDD_GPU": 1.962, "gr3d": 314, "cpu": 972, "soc012": 37.468},
    ),
    "AGX Thor, JetPack 7.2": (
        "07-02-2026 13:45:44 RAM 36529/125749MB (lfb 12x4MB) SWAP 11/4096MB (cached 9MB) CPU [2%@972,1%@972,0%@972] "
        "cpu@60.406C tj@63.281C soc012@58.468C gpu@62.906C soc345@63.281C VDD_GPU 37528mW/37528mW/37528mW "
        "VDD_CPU_SOC_MSS 18961mW/18961mW/18961mW VIN_SYS_5V0 18331mW/18331mW/18331mW VIN 87426mW/43713mW/87426mW",
        {"total": 87.426, "VDD_CPU_SOC_MSS": 18.961, "tj": 63.281, "gr3d": None},
    ),
    "Nano, JetPack 4": (
        "RAM 1409/3964MB (lfb 28x4MB) SWAP 0/1982MB (cached 0MB) IRAM 0/252kB(lfb 252kB) CPU [22%@518,67%@518,off,off] "
        "EMC_FREQ 0%@1600 GR3D_FREQ 0%@76 APE 25 PLL@28.5C CPU@32C PMIC@50C GPU@30.5C AO@39.5C thermal@31.25C "
        "POM_5V_IN 2003/2003 POM_5V_GPU 0/0 POM_5V_CPU 320/320",
        {"total": 2.003, "POM_5V_CPU": 0.32, "gr3d": 76, "RAM": None, "thermal": 31.25},
    ),
}


@pytest.mark.parametrize("board", LINES)
def test_a_recorded_line_says_watts_clocks_and_temperatures(board: str) -> None:
    line, wanted = LINES[board]
    reading = tegrastats.parse(line)
    assert reading is not None
    for name, value in wanted.items():
        if name == "total":
            assert total_watts(reading.watts) == pytest.approx(value)
        elif name in ("cpu", "gr3d", "emc"):
            assert reading.clocks_mhz.get(name) == value
        elif name.isupper() or "_" in name:
            assert reading.watts.get(name) == value
        else:
            assert reading.temperatures_c.get(name) == value


def test_what_is_no_line_says_nothing() -> None:
    assert tegrastats.parse("tegrastats: permission denied") is None
    assert total_watts({"VDD_SOC": 1.4}) is None, "a part is not the whole"


def _program(folder: Path, line: str) -> tuple[str]:
    """A tegrastats that prints one line and waits to be ended."""
    path = folder / "tegrastats"
    path.write_text(f"#!{sys.executable}\nimport signal\nprint({line!r}, flush=True)\nsignal.pause()\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return (str(path),)


def test_the_running_program_is_read_and_ended(tmp_path: Path) -> None:
    meter = tegrastats.TegrastatsMeter(_program(tmp_path, LINES["AGX Thor, JetPack 7.2"][0]))
    assert total_watts(meter.read().watts) == 87.426
    meter.close()
    assert meter._process.returncode is not None


def test_a_program_that_tells_no_power_is_no_meter(tmp_path: Path) -> None:
    with pytest.raises(MissingDependencyError, match="tells no power here; some images show the rails to root only"):
        tegrastats.TegrastatsMeter(_program(tmp_path, "RAM 1/2MB CPU [1%@729] cpu@40C"))
    with pytest.raises(MissingDependencyError, match="no tegrastats on this machine"):
        tegrastats.TegrastatsMeter((str(tmp_path / "absent"),))
