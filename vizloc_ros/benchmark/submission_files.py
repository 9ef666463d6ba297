"""Files for visuallocalization.net, where the ground truth of queries is private.

READMEs of the datasets ask for the names ``Aachen_eval_METHOD.txt``, ``RobotCar_eval_METHOD.txt`` and
``CMU_eval_METHOD.txt``. Lines are checked as by ``vizloc evaluate submission``.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from vizloc_ros.benchmark.benchmark_run import BenchmarkRun
from vizloc_ros.benchmark.sources import Present, Source
from vizloc_ros.datasets.record import Dataset
from vizloc_ros.evaluation.submission import check_submission
from vizloc_ros.files import replacing
from vizloc_ros.readers import open_dataset


def write_submission(
    run: BenchmarkRun, source: Source, method: str, reports: Iterable[tuple[Present, Mapping[str, Any]]]
) -> list[str]:
    """Write the submission of a method, from the poses of its reports.

    Args:
        run: run of the reports.
        source: dataset.
        method: name of the method.
        reports: reports of ``BenchmarkRun.localized``, with the part of the dataset that each is of.

    Returns:
        The file's path relative to the run's folder, or nothing if no image is to be submitted.

    Raises:
        DatasetError: a line is not as the benchmark asks for.
    """
    lines: dict[str, str] = {}
    asked: dict[str, set[str]] = {}
    for part, report in reports:
        if part.name not in asked:
            asked[part.name] = images_to_submit(open_dataset(part.spec))
        for line in (run.out / report["poses"]).read_text(encoding="utf-8").splitlines():
            name, _, pose = line.partition(" ")
            if name in asked[part.name]:
                lines.setdefault(name, pose)
    if not any(asked.values()):
        return []
    path = run.out / f"{source.submission}_{method}.txt"
    with replacing(path) as file:
        file.write("".join(f"{name} {pose}\n" for name, pose in lines.items()).encode())
    check_submission(path, set().union(*asked.values()))
    return [path.name]


def images_to_submit(dataset: Dataset) -> set[str]:
    """Names in a submission of the images whose poses the benchmark asks for.

    They are those of the split "test" (RobotCar Seasons v2), or of "query" unless some of it has poses, as the training
    slices of Extended CMU Seasons have.
    """
    split = "test" if "test" in dataset.splits else "query"
    records = dataset.records(split) if split in dataset.splits else []
    if split == "query" and any(record.world_from_cam is not None for record in records):
        return set()
    return {record.submitted_name for record in records if record.submitted_name is not None}
