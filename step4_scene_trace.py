"""Step 4: which sources share a fake's scene?

    python step4_scene_trace.py --fake-back-root ./step3_fake_backs/ \\
        --source-back-root ./step2_source_backs/ --fake-frame-root ./step3_fake_frames/ \\
        --source-frame-root ./step1_source_frames/ --scene-root ./step4_scene_trace/

Every source background is embedded once into an index on disk. A fake's backgrounds are embedded
and compared with all of it by angular distance (in a large database, with those that an
approximate search proposes); the best candidates are then verified by local features, the fake as
it is and mirrored. Writes `scene_ranking.csv` and, per fake,
`<scene-root>/fakes/<video id>.json` with scores, inliers, mirror and the estimated mapping.
"""

if __name__ == "__main__":  # before the imports that take time
    from utils.interrupt import stop_quietly
    stop_quietly()

import argparse
import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from models.backgrounds import EMBEDDERS, angular_distance, background_share
from models.face_detector import FaceDetector
from utils.batch import (Summary, add_common_options, keep_failures, per_thread, pick_device,
                         read_failures, run_batch, run_step)
from utils.embedding_index import EXACT, EmbeddingIndex, open_index
from utils.embedding_rows import known_states, source_states
from utils.files import InputError, read_image, write_json
from utils.geometry import largest_rectangle, person_region
from utils.gone import drop_fakes
from utils.layout import (VideoRecord, evenly_spaced, fake_result_path, frame_name, must_be_there,
                          video_folders)
from utils.locks import remove_leftovers
from utils.registration import Keypoints, Mapping, covered_share, find_keypoints, register
from utils.scene_index import (SceneEntry, drop_entries, entry_path, is_indexed, read_embeddings,
                               read_ranking)
from utils.tables import SceneCandidate, write_table

if TYPE_CHECKING:  # it imports PyTorch
    from models.scene import SceneEmbedder

FAKE_FRAMES = 5  # backgrounds of a fake that are embedded
FAKE_KEYPOINT_FRAMES = 2
SOURCE_KEYPOINT_FRAMES = 4
PLAIN_KEYPOINTS = 30  # a background with fewer local features cannot be verified
VERIFIED_INLIERS = 10  # that many do not come from strangers
LEAST_SPREAD = 0.025  # share of one of the pictures that they cover: fewer than that lie together
# on a logo or a line of text that strangers' videos bear, too; of 528 true sources, verified by
# their number, of fakes of 15 clips that are not used for measuring, one has less
ENTRIES_IN_MEMORY = 256  # with their local features, up to 0.3 MB each


def main(fake_back_root: Path = Path("./step3_fake_backs/"),
         source_back_root: Path = Path("./step2_source_backs/"),
         fake_frame_root: Path = Path("./step3_fake_frames/"),
         source_frame_root: Path = Path("./step1_source_frames/"),
         scene_root: Path = Path("./step4_scene_trace/"), top_k: int = 20, verify: int = 50,
         embedder: str = "efficientnet", embedder_model: Path | None = None, device: str = "auto",
         workers: int = 0, overwrite: bool = False) -> Summary:
    """Rank the sources for every fake; `verify` candidates are matched, `top_k` are written.

    Raises InputError when a step before has not run or an option is out of range.
    """
    if min(top_k, verify) < 1:
        raise InputError("--top-k and --verify must be 1 or more")
    from models.scene import SceneEmbedder  # PyTorch takes seconds

    sources = video_folders(source_back_root, "step 2")
    fakes = video_folders(fake_back_root, "step 3")
    must_be_there("step 1", source_frame_root)
    must_be_there("step 3", fake_frame_root)
    network = SceneEmbedder(embedder_model, pick_device(device), embedder)
    faces = per_thread(FaceDetector)
    settings = {"embedder": network.identity, "keypoint_frames": SOURCE_KEYPOINT_FRAMES}
    scene_root = Path(scene_root)
    remove_leftovers(scene_root)
    drop_entries(scene_root, sources)
    drop_fakes(scene_root, fakes)
    fresh = {} if overwrite else unchanged_sources(scene_root, sources, settings)
    index = partial(index_source, fresh=fresh, back_root=Path(source_back_root),
                    frame_root=Path(source_frame_root), scene_root=scene_root, settings=settings,
                    embedder=network, faces=faces, overwrite=overwrite)
    indexed = run_batch(sources.items(), index, name=lambda item: item[1].file,
                        label="step 4, scene index", workers=workers, root=scene_root / "index")
    database = open_database(scene_root, sources, settings, fresh)
    query = {**settings, "top_k": top_k, "verify": verify, "fake_keypoints": "spread",
             "least_spread": LEAST_SPREAD, "index": digest(database.ids, sources)}
    if database.kind != EXACT:
        query["search"] = database.kind
    load = lru_cache(ENTRIES_IN_MEMORY)(partial(read_entry, scene_root))
    trace = partial(trace_fake, database=database, load=load, back_root=Path(fake_back_root),
                    frame_root=Path(fake_frame_root), scene_root=scene_root, settings=query,
                    embedder=network, faces=faces, overwrite=overwrite)
    traced = run_batch(fakes.items(), trace, name=lambda item: item[1].file,
                       label="step 4, scene trace", workers=workers, root=scene_root / "fakes")
    write_table(scene_root / "scene_ranking.csv", SceneCandidate, rankings(scene_root, fakes))
    traced.failed = {**indexed.failed, **traced.failed}
    keep_failures(scene_root, traced, before=read_failures(source_back_root))
    return traced


def index_source(item: tuple[str, VideoRecord], fresh: dict[str, bytes], back_root: Path,
                 frame_root: Path, scene_root: Path, settings: dict, embedder: "SceneEmbedder",
                 faces: Callable[[], FaceDetector], overwrite: bool) -> bool:
    """Store one source's entry of the index; False when it is there already."""
    video_id, record = item
    if video_id in fresh or not overwrite and is_indexed(scene_root, video_id, record, settings):
        return False
    backs = read_backs(back_root / video_id, record.frames)
    chosen = [record.frames[i] for i in evenly_spaced(len(record.frames), SOURCE_KEYPOINT_FRAMES)]
    keypoints = [frame_keypoints(frame_root / video_id / frame_name(index),
                                 backs[record.frames.index(index)], faces()) for index in chosen]
    rectangles = [largest_rectangle(person_region(back[..., 3] > 0)) for back in backs]
    SceneEntry(video_id, record, embedder.embed(backs), rectangles, chosen,
               [ordinary for ordinary, _ in keypoints]).write(scene_root, settings)
    return True


def read_backs(folder: Path, frames: Sequence[int]) -> list[np.ndarray]:
    """Backgrounds [H, W, 4] of these frames. Raises InputError where a folder has no such ones."""
    backs = [read_image(folder / frame_name(index)) for index in frames]
    if any(back.ndim != 3 or back.shape[2] != 4 for back in backs):
        raise InputError(f"{folder}: whole pictures, not backgrounds; are the folders given as "
                         "step 2 and step 3 wrote them?")
    return backs


def frame_keypoints(path: Path, background: np.ndarray, detector: FaceDetector,
                    fake: bool = False) -> tuple[Keypoints, Keypoints | None]:
    """Local features of a frame as it is and, of a fake, of its mirror image; a fake's are spread
    over the picture, for its source may be a small part of it."""
    image, region = read_image(path), background[..., 3] > 0
    boxes = [face.box for face in detector.detect(image)]
    if not fake:
        return find_keypoints(image, region, boxes), None
    mirrored = [(image.shape[1] - x - width, y, width, height) for x, y, width, height in boxes]
    return (find_keypoints(image, region, boxes, spread=True),
            find_keypoints(image[:, ::-1].copy(), region[:, ::-1], mirrored, spread=True))


def unchanged_sources(scene_root: Path, sources: dict[str, VideoRecord],
                      settings: dict) -> dict[str, bytes]:
    """State of every source whose entry is, by its file's size and time, the one that is in the
    index file: it need not be read. Empty where the database is too small to have such a file."""
    known = known_states(scene_root)
    states = source_states(scene_root, sources, settings) if known else {}
    return {video_id: state for video_id, state in states.items() if known.get(video_id) == state}


def open_database(scene_root: Path, sources: dict[str, VideoRecord], settings: dict,
                  fresh: dict[str, bytes]) -> EmbeddingIndex:
    """The embeddings of all sources that have them. Raises InputError when none has."""
    others = {video_id: record for video_id, record in sources.items() if video_id not in fresh}
    states = fresh | source_states(scene_root, others, settings)
    wanted = {video_id: (state, sources[video_id].sha256) for video_id, state in states.items()}
    return open_index(scene_root, wanted, lambda video_id: read_embeddings(
        scene_root, video_id, sources[video_id], settings))


def read_entry(scene_root: Path, video_id: str) -> SceneEntry:
    """Entry of a source. Raises InputError when it was damaged since it was indexed."""
    entry = SceneEntry.read(scene_root, video_id)
    if entry is None:
        raise InputError(f"{entry_path(scene_root, video_id)}: not readable; remove it and run "
                         "step 4 again")
    return entry


def digest(ids: list[str], sources: dict[str, VideoRecord]) -> str:
    """One checksum for the whole database."""
    lines = [f"{video_id} {sources[video_id].sha256}" for video_id in ids]
    return hashlib.sha256("\n".join(lines).encode("utf-8", "surrogateescape")).hexdigest()


def trace_fake(item: tuple[str, VideoRecord], database: EmbeddingIndex,
               load: Callable[[str], SceneEntry], back_root: Path, frame_root: Path,
               scene_root: Path, settings: dict, embedder: "SceneEmbedder",
               faces: Callable[[], FaceDetector], overwrite: bool) -> bool:
    """Rank the sources for one fake; False when that was done with this very index."""
    video_id, record = item
    path = fake_result_path(scene_root, video_id)
    made_with = {"record": asdict(record), "settings": settings}
    if not overwrite and made_with_of(path, scene_root, video_id) == made_with:
        return False
    frames = [record.frames[i] for i in evenly_spaced(len(record.frames), FAKE_FRAMES)]
    backs = read_backs(back_root / video_id, frames)
    nearest = database.search(embedder.embed(backs), settings["verify"])
    looked_at = evenly_spaced(len(frames), FAKE_KEYPOINT_FRAMES)
    keypoints = {frames[i]: frame_keypoints(frame_root / video_id / frame_name(frames[i]), backs[i],
                                            faces(), fake=True) for i in looked_at}
    candidates = [candidate_of(score, load(video_id), keypoints, record)
                  for video_id, score in nearest]
    candidates.sort(key=lambda c: (-c.verified, -c.score))
    plain = max(int(k.on_background.sum()) for k, _ in keypoints.values()) < PLAIN_KEYPOINTS
    write_json(path, {
        "fake": record.file, "made_with": made_with,
        "background_share": float(np.mean([background_share(back) for back in backs])),
        "note": scene_note(plain, candidates),
        # where nothing can be verified the order means little: more candidates go on
        "candidates": [describe(c) for c in candidates[:settings["top_k"] * (2 if plain else 1)]]})
    return True


def made_with_of(path: Path, scene_root: Path, video_id: str) -> dict | None:
    """What a stored ranking was made with; None when there is none that can be used."""
    try:
        return read_ranking(scene_root, video_id).get("made_with") if path.is_file() else None
    except InputError:
        return None


def best_mapping(keypoints: dict[int, tuple[Keypoints, Keypoints]], entry: SceneEntry,
                 width: int) -> Mapping | None:
    """The mapping with most inliers over the frame pairs, ordinary and mirrored."""
    found = [register(fake, source, flip=flip, fake_frame=index, source_frame=frame, width=width)
             for index, pair in keypoints.items() for flip, fake in enumerate(pair)
             for frame, source in zip(entry.keypoint_frames, entry.keypoints, strict=True)]
    return max(filter(None, found), key=lambda mapping: mapping.inliers, default=None)


@dataclass(frozen=True)
class Candidate:
    """A source that a fake may come from."""

    score: float  # cosine of the scenes
    entry: SceneEntry
    mapping: Mapping | None
    verified: int  # verified_inliers()


def candidate_of(score: float, entry: SceneEntry,
                 keypoints: dict[int, tuple[Keypoints, Keypoints]], fake: VideoRecord) -> Candidate:
    """A source compared with a fake by local features."""
    mapping = best_mapping(keypoints, entry, fake.width)
    return Candidate(score, entry, mapping, verified_inliers(mapping, fake, entry.record))


def verified_inliers(mapping: Mapping | None, fake: VideoRecord, source: VideoRecord) -> int:
    """Inliers where there are more than strangers reach, and not on one logo alone; else 0."""
    if mapping is None or mapping.inliers < VERIFIED_INLIERS:
        return 0
    spread = max(covered_share(mapping.fake_points, fake.width, fake.height),
                 covered_share(mapping.source_points, source.width, source.height))
    return mapping.inliers if spread >= LEAST_SPREAD else 0


def scene_note(plain: bool, candidates: list[Candidate]) -> str:
    """What a person should know about this ranking."""
    if candidates and candidates[0].verified:
        return "the best candidate is verified by local features"
    if plain:
        return ("the background is too plain to verify; candidates are ordered by appearance "
                "alone and more of them go on")
    return "no candidate is verified by local features; they are ordered by appearance alone"


def describe(candidate: Candidate) -> dict:
    """One candidate for the JSON file."""
    entry, mapping = candidate.entry, candidate.mapping
    found = {"source": entry.record.file, "source_id": entry.id,
             "source_sha256": entry.record.sha256, "scene_score": candidate.score,
             "angular_distance_rad": float(angular_distance(candidate.score)), "inliers": 0,
             "background_inliers": 0, "verified": candidate.verified > 0, "flip": 0,
             "mapping": None}
    if mapping:
        found |= {"inliers": mapping.inliers, "background_inliers": mapping.background_inliers,
                  "flip": int(mapping.flip), "mapping": mapping.matrix.tolist(),
                  "fake_frame": mapping.fake_frame, "source_frame": mapping.source_frame,
                  "fake_points": mapping.fake_points.round(1).tolist(),
                  "source_points": mapping.source_points.round(1).tolist()}
    return found


def rankings(scene_root: Path, fakes: dict[str, VideoRecord]) -> Iterator[SceneCandidate]:
    """Rows of scene_ranking.csv, from the JSON files of the fakes."""
    for video_id in fakes:
        found = read_ranking(scene_root, video_id)
        for rank, c in enumerate(found["candidates"], 1):
            yield SceneCandidate(found["fake"], rank, c["source"], c["scene_score"],
                                 c["angular_distance_rad"], c["inliers"], c["flip"])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Step 4: which sources share a fake's scene?")
    for name, default, text in (
            ("fake-back-root", "./step3_fake_backs/", "backgrounds of the fakes, from step 3"),
            ("source-back-root", "./step2_source_backs/",
             "backgrounds of the sources, from step 2"),
            ("fake-frame-root", "./step3_fake_frames/", "frames of the fakes, from step 3"),
            ("source-frame-root", "./step1_source_frames/", "frames of the sources, from step 1"),
            ("scene-root", "./step4_scene_trace/", "where index, ranking and results go")):
        parser.add_argument(f"--{name}", type=Path, default=Path(default),
                            help=f"{text} (default: %(default)s)")
    parser.add_argument("--top-k", type=int, default=20,
                        help="candidates written per fake, twice as many where the background is "
                             "too plain to verify any (default: %(default)s)")
    parser.add_argument("--verify", type=int, default=50,
                        help="candidates compared by local features (default: %(default)s)")
    parser.add_argument("--embedder", choices=EMBEDDERS, default="efficientnet",
                        help="network that embeds backgrounds; resnet50 needs --embedder-model "
                             "(default: %(default)s)")
    parser.add_argument("--embedder-model", "--model-path", type=Path, default=None,
                        help="its weights, or the word imagenet for EfficientNet-Lite0 as the pip "
                             "package has it (default: models/weights/scene_embedder.pt)")
    add_common_options(parser, device=True)
    run_step(main, parser)
