"""The result tables: scene_ranking.csv (step 4), traces.csv and frames.csv (step 5), and the JSON
file that step 5 keeps of every fake."""

import csv
import io
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields
from pathlib import Path

from utils.files import InputError, read_json, write_bytes
from utils.layout import fake_result_path


@dataclass(frozen=True)
class SceneCandidate:
    """One row of scene_ranking.csv: a source that may share a fake's scene."""

    fake: str  # file name under the fakes' root
    rank: int  # 1 is best
    source: str  # file name under the sources' root
    scene_score: float  # cosine of the embeddings, -1 to 1
    angular_distance_rad: float
    inliers: int  # local features that agree on one mapping
    flip: int  # 1: the fake is a mirror image


@dataclass(frozen=True)
class Trace:
    """One row of traces.csv: what was found for a fake, or for a stretch of it, or a person."""

    fake: str
    fake_start_frame: int | None  # traced part of the fake, inclusive, 0-based
    fake_end_frame: int | None
    verdict: str  # traced, ambiguous or no_source
    source: str | None
    start_frame: int | None  # source frames of the first and last of these, inclusive, 0-based
    end_frame: int | None
    start_time_s: float | None
    end_time_s: float | None
    rate: float | None  # source frames per fake frame
    flip: int | None
    scene_score: float | None
    motion_score: float | None
    confidence: float  # probability that the verdict, source and range included, is right
    runner_up: str | None
    reason: str


@dataclass(frozen=True)
class FramePair:
    """One row of frames.csv: a frame of a fake, and where it came from by the row of traces.csv."""

    fake: str
    fake_frame: int  # 0-based
    source: str
    source_frame: int  # 0-based


def read_result(trace_root: Path, fake_id: str) -> dict | None:
    """What step 5 wrote of a fake; None when there is nothing, or nothing that can be used."""
    try:
        found = read_json(fake_result_path(trace_root, fake_id))
    except InputError:
        return None
    rows, stretches = found.get("traces"), found.get("stretches")
    sound = (isinstance(found.get("fake"), str) and isinstance(found.get("made_with"), dict)
             and isinstance(rows, list) and isinstance(stretches, list)
             and 0 < len(rows) == len(stretches) and all(isinstance(s, dict) for s in stretches)
             and all(_is_trace(row) for row in rows))
    return found if sound else None


def read_results(trace_root: Path, fake_ids: Iterable[str]) -> Iterator[dict]:
    """Results of all of these fakes that have one."""
    for fake_id in fake_ids:
        found = read_result(trace_root, fake_id)
        if found is not None:
            yield found


def _is_trace(row: object) -> bool:
    """Whether a dictionary has the columns of Trace, with values of their kinds."""
    return (isinstance(row, dict) and set(row) == {field.name for field in fields(Trace)}
            and all(isinstance(row[field.name], field.type)
                    or isinstance(row[field.name], int) and isinstance(0.0, field.type)
                    for field in fields(Trace)))


def write_table(path: Path, kind: type, rows: Iterable) -> None:
    """Write rows of one record class as CSV, atomically; None becomes an empty cell."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    names = [field.name for field in fields(kind)]
    writer.writerow(names)
    for row in rows:
        writer.writerow([_cell(name, getattr(row, name)) for name in names])
    write_bytes(path, text.getvalue().encode("utf-8", "surrogateescape"))


def _cell(name: str, value: object) -> object:
    """Numbers to six digits; times, which are long in long videos, to the microsecond."""
    if value is None:
        return ""
    if isinstance(value, float) and name.endswith("_time_s"):
        return f"{value:.6f}".rstrip("0").rstrip(".")
    return f"{value:.6g}" if isinstance(value, float) else value


def read_table(path: Path) -> list[dict[str, str]]:
    """Rows of a CSV file as dictionaries. Raises InputError when it cannot be read."""
    try:
        with open(path, newline="", encoding="utf-8", errors="surrogateescape") as file:
            return list(csv.DictReader(file))
    except (OSError, ValueError, csv.Error) as error:
        raise InputError(f"{path}: not a readable table ({error})") from error
