"""For each data set a tiny tree in exactly its published layout."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path

import h5py
import numpy as np
from numpy.typing import NDArray
from scipy.io import savemat

from tests.evaluate.datasets import made


def esc50(root: Path) -> None:
    titles = ("filename", "fold", "target", "category", "esc10", "src_file", "take")
    rows = (
        ("1-100032-A-0.wav", 1, 0, "dog", "True", 100032, "A"),
        ("2-117615-A-1.wav", 2, 1, "rooster", "True", 117615, "A"),
        ("3-151081-A-2.wav", 3, 2, "chirping_birds", "False", 151081, "A"),
        ("5-9032-A-0.wav", 5, 0, "dog", "True", 9032, "A"),
    )
    made.table(root / "meta/esc50.csv", titles, rows)
    for row in rows:
        made.sound(root / "audio" / row[0], seconds=5.0)


def audioset(root: Path) -> None:
    labels = ((0, "/m/09x0r", "Speech"), (1, "/m/05zppz", "Male speech, man speaking"), (2, "/m/04rlf", "Music"))
    made.table(root / "class_labels_indices.csv", ("index", "mid", "display_name"), labels)
    head = "# Segments csv created Sun Mar  5 10:54:31 2017\n# num_ytids=3\n# YTID, start_seconds, end_seconds, positive_labels\n"
    lines = (
        '--4gqARaEJE, 0.000, 10.000, "/m/09x0r,/m/05zppz"\n'
        '--BfvyPmVMo, 20.000, 30.000, "/m/04rlf"\n'
        '-0DLPzsiXXE, 130.000, 140.000, "/m/04rlf,/m/09x0r"\n'
    )
    made.text(root / "eval_segments.csv", head + lines)
    made.text(root / "balanced_train_segments.csv", head + '-0RWZT-miFs, 420.000, 430.000, "/m/04rlf"\n')
    made.sound(root / "eval_segments/Y--4gqARaEJE.wav")
    made.sound(root / "eval_segments/--BfvyPmVMo_20.000_30.000.wav")
    made.video(root / "eval_segments/-0DLPzsiXXE_130.mp4")
    made.sound(root / "balanced_train_segments/-0RWZT-miFs_420000_430000.wav")


def vggsound(root: Path) -> None:
    rows = (
        ("---g-f_I2yQ", 1, "people marching", "test"),
        ("--0PQM4-hqg", 30, "waterfall burbling", "train"),
        ("-1UWOMlEbxU", 12, "bird chirping, tweeting", "test"),
    )
    made.table(root / "vggsound.csv", (), rows)
    made.video(root / "video/---g-f_I2yQ_000001.mp4")
    made.sound(root / "audio/--0PQM4-hqg_000030.wav")
    made.sound(root / "audio/-1UWOMlEbxU_000012.wav", hertz=1000.0)


def clotho(root: Path) -> None:
    titles = ("file_name", *(f"caption_{number}" for number in range(1, 6)))
    for split, names in (("evaluation", ("Santa Motor.wav", "Rain, night.wav")), ("validation", ("Door.wav",))):
        rows = [(name, *(f"{name} said in way {number}" for number in range(1, 6))) for name in names]
        made.table(root / f"clotho_captions_{split}.csv", titles, rows)
        for name in names:
            made.sound(root / split / name)


def audiocaps(root: Path) -> None:
    rows = [
        (103549, "vfY_TJq7n_U", 130, "Rustling occurs, ducks quack"),
        (103548, "tdWhHV3X25Q", 60, "An audience gives applause"),
        (103541, "vfY_TJq7n_U", 130, "Ducks quack while water splashes"),
    ]
    made.table(root / "test.csv", ("audiocap_id", "youtube_id", "start_time", "caption"), rows)
    made.sound(root / "test/vfY_TJq7n_U.wav")
    made.sound(root / "test/YtdWhHV3X25Q.wav")


def msrvtt(root: Path) -> None:
    rows = (
        ("ret0", "msr9770", "video9770", "a person is connecting something to system"),
        ("ret1", "msr9771", "video9771", "a little girl does gymnastics"),
        ("ret2", "msr7020", "video7020", "a woman creating a fondant baby and flower"),
    )
    made.table(root / "MSRVTT_JSFUSION_test.csv", ("key", "vid_key", "video_id", "sentence"), rows)
    for number, (_, _, name, _) in enumerate(rows):
        made.video(root / "videos/all" / f"{name}.mp4", hertz=None if number == 2 else 500.0)


def kinetics400(root: Path) -> None:
    rows = (
        ("abseiling", "0wR5jVB-WPk", 417, 427, "val"),
        ("air drumming", "3caPS4FHFF8", 36, 46, "val"),
        ("abseiling", "3yaoNwz99xM", 62, 72, "val"),
    )
    made.table(root / "annotations/val.csv", ("label", "youtube_id", "time_start", "time_end", "split"), rows)
    made.video(root / "val/0wR5jVB-WPk_000417_000427.mp4")
    made.video(root / "val/air drumming/3caPS4FHFF8_000036_000046.mp4")
    made.video(root / "val/3yaoNwz99xM_000062_000072.mp4", hertz=None)


def places365(root: Path) -> None:
    made.text(root / "categories_places365.txt", "/a/airfield 0\n/a/apartment_building/outdoor 1\n/t/temple/asia 2\n")
    made.text(root / "places365_val.txt", "Places365_val_00000001.jpg 2\nPlaces365_val_00000002.jpg 1\n")
    for number in (1, 2):
        made.picture(root / "val_256" / f"Places365_val_{number:08d}.jpg")


SYNSETS = {
    "n01440764": "tench, Tinca tinca",
    "n02012849": "crane",
    "n03126707": "crane",
}


def imagenet1k(root: Path) -> None:
    made.text(root / "LOC_synset_mapping.txt", "".join(f"{number} {words}\n" for number, words in SYNSETS.items()))
    for number, folder in enumerate((*SYNSETS, "n03126707"), start=1):
        made.picture(root / "val" / folder / f"ILSVRC2012_val_{number:08d}.JPEG")


LLVIP_XML = """<annotation><folder>LLVIP</folder><filename>{name}.jpg</filename>
<size><width>320</width><height>256</height><depth>3</depth></size>
<object><name>person</name><bndbox><xmin>100</xmin><ymin>80</ymin><xmax>130</xmax><ymax>160</ymax></bndbox></object>
<object><name>person</name><bndbox><xmin>200</xmin><ymin>90</ymin><xmax>240</xmax><ymax>190</ymax></bndbox></object>
</annotation>"""


def llvip(root: Path) -> None:
    for split, name in (("test", "190001"), ("test", "200007"), ("train", "010001")):
        pixels = np.full((256, 320, 3), 20, np.uint8)
        pixels[80:160, 100:130] = pixels[90:190, 200:240] = 240
        made.picture(root / "infrared" / split / f"{name}.jpg", pixels)
        made.picture(root / "visible" / split / f"{name}.jpg", pixels // 2)
        made.text(root / "Annotations" / f"{name}.xml", LLVIP_XML.format(name=name))


SUN = (
    # folder, scene, focal length in pixels, metres
    ("kv1/NYUdata/NYU0001", "bedroom", 518.858, 2.0),
    ("realsense/lg/2014_10_21-18_15_14-1311000073", "office", 691.584, 1.5),
    ("xtion/sun3ddata/brown_bm_1/0001", "printer_room", 570.342, 3.0),
    ("kv2/kinect2data/000002_2014-05-26", "kitchen", 529.5, 4.096),
)
SUN_TRAINING = ("kv2/align_kv2/2014-12-17", "library", 529.5, 2.5)


def sunrgbd(root: Path) -> None:
    for folder, scene, focal, metres in (*SUN, SUN_TRAINING):
        view = root / "SUNRGBD" / folder
        millimetres = np.full((48, 64), round(metres * 1000), np.uint16)
        rotated = (millimetres << 3) | (millimetres >> 13)
        made.picture(view / "depth_bfx" / "a.png", rotated)
        made.picture(view / "image" / "a.jpg")
        made.text(view / "intrinsics.txt", f"{focal} 0 32 \n0 {focal} 24 \n0 0 1 \n")
        made.text(view / "scene.txt", scene)
    split = root / "SUNRGBDtoolbox/traintestSUNRGBD/allsplit.mat"
    split.parent.mkdir(parents=True)
    cells = {"alltest": [view[0] for view in SUN], "alltrain": [SUN_TRAINING[0]]}
    savemat(split, {name: _cells(f"/n/fs/sun3d/data/SUNRGBD/{at}" for at in paths) for name, paths in cells.items()})


def _cells(texts: Iterable[str]) -> NDArray[np.object_]:
    listed = list(texts)
    cells = np.empty((1, len(listed)), object)
    cells[0] = listed
    return cells


NYU = ("kitchen", "living_room", "cafe", "home_office", "basement")


def nyuv2(root: Path) -> None:
    """As MATLAB 7.3 writes it: axes reversed, text as a reference to a column of 16-bit characters."""
    with h5py.File(root / "nyu_depth_v2_labeled.mat", "w") as file:
        depths = np.ones((len(NYU), 64, 48), np.float32) * np.arange(1, len(NYU) + 1)[:, None, None]
        depths[:, 0, :] = 9.5  # the picture's left column
        file["depths"] = depths
        file["images"] = np.full((len(NYU), 3, 64, 48), 100, np.uint8)
        cells = np.empty((1, len(NYU)), h5py.ref_dtype)
        for at, scene in enumerate(NYU):
            file[f"#refs#/{at}"] = np.array([[ord(letter)] for letter in scene], np.uint16)
            cells[0, at] = file[f"#refs#/{at}"].ref
        file.create_dataset("sceneTypes", data=cells, dtype=h5py.ref_dtype)
    savemat(root / "splits.mat", {"trainNdxs": np.array([[1], [3]]), "testNdxs": np.array([[2], [4], [5]])})


EGO4D_TITLES = (
    "component_idx",
    "component_timestamp_ms",
    "canonical_timestamp_ms",
    *(f"{sensor}_{axis}" for sensor in ("gyro", "accl") for axis in "xyz"),
)


def ego4d(root: Path) -> None:
    """Three videos of 12 s at 200 Hz: two with one scenario, of which one is cut off, and one with two scenarios."""
    videos = [
        {"video_uid": "aaa", "scenarios": ["Cooking"], "has_imu": True, "split_em": "val", "split_fho": None},
        {"video_uid": "bbb", "scenarios": ["Cooking", "Eating"], "has_imu": True, "split_em": "val"},
        {"video_uid": "ccc", "scenarios": ["Cleaning / laundry"], "has_imu": True, "split_av": "val"},
        {"video_uid": "ddd", "scenarios": ["Bike"], "has_imu": True, "split_av": "train"},
        {"video_uid": "eee", "scenarios": ["Golfing"], "has_imu": False, "split_av": "val"},
    ]
    made.text(root / "ego4d.json", json.dumps({"date": "220218", "version": "v1", "videos": videos}))
    for uid in ("aaa", "bbb", "ccc", "ddd"):
        made.table(root / "v2/imu" / f"{uid}.csv", EGO4D_TITLES, motion())
    made.video(root / "v2/full_scale/aaa.mp4")


def motion(seconds: float = 12.0, gap: tuple[float, float] = (0.0, 0.0)) -> list[tuple[object, ...]]:
    """Rows at 200 Hz: accl_x is sin of time, accl_z gravity, gyro_y the time itself; a first row that was trimmed."""
    rows: list[tuple[object, ...]] = [(0, -5.0, "", 0.0, 0.0, 0.0, 0.0, 0.0, 9.81)]
    for time in np.arange(0.0, seconds, 0.005):
        if not gap[0] < time < gap[1]:
            rows.append((0, 1000 * time, 1000 * time, 0.0, time, 0.0, np.sin(time), 0.0, 9.81))
    return rows


TREES: dict[str, Callable[[Path], None]] = {
    "audiocaps": audiocaps,
    "audioset": audioset,
    "clotho": clotho,
    "ego4d": ego4d,
    "esc50": esc50,
    "imagenet1k": imagenet1k,
    "kinetics400": kinetics400,
    "llvip": llvip,
    "msrvtt": msrvtt,
    "nyuv2": nyuv2,
    "places365": places365,
    "sunrgbd": sunrgbd,
    "vggsound": vggsound,
}
