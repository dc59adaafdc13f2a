"""Step 5: which source, and which frames of it, was a fake made from?

    python step5_flow_trace.py --video-root ./source_data/ \\
        --fake-frame-root ./step3_fake_frames/ --fake-mask-root ./step3_fake_masks/ \\
        --fake-rect-root ./step3_fake_rect/ --scene-root ./step4_scene_trace/ \\
        --trace-root ./step5_flow_trace/

Optical flow inside the person region gives motion features, of the fake and of its candidate
sources from step 4. The fake's are compared with every start frame of every candidate, at many
rates, mirrored or not; of a long candidate, with those near the places that coarse motion proposes.
At the best places the pictures are laid on each other, which confirms the place and its frames. A
fake whose whole picture moves, by a zoom or in a hand, is steadied, by its own background or by the
source's pictures, if it says more then. Writes `traces.csv`, `frames.csv`, one JSON per fake with
the alternatives and the whole score curve, `report.html`, and each source's motion features, which
the next fake uses again.
"""

if __name__ == "__main__":  # before the imports that take time
    from utils.interrupt import stop_quietly
    stop_quietly()

import argparse
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from functools import cache, lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from models.flow import make_flow
from models.segmenter import make_segmenter
from utils import answer, decision
from utils.batch import (Summary, add_common_options, add_segmenter_options, keep_failures, log,
                         per_thread, pick_device, read_failures, run_batch, run_step)
from utils.camera_path import camera_path
from utils.confirm import Fake, ReadSource, confirmed, open_fake
from utils.fake_motion import FakeRoots
from utils.files import InputError, write_json
from utils.gone import drop_fakes
from utils.kept_frames import KeptFrames
from utils.layout import (VideoRecord, fake_result_path, must_be_there, video_folders,
                          video_id_of)
from utils.locks import remove_leftovers
from utils.memory import give_back
from utils.motion_search import CoarseIndex, by_motion_alone
from utils.persons import each_person
from utils.report import missing_sources, write_reports
from utils.relative_path import relative_path
from utils.scene_index import indexed_ids, read_ranking
from utils.sections import in_sections
from utils.side_by_side import Roots, frame_pairs
from utils.source_motion import IndexedSource, MotionIndex
from utils.steadied import CameraPath, SteadiedRoots, Steadying, steadied_candidates
from utils.stretches import in_stretches
from utils.tables import FramePair, Trace, read_result, read_results, write_table
from utils.versions import versions
from utils.views import (View, agreement_of, alignment_of, find_places, look_closer, mark_copies,
                         views_of)

if TYPE_CHECKING:  # it imports PyTorch
    from utils.motion_pictures import AngleScorer

SCHEMA = "fpvt-trace-1"  # form of a fake's JSON, described in utils/trace.schema.json
METHOD = 50  # to be raised when the same input would be traced another way
PACKAGES = ("av", "numpy", "opencv-python", "torch")  # whose versions are told with a result
ALTERNATIVES = 10  # hypotheses written per fake
STEADIED = "its whole picture moves and was steadied first"  # in the reason of a row
TURNED_BACK = "its colours are inverted and were turned back first"
UNWRITTEN = ("trace", "found", "best", "cut_in")  # of what is known of a stretch


@dataclass(frozen=True)
class Tools:
    """What the work on one fake needs."""

    fake_roots: FakeRoots
    scene_root: Path
    trace_root: Path
    index: MotionIndex
    coefficients: np.ndarray
    top_k: int | None
    overwrite: bool
    exhaustive: bool
    coarse: CoarseIndex | None = None
    no_video: frozenset[str] = frozenset()
    scorer: "AngleScorer | None" = None
    pictures: ReadSource | None = None  # of sources, for the fake that is worked on

    def on_steadied(self, fake_id: str, path: CameraPath) -> "Tools":
        """The same for one fake, whose pictures are steadied along a camera path."""
        roots = SteadiedRoots.of(self.fake_roots, fake_id, path)
        return replace(self, fake_roots=roots, scorer=self.scorer and replace(self.scorer,
                                                                              roots=roots))


def main(video_root: Path = Path("./source_data/"),
         fake_frame_root: Path = Path("./step3_fake_frames/"),
         fake_mask_root: Path = Path("./step3_fake_masks/"),
         fake_rect_root: Path = Path("./step3_fake_rect/"),
         scene_root: Path = Path("./step4_scene_trace/"),
         trace_root: Path = Path("./step5_flow_trace/"), top_k: int | None = None, flow: str = "dis",
         raft_weights: str | None = None, segmenter: str = "selfie",
         segmenter_model: Path | None = None, device: str = "auto", workers: int = 0,
         overwrite: bool = False, index_all: bool = False, exhaustive: bool = False,
         motion_embedder: str | None = None, model_path: Path | None = None,
         save_video: bool = False, report: bool = True) -> Summary:
    """Trace every fake that steps 3 and 4 have prepared.

    motion_embedder: "resnet50", with its weights at model_path, tells of every alternative how
    alike the original method finds it. Raises InputError when a step before has not run,
    ModelFileError when a model is missing.
    """
    if top_k is not None and top_k < 1:
        raise InputError("--top-k must be 1 or more")
    if raft_weights is not None and flow != "raft":
        raise InputError("--raft-weights is for --flow raft; give both")
    if (motion_embedder is None) != (model_path is None):
        raise InputError("--motion-embedder and --model-path belong together; see README, Models")
    fakes = video_folders(fake_frame_root, "step 3")
    must_be_there("step 3", fake_mask_root, fake_rect_root)
    device = pick_device(device, needed=bool(
        flow != "dis" or segmenter != "selfie" or motion_embedder))
    flows = per_thread(partial(make_flow, flow, raft_weights, device))
    segmenters = per_thread(partial(make_segmenter, segmenter, segmenter_model, device))
    index = MotionIndex(Path(trace_root) / "motion", Path(video_root), Path(scene_root), flows,
                        segmenters, overwrite)
    tools = Tools(FakeRoots(Path(fake_frame_root), Path(fake_mask_root), Path(fake_rect_root)),
                  Path(scene_root), Path(trace_root), index,
                  decision.load_coefficients(), top_k, overwrite, exhaustive)
    if motion_embedder:
        from models.motion_resnet import ResNetMotionEmbedder  # PyTorch takes a second
        from utils.motion_pictures import AngleScorer

        embedder = ResNetMotionEmbedder(model_path, device)
        tools = replace(tools, scorer=AngleScorer(embedder, tools.fake_roots, Path(video_root),
                                                  flows, segmenters))
    needed, sources = needed_sources(fakes, tools), indexed_ids(scene_root)
    if index_all:
        needed |= set(sources)
    if not needed:
        raise InputError(f"{scene_root}: no ranking in it; run step 4 first")
    remove_leftovers(tools.trace_root)
    index.drop_all_but(sources)
    drop_fakes(tools.trace_root, fakes)
    indexed = run_batch(sorted(needed), index.add, name=str, label="step 5, source motion",
                        workers=workers, root=index.root)
    if len(indexed.failed) == len(needed):
        raise InputError(f"{video_root}: none of the sources can be read there; check --video-root")
    tools = replace(tools, coarse=CoarseIndex.brought_up_to_date(index),
                    no_video=index.without_video(needed))
    if tools.no_video:
        log.warning("%s: the videos of %d of %d sources are not there, so that only their motion, "
                    "kept from before, is compared; is --video-root right?", video_root,
                    len(tools.no_video), len(needed))
    load = lru_cache(maxsize=256)(index.read)
    traced = run_batch(fakes.items(), partial(trace_fake, tools=tools, load=load),
                       name=lambda item: item[1].file, label="step 5, flow trace", workers=workers,
                       root=tools.trace_root / "fakes")
    results = list(read_results(tools.trace_root, fakes))
    write_table(tools.trace_root / "traces.csv", Trace,
                [Trace(**row) for result in results for row in result["traces"]])
    write_table(tools.trace_root / "frames.csv", FramePair,
                (pair for result in results for pair in frame_pairs(result)))
    traced.failed = {**indexed.failed, **traced.failed}
    roots = Roots(Path(fake_frame_root), Path(fake_mask_root), Path(fake_rect_root),
                  Path(video_root), tools.trace_root)
    failed = (missing_sources(scene_root, fakes.values()) | read_failures(fake_frame_root)
              | traced.failed)
    shown = write_reports(results, roots, failed, sources=len(sources), report=report,
                          save_video=save_video, workers=workers, overwrite=overwrite)
    traced.failed |= shown.failed
    keep_failures(tools.trace_root, traced)
    verdicts = Counter(row["verdict"] for result in results for row in result["traces"])
    log.info("%s: %s", tools.trace_root / "traces.csv",
             ", ".join(f"{count} {verdict}" for verdict, count in verdicts.most_common()))
    if report:
        log.info("to be opened in a browser: %s", tools.trace_root / "report.html")
    return traced


def candidates_of(fake_id: str, tools: Tools) -> list[dict]:
    """Candidates of a fake, best first, as step 4 wrote them; none when it has not seen it."""
    return read_ranking(tools.scene_root, fake_id)["candidates"][:tools.top_k]


def needed_sources(fakes: dict[str, VideoRecord], tools: Tools) -> set[str]:
    """Ids of all candidates; a fake whose ranking is damaged fails later, alone."""
    needed = set()
    for fake_id in fakes:
        with suppress(InputError):
            needed |= {c["source_id"] for c in candidates_of(fake_id, tools)}
    return needed


def trace_fake(item: tuple[str, VideoRecord], tools: Tools,
               load: Callable[[str], IndexedSource | None]) -> bool:
    """Decide one fake and write its JSON; False when that was done with the same input."""
    fake_id, record = item
    tools = replace(tools, pictures=KeptFrames(tools.index.decode))
    candidates = candidates_of(fake_id, tools)
    searched = searched_by_motion(candidates, tools)
    made_with = {"method": METHOD, "record": asdict(record), "settings": tools.index.settings,
                 "coefficients": tools.coefficients.tolist(), "candidates": candidates,
                 "unreadable": [c["source"] for c in candidates
                                if not tools.index.path(c["source_id"]).is_file()],
                 "no_pictures": [c["source"] for c in candidates
                                 if c["source_id"] in tools.no_video],
                 "searched": searched, "exhaustive": tools.exhaustive,
                 "motion_embedder": tools.scorer and tools.scorer.embedder.identity}
    if not tools.overwrite and is_answered(fake_id, tools.trace_root, made_with):
        return False
    give_back()  # what the fake before took
    answers, steadying = trace_as_shown(fake_id, record, made_with, load, tools), None
    picture, mask = (partial(read, fake_id)
                     for read in (tools.fake_roots.picture, tools.fake_roots.mask))
    for find in (lambda: (path := camera_path(picture, mask, record.frames)) and Steadying(path),
                 lambda: None if answer.shows_one_picture(answers) else relative_path(
                     picture, record.frames, record.fps, answer.places_of(answers),
                     tools.pictures)):
        if answer.needs_no_steadying(answers) or not (other := find()):
            continue
        steady = trace_as_shown(fake_id, record, made_with, load, tools, other)
        if (answer.says_more(answer.rows_of(steady), answer.rows_of(answers))
                and (not other.seen or answer.fits_by_itself(steady))):
            answers, steadying = steady, other
    write_json(fake_result_path(tools.trace_root, fake_id),
               result(record, answers, made_with, steadying and steadying.path))
    return True


def trace_as_shown(fake_id: str, record: VideoRecord, made_with: dict,
                   load: Callable[[str], IndexedSource | None], tools: Tools,
                   steadying: Steadying | None = None) -> list[dict]:
    """Decide a fake, or its stretches, by its pictures as they are, or steadied."""
    candidates = made_with["candidates"]
    if steadying:
        tools = tools.on_steadied(fake_id, steadying.path)
        candidates = steadied_candidates(candidates, steadying, record.width)
    fake = open_fake(tools.fake_roots, fake_id, record, tools.index.flow(), tools.index.segmenter(),
                     whole=any(c["verified"] for c in candidates))
    if fake.motion is not None and made_with["searched"]:
        added = tools.coarse.nearest(fake.motion.grid, {c["source_id"] for c in candidates})
        candidates = candidates + [by_motion_alone(source_id, candidates, load(source_id))
                                   for source_id in added]
    candidates, copies = answer.without_copies(candidates, load)

    def views_on(candidate: dict) -> list[View]:
        source = load(candidate["source_id"])
        return [] if source is None else in_sections(
            views_of(fake.motion, record, candidate, source, fake.look),
            partial(tools.coarse.vectors, candidate["source_id"]), tools.exhaustive)

    @cache
    def mirrored(name: str) -> list[View]:
        candidate = next(c for c in candidates if c["source"] == name)
        return views_on({**candidate, "flip": 1 - candidate["flip"]}
                        ) if candidate["verified"] else []  # the others are compared both ways

    views = [view for candidate in candidates if fake.motion is not None
             for view in views_on(candidate)]
    answers = trace_stretches(views, fake, {**made_with, "candidates": candidates}, load, tools,
                              mirrored)
    said = [*fake.said(), *([STEADIED] if steadying else []),
            *([TURNED_BACK] if record.settings.get("negative") else []),
            *filter(None, [record.settings.get("flaws")])]
    for one in answers:
        row = one["trace"]
        same = [f"the same file is here as {name}, too" for name in copies.get(row.source, [])]
        one["trace"] = replace(row, reason="; ".join([row.reason, *same, *said]))
    return answers


def searched_by_motion(candidates: list[dict], tools: Tools) -> dict:
    """What motion alone searches for more candidates: all that is indexed, if local features
    verified none; empty where there is nothing to search."""
    ranked = {c["source_id"] for c in candidates}
    if any(c["verified"] for c in candidates) or not tools.coarse.knows_more_than(ranked):
        return {}
    return tools.coarse.state


def is_answered(fake_id: str, trace_root: Path, made_with: dict) -> bool:
    """Whether a fake's JSON is there, sound, made with the same input, in today's form."""
    found = read_result(trace_root, fake_id) or {}
    return found.get("schema") == SCHEMA and found.get("made_with") == made_with


def trace_stretches(views: list[View], fake: Fake, made_with: dict,
                    load: Callable[[str], IndexedSource | None], tools: Tools,
                    mirrored: Callable[[str], list[View]] = lambda name: []) -> list[dict]:
    """Decide a fake as a whole, person by person where several are traced, or stretch by stretch
    where it was joined from several; mirrored: as of in_stretches()."""
    trace = partial(trace_stretch, made_with=made_with, load=load, tools=tools)
    whole = trace(views, fake)
    if not views:
        return [whole]
    persons = each_person(whole, views, fake.motion.square,
                          (fake.record.width, fake.record.height), partial(trace, fake=fake))
    return (persons if len(persons) > 1
            else in_stretches(whole, views, fake, trace, tools.pictures, mirrored))


def trace_stretch(views: list[View], fake: Fake, made_with: dict,
                  load: Callable[[str], IndexedSource | None], tools: Tools) -> dict:
    """Decide a fake or one stretch of it: its row and the evidence."""
    found = mark_copies(confirmed(look_closer(find_places(views)), fake, tools.pictures,
                                  tools.exhaustive))
    hypotheses = [f.hypothesis for f in found]
    unchanged = fake.unchanged() if found else 0.0
    features = decision.evidence(hypotheses, len(fake.frames), fake.movement, unchanged)
    chances = decision.probabilities(features, tools.coefficients)
    candidates = made_with["candidates"]
    seen = answer.persons_seen(candidates, hypotheses)
    place = decision.named(hypotheses, chances, seen)
    order = decision.in_order(chances, place)
    trace = answer.make_trace(fake.record.file, fake.frames, candidates, hypotheses, chances, place,
                              lambda name: load(answer.source_id(candidates, name)),
                              made_with["unreadable"])
    evidence = {"names": decision.FEATURES, "frames": len(fake.frames),
                "movement_px": fake.movement, "unchanged_share": round(unchanged, 4),
                "values": [[round(float(v), 5) for v in features[i]] for i in order],
                "hypotheses": [asdict(hypotheses[i]) for i in order]}
    best = found[order[0]] if found and trace.start_frame is not None else None
    told = order[:ALTERNATIVES]
    angles = (tools.scorer.angles(video_id_of(fake.record.file), fake.record, fake.frames,
                                  [found[i] for i in told])
              if tools.scorer else [None] * len(told))
    return {"trace": trace, "found": found, "best": best,
            "source_sha256": next((c["source_sha256"] for c in candidates
                                   if c["source"] == trace.source), None),
            "no_source_probability": float(chances[-1]), "evidence": evidence,
            "alternatives": [asdict(hypotheses[i]) | {"probability": float(chances[i]),
                                                      "motion_angle_rad": angle}
                             for i, angle in zip(told, angles, strict=True)],
            "score_curve": np.round(found[order[0]].curve, 4).tolist() if found else [],
            "score_curve_start": found[order[0]].view.source.first if found else 0,
            "alignment": alignment_of(best) if best else [],
            "agreement": agreement_of(best) if best else [],
            "mapping": best.mapping.matrix.tolist() if best and best.mapping else None}


def result(record: VideoRecord, answers: list[dict], made_with: dict,
           path: CameraPath | None = None) -> dict:
    """What is written for one fake: its rows of traces.csv and, per row, the evidence; path: of its
    camera, where its pictures were steadied."""
    return {"schema": SCHEMA, "fake": record.file, "made_with": made_with,
            "versions": versions(PACKAGES),
            "steadied": path and [np.round(path[index], 6).tolist() for index in record.frames],
            "traces": [asdict(row) for row in answer.rows_of(answers)],
            "stretches": [{key: value for key, value in a.items() if key not in UNWRITTEN}
                          for a in answers]}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Step 5: which source, and which frames of it, "
                                                 "was a fake made from?")
    for name, default, text in (
            ("video-root", "./source_data/", "the source videos"),
            ("fake-frame-root", "./step3_fake_frames/", "frames of the fakes, from step 3"),
            ("fake-mask-root", "./step3_fake_masks/", "person masks of the fakes, from step 3"),
            ("fake-rect-root", "./step3_fake_rect/", "person rectangles of the fakes, from step 3"),
            ("scene-root", "./step4_scene_trace/", "index and rankings, from step 4"),
            ("trace-root", "./step5_flow_trace/", "where the results go")):
        parser.add_argument(f"--{name}", type=Path, default=Path(default),
                            help=f"{text} (default: %(default)s)")
    parser.add_argument("--top-k", type=int, default=None,
                        help="candidates of step 4 whose motion is compared, the best ones "
                             "(default: all that it wrote)")
    parser.add_argument("--flow", choices=("raft", "dis"), default="dis",
                        help="optical flow: RAFT, or OpenCV's DIS (default: %(default)s)")
    parser.add_argument("--raft-weights", default=None,
                        help="raft_small weights: a state dict, or the word torchvision for the "
                             "published ones (needs a connection once)")
    parser.add_argument("--index-all", action="store_true",
                        help="prepare the motion of all sources, not of the candidates alone: a "
                             "fake whose scene leads nowhere is then searched in all of them")
    parser.add_argument("--exhaustive", action="store_true",
                        help="compare all of long sources frame by frame, not only near the "
                             "places that coarse motion proposes, and look at all of the best "
                             "places when one is clear, too: slower")
    parser.add_argument("--motion-embedder", choices=("resnet50",), default=None,
                        help="also compare flow pictures by angular distance, as the original "
                             "method does; told with the alternatives, not part of the decision "
                             "(default: no)")
    parser.add_argument("--model-path", type=Path, default=None,
                        help="weights of that network, as models/training/train_flow.py makes them "
                             "(default: none)")
    parser.add_argument("--save-video", action="store_true",
                        help="also write a video per fake whose frames were found: fake, source, "
                             "heatmap of what differs")
    parser.add_argument("--no-report", dest="report", action="store_false",
                        help="write no report.html and no pages")
    add_segmenter_options(parser)
    add_common_options(parser, device=True)
    run_step(main, parser)
