"""Scene roots for the ablation: what step 4 wrote, or would write, with a part of it taken away.

Every function gets the folder that holds the outputs of steps 1 to 4 under their default names,
and a folder of its own, and returns the scene root that step 5 is to read. What step 4 wrote is
never changed.
"""

import hashlib
import math
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import step4_scene_trace
from utils.files import InputError, write_json
from utils.layout import VideoRecord, fake_result_path, video_folders
from utils.scene_index import SceneEntry, indexed_ids, read_ranking

SCENES, FAKE_FRAMES = "step4_scene_trace", "step3_fake_frames"
UNMAPPED = {"inliers": 0, "background_inliers": 0, "verified": False, "flip": 0, "mapping": None}
_APPEARANCE = ("source", "source_id", "source_sha256", "scene_score", "angular_distance_rad")


def as_ranked(work: Path, folder: Path, **_: object) -> Path:
    """Step 4's own scene root."""
    return work / SCENES


def without_mapping(work: Path, folder: Path, **_: object) -> Path:
    """The candidates by appearance alone: no local features, so no mapping and none verified."""
    def change(candidates: list[dict]) -> list[dict]:
        plain = [{name: c[name] for name in _APPEARANCE} | UNMAPPED for c in candidates]
        return sorted(plain, key=lambda c: -c["scene_score"])

    return _rewrite(work, folder, change)


def without_scene(work: Path, folder: Path, **_: object) -> Path:
    """All sources in the order of their names, as if nothing were known of any scene."""
    records = {source_id: _record(work / SCENES, source_id)
               for source_id in indexed_ids(work / SCENES)}
    every = [{"source": record.file, "source_id": source_id, "source_sha256": record.sha256,
              "scene_score": 0.0, "angular_distance_rad": math.pi / 2} | UNMAPPED
             for source_id, record in records.items()]
    return _rewrite(work, folder, lambda candidates: every)


def with_imagenet(work: Path, folder: Path, *, device: str, workers: int) -> Path:
    """Step 4 once more, its embedder as trained on ImageNet, without this project's head.

    Raises InputError when step 4 cannot work on some video.
    """
    done = step4_scene_trace.main(
        work / "step3_fake_backs", work / "step2_source_backs", work / FAKE_FRAMES,
        work / "step1_source_frames", folder, embedder_model=Path("imagenet"), device=device,
        workers=workers)
    if done.failed:
        raise InputError(f"{folder}: step 4 failed on {', '.join(done.failed)}; mend that first")
    return folder


def _record(scene: Path, source_id: str) -> VideoRecord:
    entry = SceneEntry.read(scene, source_id)
    if entry is None:
        raise InputError(f"{scene}: the entry of {source_id} is damaged; run step 4 again")
    return entry.record


def _rewrite(work: Path, folder: Path, change: Callable[[list[dict]], list[dict]]) -> Path:
    """A scene root with the same index and other candidates; made anew each time, it is small."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    link(work / SCENES / "index", folder / "index")
    for fake_id, ranking in _rankings(work, work / SCENES):
        write_json(fake_result_path(folder, fake_id),
                   {**ranking, "candidates": change(ranking["candidates"])})
    return folder


def link(folder: Path, name: Path) -> None:
    """Have a folder under another name, too."""
    if not name.is_symlink():
        name.symlink_to(os.path.relpath(folder.resolve(), name.parent.resolve()))


def _rankings(work: Path, scene: Path) -> Iterator[tuple[str, dict]]:
    """Fake ids and what the scene root says of them. Raises InputError when it knows none."""
    known = [(fake_id, ranking) for fake_id in video_folders(work / FAKE_FRAMES, "step 3")
             if "fake" in (ranking := read_ranking(scene, fake_id))]
    if not known:
        raise InputError(f"{scene}: no ranking in it; run step 4 first")
    yield from known


def digest(work: Path, scene: Path) -> str:
    """One checksum for all that a scene root says of the fakes, the database included."""
    state = hashlib.sha256()
    for fake_id, _ in _rankings(work, scene):
        state.update(fake_result_path(scene, fake_id).read_bytes())
    return state.hexdigest()
