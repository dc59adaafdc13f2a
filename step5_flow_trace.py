"""Step 5: which source, and which frames of it, was a fake made from?

    python step5_flow_trace.py --video-root ./source_data/ \\
        --fake-frame-root ./step3_fake_frames/ --fake-mask-root ./step3_fake_masks/ \\
        --fake-rect-root ./step3_fake_rect/ --scene-root ./step4_scene_trace/ \\
        --trace-root ./step5_flow_trace/

Optical flow inside the person region gives motion features, of the fake and of its candidate
sources from step 4. The fake's are compared with every start frame of every candidate, at many
rates, mirrored or not. Writes `traces.csv`, one JSON per fake with the alternatives and the whole
score curve, `report.html`, and each source's motion features, which the next fake uses again.
"""

import argparse
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from functools import lru_cache, partial
from pathlib import Path

import numpy as np

from models.flow import FlowEstimator, make_flow
from models.motion import (COARSE, MotionGrid, Square, cut_mask, cut_square, motion_grid,
                           steady_square)
from models.segmenter import Segmenter, make_segmenter, person_mask
from utils import decision
from utils.batch import (Summary, add_common_options, add_segmenter_options, per_thread,
                         pick_device, run_batch, run_step)
from utils.decision import Hypothesis
from utils.geometry import square_mapping
from utils.layout import (RECTANGLES_NAME, InputError, VideoRecord, fake_result_path, frame_name,
                          read_arrays, read_image, read_json, video_folders, write_arrays,
                          write_json)
from utils.matching import (Alignment, SourceMotion, believed, pair_scores, place_score, prepare,
                            refine, rough_places, same_place, slide)
from utils.registration import MIN_INLIERS
from utils.report import write_report
from utils.scene_index import SceneEntry
from utils.tables import Trace, write_table
from utils.video import VideoReader

MASK_EVERY = 5  # source frames between two person masks
CHUNK = 64  # source frames in memory at a time
PLACES = 5  # places kept per candidate
REFINED = 8  # places looked at more closely per fake
UNKNOWN = 0.5  # confidence of "no source" where nothing could be compared
ALTERNATIVES = 10  # hypotheses written per fake


@dataclass(frozen=True)
class Tools:
    """What the work on one video needs; getters give each thread its own instance."""

    video_root: Path
    fake_roots: dict[str, Path]  # frames, masks, rect
    scene_root: Path
    trace_root: Path
    flow: Callable[[], FlowEstimator]
    segmenter: Callable[[], Segmenter]
    coefficients: np.ndarray
    settings: dict  # of the motion features
    top_k: int
    overwrite: bool


def main(video_root: Path = Path("./source_data/"),
         fake_frame_root: Path = Path("./step3_fake_frames/"),
         fake_mask_root: Path = Path("./step3_fake_masks/"),
         fake_rect_root: Path = Path("./step3_fake_rect/"),
         scene_root: Path = Path("./step4_scene_trace/"),
         trace_root: Path = Path("./step5_flow_trace/"), top_k: int = 20, flow: str = "dis",
         raft_weights: str | None = None, segmenter: str = "selfie",
         segmenter_model: Path | None = None, device: str = "auto", workers: int = 0,
         overwrite: bool = False) -> Summary:
    """Trace every fake that steps 3 and 4 have prepared.

    Raises InputError when a step before has not run, ModelFileError when a model is missing.
    """
    if top_k < 1:
        raise InputError("--top-k must be 1 or more")
    fakes = video_folders(fake_frame_root, "step 3")
    device = pick_device(device)
    flows = per_thread(partial(make_flow, flow, raft_weights, device))
    segmenters = per_thread(partial(make_segmenter, segmenter, segmenter_model, device))
    tools = Tools(Path(video_root),
                  {"frames": Path(fake_frame_root), "masks": Path(fake_mask_root),
                   "rect": Path(fake_rect_root)},
                  Path(scene_root), Path(trace_root), flows, segmenters,
                  decision.load_coefficients(),
                  {"flow": flows().identity, "segmenter": segmenters().identity,
                   "mask_every": MASK_EVERY}, top_k, overwrite)
    needed = sorted({c["source_id"] for fake in fakes for c in candidates_of(fake, tools)})
    if not needed:
        raise InputError(f"{scene_root}: no ranking in it; run step 4 first")
    indexed = run_batch(needed, partial(index_motion, tools=tools), name=lambda source: source,
                        label="step 5, source motion", workers=workers)
    if len(indexed.failed) == len(needed):
        raise InputError(f"{video_root}: none of the sources can be read there; check --video-root")
    load = lru_cache(maxsize=256)(partial(read_motion, tools=tools))
    traced = run_batch(fakes.items(), partial(trace_fake, tools=tools, load=load),
                       name=lambda item: item[1].file, label="step 5, flow trace", workers=workers)
    results = list(finished(fakes, tools.trace_root))
    write_table(tools.trace_root / "traces.csv", Trace, [Trace(**r["trace"]) for r in results])
    traced.failed = {**indexed.failed, **traced.failed}
    write_report(tools.trace_root / "report.html", results, tools.fake_roots["frames"],
                 tools.video_root, traced.failed)
    return traced


def candidates_of(fake_id: str, tools: Tools) -> list[dict]:
    """Candidates of a fake, best first, as step 4 wrote them; none when it has not seen it."""
    path = fake_result_path(tools.scene_root, fake_id)
    return read_json(path)["candidates"][:tools.top_k] if path.is_file() else []


# --- sources ---------------------------------------------------------------------------------

def motion_path(tools: Tools, source_id: str) -> Path:
    """File with the motion features of a source."""
    return tools.trace_root / "motion" / f"{source_id}.npz"


def index_motion(source_id: str, tools: Tools) -> bool:
    """Store the motion features of one source; False when they are there already."""
    entry = SceneEntry.read(tools.scene_root, source_id)
    if entry is None:
        raise InputError(f"{source_id}: not in the scene index; run step 4 again")
    settings = {**tools.settings, "source": asdict(entry.record)}
    found = None if tools.overwrite else read_arrays(motion_path(tools, source_id))
    if found is not None and found[0] == settings:
        return False
    square = steady_square(entry.rectangles)
    times, grid = source_motion(tools.video_root / entry.record.file, square, tools)
    write_arrays(motion_path(tools, source_id), settings, {
        "square": np.array(square or (0, 0, 0), np.float64), "times_s": times,
        "flow": grid.flow.astype(np.float16),
        "weight": np.round(grid.weight * 255).astype(np.uint8)})
    return True


def source_motion(path: Path, square: Square | None, tools: Tools) -> tuple[np.ndarray, MotionGrid]:
    """Frame times [T] in seconds and motion of a whole source, read once and chunk by chunk."""
    times: list[float] = []
    grids: list[MotionGrid] = []
    crops: list[np.ndarray] = []
    masks: list[np.ndarray] = []
    for frame in VideoReader(path, threads=1):
        times.append(frame.time_s)
        if square is None:
            continue
        if frame.index % MASK_EVERY == 0:
            mask = cut_mask(person_mask(tools.segmenter().probability(frame.image)), square)
        crops.append(cut_square(frame.image, square))
        masks.append(mask)
        if len(crops) == CHUNK:
            grids.append(motion_grid(np.stack(crops), np.stack(masks), tools.flow(), COARSE))
            crops, masks = crops[-1:], masks[-1:]
    if len(crops) > 1:
        grids.append(motion_grid(np.stack(crops), np.stack(masks), tools.flow(), COARSE))
    return np.array(times), MotionGrid.joined(grids, COARSE)


@dataclass(frozen=True)
class IndexedSource:
    """A source ready for comparison."""

    motion: SourceMotion
    square: Square
    times_s: np.ndarray  # [T] seconds from the first frame
    fps: float


def read_motion(source_id: str, tools: Tools) -> IndexedSource | None:
    """The stored motion of a source; None when it could not be made or nobody is in it."""
    found = read_arrays(motion_path(tools, source_id))
    if found is None or not len(found[1]["flow"]):
        return None
    arrays = found[1]
    grid = MotionGrid(arrays["flow"].astype(np.float32),
                      arrays["weight"].astype(np.float32) / 255)
    return IndexedSource(prepare(grid), tuple(arrays["square"]), arrays["times_s"],
                         found[0]["source"]["fps"])


# --- fakes -----------------------------------------------------------------------------------

def trace_fake(item: tuple[str, VideoRecord], tools: Tools,
               load: Callable[[str], IndexedSource | None]) -> bool:
    """Decide one fake and write its JSON; False when that was done with the same input."""
    fake_id, record = item
    candidates = candidates_of(fake_id, tools)
    made_with = {"record": asdict(record), "settings": tools.settings,
                 "coefficients": tools.coefficients.tolist(), "candidates": candidates,
                 "unreadable": [c["source"] for c in candidates
                                if not motion_path(tools, c["source_id"]).is_file()]}
    path = fake_result_path(tools.trace_root, fake_id)
    if not tools.overwrite and path.is_file() and read_json(path).get("made_with") == made_with:
        return False
    square, grid = fake_motion(fake_id, record, tools)
    places = []
    for candidate in candidates:
        source = load(candidate["source_id"])
        if grid is not None and source is not None:
            places += compare(grid, square, record, candidate, source)
    found = look_closer(places)
    write_json(path, result(record, grid, found, candidates, load, made_with, tools))
    return True


def fake_motion(fake_id: str, record: VideoRecord,
                tools: Tools) -> tuple[Square | None, MotionGrid | None]:
    """Steady square and motion of a fake; None where there is no person or only one frame."""
    rectangles = read_json(tools.fake_roots["rect"] / fake_id / RECTANGLES_NAME)
    square = steady_square([rectangles.get(str(index)) for index in record.frames])
    if square is None or len(record.frames) < 2:
        return square, None
    grids = []
    for start in range(0, len(record.frames) - 1, CHUNK):
        names = [frame_name(index) for index in record.frames[start:start + CHUNK + 1]]
        crops = [cut_square(read_image(tools.fake_roots["frames"] / fake_id / name), square)
                 for name in names]
        masks = [cut_mask(read_image(tools.fake_roots["masks"] / fake_id / name), square)
                 for name in names]
        grids.append(motion_grid(np.stack(crops), np.stack(masks), tools.flow()))
    return square, MotionGrid.joined(grids)


@dataclass(frozen=True)
class Place:
    """A rough place of a candidate, and what is needed to look closer."""

    candidate: dict
    source: IndexedSource
    grid: MotionGrid  # the fake's motion as it was compared
    flip: int
    registered: bool
    natural: float  # source frames per fake frame if nothing was re-timed
    rough: Alignment

    def judge(self, alignment: Alignment) -> Hypothesis:
        """The hypothesis that the fake comes from this very alignment."""
        c = self.candidate
        return Hypothesis(c["source"], alignment.start, alignment.end, alignment.rate, self.flip,
                          place_score(self.grid, self.source.motion, alignment), c["scene_score"],
                          c["inliers"], c["background_inliers"], self.registered)


def compare(fake: MotionGrid, square: Square, record: VideoRecord, candidate: dict,
            source: IndexedSource) -> list[Place]:
    """The best rough places of one source: person square to person square, and, where local
    features gave a mapping, through that (then it is known whether the fake is mirrored)."""
    natural = source.fps / record.fps
    turned = {0: fake, 1: fake.mirrored()}
    versions = [(flip, False, grid.pooled()) for flip, grid in turned.items()
                if not candidate["verified"] or flip == candidate["flip"]]
    if candidate["verified"]:
        mapping = square_mapping(np.array(candidate["mapping"]), square, source.square,
                                 record.width if candidate["flip"] else None)
        versions.append((candidate["flip"], True,
                         turned[candidate["flip"]].warped(mapping).pooled()))
    places = [Place(candidate, source, grid, flip, registered, natural, rough)
              for flip, registered, grid in versions
              for rough in rough_places(pair_scores(grid, source.motion), natural, PLACES)]
    return distinct(sorted(places, key=lambda p: -believed(p.rough.score, p.rough.rate,
                                                            natural)))[:PLACES]


def distinct(places: list[Place]) -> list[Place]:
    """Of places that were found along several ways keep the first."""
    kept: list[Place] = []
    for place in places:
        if not any(place.flip == other.flip and same_place(place.rough, other.rough)
                   for other in kept):
            kept.append(place)
    return kept


def look_closer(places: list[Place]) -> list[tuple[Hypothesis, np.ndarray]]:
    """Judge all places, refine the best ones and the best one of every verified candidate.

    Returns hypotheses, best motion first, with their scores over all starts at their rate (empty
    for those that were not refined).
    """
    judged = sorted(((place.judge(place.rough), place) for place in places),
                    key=lambda j: -j[0].motion_score)
    found, seen = [], set()
    for rank, (hypothesis, place) in enumerate(judged):
        curve = np.empty(0, np.float32)
        first = hypothesis.source not in seen
        seen.add(hypothesis.source)
        if rank < REFINED or first and place.candidate["verified"]:
            scores = pair_scores(place.grid, place.source.motion)
            alignment = refine(scores, place.rough, place.natural)
            hypothesis = place.judge(alignment)
            curve = slide(scores, alignment.rate, alignment.phase)
        found.append((hypothesis, curve))
    return sorted(found, key=lambda f: -f[0].motion_score)


def result(record: VideoRecord, grid: MotionGrid | None, found: list[tuple[Hypothesis, np.ndarray]],
           candidates: list[dict], load: Callable[[str], IndexedSource | None], made_with: dict,
           tools: Tools) -> dict:
    """What is written for one fake: the row of traces.csv, the alternatives, the evidence."""
    hypotheses = [hypothesis for hypothesis, _ in found]
    movement = float(np.abs(grid.flow).mean()) if grid is not None else 0.0
    features = decision.evidence(hypotheses, len(record.frames), movement)
    chances = decision.probabilities(features, tools.coefficients)
    order = np.argsort(-chances[:-1], kind="stable")
    best = found[order[0]] if found else None
    source = load(source_id(candidates, best[0].source)) if best else None
    trace = make_trace(record, candidates, hypotheses, chances, source, made_with["unreadable"])
    return {
        "fake": record.file, "made_with": made_with, "trace": asdict(trace),
        "alternatives": [asdict(hypotheses[i]) | {"probability": float(chances[i])}
                         for i in order[:ALTERNATIVES]],
        "no_source_probability": float(chances[-1]),
        "evidence": {"names": decision.FEATURES, "frames": len(record.frames),
                     "movement_px": movement,
                     "values": [[round(float(v), 5) for v in features[i]] for i in order],
                     "hypotheses": [asdict(hypotheses[i]) for i in order]},
        "score_curve": [round(float(value), 4) for value in best[1]] if best else []}


def make_trace(record: VideoRecord, candidates: list[dict], hypotheses: list[Hypothesis],
               chances: np.ndarray, source: IndexedSource | None, unreadable: list[str]) -> Trace:
    """The row of traces.csv."""
    empty = Trace(fake=record.file, fake_start_frame=record.frames[0],
                  fake_end_frame=record.frames[-1], verdict=decision.NO_SOURCE, source=None,
                  start_frame=None, end_frame=None, start_time_s=None, end_time_s=None, rate=None,
                  flip=None, scene_score=None, motion_score=None, confidence=float(chances[-1]),
                  runner_up=None, reason="")
    if not hypotheses:
        return scene_only(empty, candidates, unreadable)
    best = hypotheses[int(np.argmax(chances[:-1]))]
    others = [h for h in hypotheses if h.source != best.source]
    runner_up = max(others, key=lambda h: h.motion_score).source if others else None
    verdict = decision.verdict(chances, len(record.frames))
    if verdict == decision.NO_SOURCE:
        nearest = replace(empty, runner_up=best.source, motion_score=best.motion_score,
                          scene_score=best.scene_score,
                          reason=decision.explain(verdict, best, chances))
        contradicted = any(c["source"] in unreadable and c["verified"] or on_person(c)
                           for c in candidates)
        return scene_only(replace(nearest, runner_up=None, motion_score=None),
                          candidates, unreadable) if contradicted else nearest
    return replace(empty, verdict=verdict, source=best.source, start_frame=best.start,
                   end_frame=best.end, start_time_s=float(source.times_s[best.start]),
                   end_time_s=float(source.times_s[best.end]), rate=best.rate, flip=best.flip,
                   scene_score=best.scene_score, motion_score=best.motion_score,
                   confidence=float(chances[:-1].max()), runner_up=runner_up,
                   reason=decision.explain(verdict, best, chances))


def on_person(candidate: dict) -> bool:
    """Whether local features on the person, not only on a background, agree with a candidate."""
    on_background = candidate["background_inliers"]
    return candidate["verified"] and candidate["inliers"] >= 2 * on_background + MIN_INLIERS


def scene_only(empty: Trace, candidates: list[dict], unreadable: list[str]) -> Trace:
    """The row of a fake where motion tells nothing: the scene alone never says which frames."""
    verified = [c for c in candidates if c["verified"]]
    first = next((c for c in verified if c["source"] in unreadable or on_person(c)),
                 verified[0] if verified else None)
    if first is None:
        return replace(empty, confidence=UNKNOWN, reason="no motion of a person to compare, and "
                                                         "no source with the same scene")
    missing = first["source"] in unreadable
    why = ("its video could not be read, so its motion was not compared; check --video-root"
           if missing else "motion does not tell its frames: another take of the same person, or "
                           "too little motion")
    return replace(empty, verdict=decision.AMBIGUOUS, source=first["source"], flip=first["flip"],
                   scene_score=first["scene_score"], confidence=0.0,  # of frames that are not given
                   reason=f"{first['inliers']} local features agree with this source, but {why}")


def source_id(candidates: list[dict], source: str) -> str:
    """Video id of a candidate's file name."""
    return next(c["source_id"] for c in candidates if c["source"] == source)


def finished(fakes: dict[str, VideoRecord], trace_root: Path) -> Iterator[dict]:
    """Results of all fakes that have one."""
    for fake_id in fakes:
        path = fake_result_path(trace_root, fake_id)
        if path.is_file():
            yield read_json(path)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Step 5: which source, and which frames of it, was "
                                                 "a fake made from?")
    for name, default, text in (
            ("video-root", "./source_data/", "the source videos"),
            ("fake-frame-root", "./step3_fake_frames/", "frames of the fakes, from step 3"),
            ("fake-mask-root", "./step3_fake_masks/", "person masks of the fakes, from step 3"),
            ("fake-rect-root", "./step3_fake_rect/", "person rectangles of the fakes, from step 3"),
            ("scene-root", "./step4_scene_trace/", "index and rankings, from step 4"),
            ("trace-root", "./step5_flow_trace/", "where the results go")):
        parser.add_argument(f"--{name}", type=Path, default=Path(default),
                            help=f"{text} (default: %(default)s)")
    parser.add_argument("--top-k", type=int, default=20,
                        help="candidates of step 4 whose motion is compared (default: %(default)s)")
    parser.add_argument("--flow", choices=("raft", "dis"), default="dis",
                        help="optical flow: RAFT, or OpenCV's DIS (default: %(default)s)")
    parser.add_argument("--raft-weights", default=None,
                        help="raft_small weights: a state dict, or the word torchvision for the "
                             "published ones (needs a connection once)")
    add_segmenter_options(parser)
    add_common_options(parser, device=True)
    run_step(main, parser)
