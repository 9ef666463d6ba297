"""Extraction of one 640x480 frame: complete HF-Net, its bare network, and teachers and RootSIFT with their VLAD.

``VIZLOC_DATA`` is the folder that contains oxford_affine, ``VIZLOC_TEACHERS`` the folder of the teachers' ONNX files,
``VIZLOC_OTHER_HFNET`` another export of HF-Net, such as an older one, to compare with.
"""

import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from statistics import median

import cv2
from measure import Cell, Table
from network_cut import BARE, STAGES, CutNetwork

from vizloc_ros.arrays import UInt8
from vizloc_ros.datasets.image_files import read_image
from vizloc_ros.datasets.synthetic import open_synthetic
from vizloc_ros.errors import DeviceError
from vizloc_ros.features.device import Device
from vizloc_ros.features.extractor import FeatureExtractor, open_extractor
from vizloc_ros.features.hfnet.runtime import HfNetExtractor
from vizloc_ros.features.hfnet.weights import DEFAULT_WEIGHTS
from vizloc_ros.features.onnx_features import OnnxFeatures
from vizloc_ros.parallel import one_thread_each, usable_cores

_DATA = Path(os.environ.get("VIZLOC_DATA", Path(__file__).parents[1] / "../shared/data"))
_TEACHERS = Path(os.environ.get("VIZLOC_TEACHERS", _DATA / "../teachers"))
_TEACHER, _SMALL_TEACHER = "aliked_n16", "edgepoint2_e64"
_COMPLETE, _OTHER = "HF-Net", "HF-Net, other file"
_OTHER_FILE = os.environ.get("VIZLOC_OTHER_HFNET", "")
_WIDTH, _HEIGHT = 640, 480
_ROUNDS, _WARM_UP = 15, 2
_GPU_ROUNDS = 100
# Provider, and true for 16 bit.
_GPU_RUNS = (("cuda", False), ("tensorrt", False), ("tensorrt", True))
_PAPER_MS = 15.0  # HF-Net, Table 5: features of one image of RobotCar on a GTX 1080

Work = Mapping[str, Callable[[], object]]
Times = Mapping[str, tuple[float, float]]  # medians of elapsed and CPU time [ms]


def benchmark(out: Path, extractor: str = "hfnet") -> list[Table]:
    """Measure times on one core and on all cores, the stages of HF-Net, and times on a GPU if there is one.

    Args:
        out: not used.
        extractor: ``hfnet``, or the path of an exported HF-Net.
    """
    weights = DEFAULT_WEIGHTS if extractor == "hfnet" else Path(extractor)
    cut = CutNetwork(weights)
    source, image, others = _images()
    teachers = [name for name in (_TEACHER, _SMALL_TEACHER) if _file(name).is_file()]
    rivals = {f"{name} + VLAD": _learned(name, others) for name in (*teachers, "rootsift")}
    with one_thread_each():
        single = _in_turn(_work(image, weights, cut, rivals, Device(threads=1)), _ROUNDS)
    every = _in_turn(_work(image, weights, cut, rivals, Device()), _ROUNDS)
    notes = [
        f"{source}; up to 2048 keypoints. {_ROUNDS} rounds after {_WARM_UP} for warm-up; in each round all rows in "
        "turn, so that all meet the same load, the second of two calls timed; medians. CPU: of all "
        "threads of the process.",
        "Bare network: gray image to logits, dense descriptors and global descriptor, cut out of the same file. "
        f"VLAD: 64 words, learned on {len(others)} images.",
        *(_ratios(times, cores) for times, cores in ((single, "1 thread"), (every, f"{usable_cores()} cores"))),
        *(f"{_file(name)}: not there, not measured." for name in {_TEACHER, _SMALL_TEACHER} - set(teachers)),
    ]
    return [
        _frame_table([_COMPLETE, BARE, *([_OTHER] if _OTHER_FILE else []), *rivals], single, every, notes),
        _stage_table(single, every),
        _gpu_table(image, weights, cut),
    ]


def _images() -> tuple[str, UInt8, list[UInt8]]:
    """Name of an image, the image, and further ones to learn a vocabulary on; real ones if they are available."""
    paths = sorted((_DATA / "oxford_affine").glob("*/img1.png"))
    if paths:
        chosen = next((path for path in paths if path.parent.name == "graf"), paths[0])
        return f"{chosen.parent.name}'s first image of oxford_affine", _frame(chosen), [_frame(path) for path in paths]
    street = open_synthetic(f"length=12&width={_WIDTH}&height={_HEIGHT}").records("map")
    images = [record.read_image() for record in street[::3]]
    return "an image of the synthetic street", images[0], images


def _frame(path: Path) -> UInt8:
    """Gray image of 640x480: the center of an image, cropped to this shape and resized."""
    image = read_image(path)
    gray = image if image.ndim == 2 else cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
    height, width = gray.shape
    scale = min(width / _WIDTH, height / _HEIGHT)
    left, top = round((width - scale * _WIDTH) / 2), round((height - scale * _HEIGHT) / 2)
    cropped = gray[top : top + round(scale * _HEIGHT), left : left + round(scale * _WIDTH)]
    return cv2.resize(cropped, (_WIDTH, _HEIGHT), interpolation=cv2.INTER_AREA)


def _file(teacher: str) -> Path:
    return _TEACHERS / f"{teacher}.onnx"


def _learned(name: str, images: Sequence[UInt8]) -> FeatureExtractor:
    extractor = open_extractor(name if name == "rootsift" else str(_file(name)))
    return extractor.learn([extractor.extract(image) for image in images], seed=0)


def _work(
    image: UInt8, weights: Path, cut: CutNetwork, rivals: Mapping[str, FeatureExtractor], device: Device
) -> dict[str, Callable[[], object]]:
    """All timed functions, by name."""
    work = _hfnet_work(image, weights, device)
    if _OTHER_FILE:
        work[_OTHER] = _hfnet_work(image, Path(_OTHER_FILE), device)[_COMPLETE]
    for stage in STAGES:
        work[stage] = partial(cut.session(stage, device).run, None, {"image": image[None, None]})
    for name, extractor in rivals.items():
        if isinstance(extractor, OnnxFeatures):
            extractor = replace(OnnxFeatures.open(extractor.settings, None, device), vlad=extractor.vlad)
        work[name] = partial(extractor.extract, image)
    return work


def _hfnet_work(image: UInt8, weights: Path, device: Device) -> dict[str, Callable[[], object]]:
    return {_COMPLETE: partial(HfNetExtractor.open({"weights": str(weights)}, None, device).extract, image)}


def _in_turn(work: Work, rounds: int) -> Times:
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in work}
    for turn in range(_WARM_UP + rounds):
        for name, function in work.items():
            function()  # BLAS threads of the previous function spin for a while, and caches hold its data
            start, cpu_start = time.perf_counter(), time.process_time()
            function()
            spent = 1e3 * (time.perf_counter() - start), 1e3 * (time.process_time() - cpu_start)
            if turn >= _WARM_UP:
                times[name].append(spent)
    return {name: (median(t for t, _ in of_name), median(c for _, c in of_name)) for name, of_name in times.items()}


def _ratios(times: Times, cores: str) -> str:
    """Text of the required ratios."""
    complete = times[_COMPLETE]
    text = f"{cores}: HF-Net takes {_ratio(complete, times[BARE])} times its bare network (required: at most 1.6)"
    if teacher := times.get(f"{_TEACHER} + VLAD"):
        text += f", its teacher {_ratio(teacher, complete)} times HF-Net (required: at least 5)"
    return f"{text}; in brackets of CPU time."


def _ratio(numerator: tuple[float, float], denominator: tuple[float, float]) -> str:
    return f"{numerator[0] / denominator[0]:.2f} ({numerator[1] / denominator[1]:.2f})"


def _frame_table(names: Sequence[str], single: Times, every: Times, notes: Sequence[str]) -> Table:
    columns = ["", "1 thread [ms]", "CPU [ms]", "times HF-Net's"]
    columns += [f"{usable_cores()} cores [ms]", "CPU, all cores [ms]", "times HF-Net's, all cores"]
    rows: list[list[Cell]] = [
        [name, *(cell for times in (single, every) for cell in (*times[name], times[name][0] / times[_COMPLETE][0]))]
        for name in names
    ]
    return Table(f"One {_WIDTH}x{_HEIGHT} frame: extraction", columns, rows, notes)


def _stage_table(single: Times, every: Times) -> Table:
    """Table of the stages of HF-Net; each is the difference of two timed graphs."""
    steps = (*STAGES, _COMPLETE)
    rows: list[list[Cell]] = []
    for before, after in zip((None, *steps), steps, strict=False):
        name = "fit the image, select, quantize" if after == _COMPLETE else after
        differences = [times[after][0] - (times[before][0] if before else 0.0) for times in (single, every)]
        rows.append([name, *differences])
    rows.append(["total", single[_COMPLETE][0], every[_COMPLETE][0]])
    notes = ["Differences of medians of the graph cut off after each stage; a few tenths of a millisecond are noise."]
    columns = ["stage", "1 thread [ms]", f"{usable_cores()} cores [ms]"]
    return Table(f"One {_WIDTH}x{_HEIGHT} frame: stages of HF-Net", columns, rows, notes)


def _gpu_table(image: UInt8, weights: Path, cut: CutNetwork) -> Table:
    rows: list[list[Cell]] = []
    notes = [
        f"Images from and features to main memory; {_GPU_ROUNDS} rounds after {_WARM_UP} for warm-up; medians. "
        f"Paper: {_PAPER_MS:g} ms on a GTX 1080, for images of RobotCar."
    ]
    for provider, half in _GPU_RUNS:
        name = f"{provider}, {'fp16' if half else 'fp32'}"
        try:
            device = Device(provider, half=half)
            work = _hfnet_work(image, weights, device)
            work[BARE] = partial(cut.session(BARE, device).run, None, {"image": image[None, None]})
        except DeviceError as error:  # its text names the missing library or device
            rows.append([name, None, None, None])
            notes.append(f"{name}: not measured: {error}.")
            continue
        times = _in_turn(work, _GPU_ROUNDS)
        rows.append([name, times[_COMPLETE][0], times[BARE][0], _PAPER_MS / times[_COMPLETE][0]])
    columns = ["", "HF-Net [ms]", "bare network [ms]", "paper / HF-Net"]
    return Table(f"One {_WIDTH}x{_HEIGHT} frame: on a GPU", columns, rows, notes)
