"""What the page of one fake shows: numbers, words and pictures for its template."""

from functools import lru_cache, partial

import numpy as np

from models.flow import DisFlow, FlowEstimator
from utils import evidence_pictures as pictures
from utils import heatmap
from utils.curve import draw_curve
from utils.files import InputError
from utils.flow_picture import flow_scale, wheel_picture
from utils.page_frames import Loaded, fake_scale, load, thumbnail_pair
from utils.report_words import doubts, finding
from utils.side_by_side import (Roots, SourceFacts, Stretch, fake_id, read_fake, read_mask,
                                read_source, source_facts, stretches_of)
from utils.threads import together
from utils.timed_path import times_of
from utils.video import VideoError

MOMENTS = 8  # shown per fake, over all its stretches
FEWEST_MOMENTS = 3  # per stretch
PICTURE_SIDE = 288  # pixels of the longer side
FLOW_SIDE = 160
THUMBNAIL_SIDE = 96
MATCH_PICTURES = 3  # candidates whose matched points are drawn
KEPT_FRAMES = 32  # of sources, in memory: many fakes are matched with the same ones of step 1
WHEEL_SIDE = 72


def page_data(result: dict, roots: Roots) -> tuple[dict, bytes]:
    """Everything the template needs for one fake, and its thumbnail: fake beside source, JPEG.

    Raises InputError when the fake's frames are missing.
    """
    stretches = stretches_of(result)
    moments = max(FEWEST_MOMENTS, MOMENTS // len(stretches))
    loaded, candidates = together(
        lambda: [load(stretch, result, roots, moments) for stretch in stretches],
        partial(candidates_data, result, roots))
    made_with = result["made_with"]
    data = {"fake": result["fake"], "record": made_with["record"],
            "parts": [part_data(*part, result, roots) for part in zip(stretches, loaded)],
            "settings": {**{f"step 3, {k.replace('_', ' ')}": v
                            for k, v in made_with["record"]["settings"].items()
                            if v is not None and k != "times_s"},
                         **{f"step 5, {k}": v for k, v in made_with["settings"].items()},
                         **{f"version, {k}": v for k, v in result.get("versions", {}).items()}},
            "candidates": candidates,
            "wheel": encoded(wheel_picture(WHEEL_SIDE)), "flow_side": FLOW_SIDE}
    return data, pictures.jpeg(thumbnail_pair(loaded[0], THUMBNAIL_SIDE))


def encoded(picture: np.ndarray) -> str:
    """A picture as a data address."""
    return pictures.address(pictures.jpeg(picture))


def part_data(stretch: Stretch, loaded: Loaded, result: dict, roots: Roots) -> dict:
    """What the template shows of one stretch."""
    facts = source_facts(roots, stretch.row["source"]) if stretch.row["source"] else None
    (heats, whole_heat), (flows, scale), shown = together(
        partial(heat_data, loaded), partial(flow_data, stretch, loaded, result, roots),
        lambda: [moment_data(stretch, loaded, position, result, facts)
                 for position in loaded.shown])
    moments = [moment | {"heat": heat} | flow for moment, heat, flow in zip(shown, heats, flows)]
    return {"row": stretch.row, "detail": stretch.detail, "moments": moments, "heat": whole_heat,
            "finding": finding(stretch, result["traces"]), "note": loaded.note,
            "doubts": doubts(stretch, result["made_with"]["unreadable"]),
            "flow_scale": scale, "curve": draw_curve(stretch.detail["score_curve"],
                                                      stretch.detail.get("score_curve_start", 0)),
            "agreement": agreement_data(stretch, loaded, facts),
            "mapping": None if loaded.fit is None else loaded.fit.mapping}


def moment_data(stretch: Stretch, loaded: Loaded, position: int, result: dict,
                facts: SourceFacts | None) -> dict:
    """Fake and source at one moment."""
    fake = pictures.fitted(loaded.fakes[position], PICTURE_SIDE)
    index = stretch.fake_frames[position]
    source = position in loaded.sources
    number = stretch.source_frames[position] if source else None
    timed = facts is not None and source and number < len(facts.times_s)
    record = result["made_with"]["record"]
    times_s = times_of(record["frames"], record["fps"], record["settings"])
    return {"fake_frame": index, "fake_time_s": float(times_s[record["frames"].index(index)]),
            "fake": encoded(fake),
            "source": encoded(loaded.seen(position, fake.shape[1::-1])) if source else None,
            "source_frame": number,
            "source_time_s": float(facts.times_s[number]) if timed else None}


def heat_data(loaded: Loaded) -> tuple[list[str | None], str | None]:
    """Heat pictures of the moments and of all of them together; None where there is no heat."""
    positions = sorted(loaded.sources)
    if not loaded.compares:
        return [None] * len(loaded.shown), None
    ratios, covered = loaded.difference()

    def address(frame: np.ndarray, used: list[int]) -> str:
        heat = heatmap.heat(heatmap.together(ratios[used], covered[used]), loaded.fit.look)
        return encoded(pictures.heat_picture(pictures.fitted(frame, PICTURE_SIDE), heat,
                                             covered[used].any(axis=0)))
    around = [[i for i, p in enumerate(positions) if abs(p - moment) <= 1]
              for moment in loaded.shown]
    return ([address(loaded.fakes[moment], used) if used else None
             for moment, used in zip(loaded.shown, around)],
            address(loaded.fakes[positions[len(positions) // 2]], list(range(len(positions)))))


def flow_data(stretch: Stretch, loaded: Loaded, result: dict,
              roots: Roots) -> tuple[list[dict], float]:
    """Mask and flows of every moment as pictures, and the scale of their colours in pixels."""
    estimator, found = DisFlow(), []
    for position in loaded.shown:
        first = position if position + 1 in loaded.fakes else position - 1
        pair = [p for p in (first, first + 1) if p in loaded.fakes]
        frames = [pictures.fitted(loaded.fakes[p], FLOW_SIDE) for p in pair]
        size = frames[0].shape[1::-1]
        seen = [loaded.seen(p, size) for p in pair if p in loaded.sources]
        try:
            mask = read_mask(roots, fake_id(result), stretch.fake_frames[pair[0]], size,
                             stretch.path)
        except InputError:
            mask = np.ones(size[::-1], bool)
        found.append((frames[0], mask, flow_of(estimator, frames), flow_of(estimator, seen)))
    moved = [(flow, mask) for _, mask, *flows in found for flow in flows if flow is not None]
    scale = flow_scale([flow for flow, _ in moved], [mask for _, mask in moved])

    def drawn(flow: np.ndarray | None, mask: np.ndarray) -> str | None:
        return None if flow is None else encoded(pictures.masked_flow(flow, mask, scale))
    return [{"mask": encoded(pictures.outlined(frame, mask)), "fake_flow": drawn(ours, mask),
             "source_flow": drawn(theirs, mask)} for frame, mask, ours, theirs in found], scale


def flow_of(estimator: FlowEstimator, pair: list[np.ndarray]) -> np.ndarray | None:
    """Flow [H, W, 2] from the first of two frames to the second; None without a second."""
    if len(pair) < 2:
        return None
    return estimator.flow(pair[0][None], pair[1][None])[0]


def agreement_data(stretch: Stretch, loaded: Loaded, facts: SourceFacts | None) -> str | None:
    """Picture of what moved like the source and what did not; None where that is not known."""
    cells = stretch.detail.get("agreement")
    if not cells or not loaded.sources or facts is None or facts.square is None:
        return None
    source = loaded.sources[min(loaded.sources)]
    frame = pictures.fitted(source, PICTURE_SIDE)
    scale = loaded.source_scale * max(frame.shape) / max(source.shape)
    x, y, side = (scale * value for value in facts.square)
    return encoded(pictures.agreement_picture(frame, (x, y, side), cells))


def candidates_data(result: dict, roots: Roots) -> list[dict]:
    """The scene candidates, the first ones with their matched points drawn."""
    found = []
    for rank, candidate in enumerate(result["made_with"]["candidates"], 1):
        drawn = rank <= MATCH_PICTURES and candidate["mapping"] is not None
        found.append({**candidate, "rank": rank,
                      "picture": match_data(candidate, result, roots) if drawn else None})
    return found


def match_data(candidate: dict, result: dict, roots: Roots) -> str | None:
    """Matched points of one candidate; None when a frame is gone."""
    index, video = candidate["source_frame"], roots.videos / candidate["source"]
    try:
        fake = read_fake(roots, fake_id(result), candidate["fake_frame"])
        source, scale = matched_frame(roots, candidate["source"], index, video.stat().st_mtime_ns)
    except (InputError, VideoError, OSError):
        return None
    own_scale = fake_scale(fake, result["made_with"]["record"])
    return encoded(pictures.match_picture(fake, source,
                                          own_scale * np.array(candidate["fake_points"]),
                                          scale * np.array(candidate["source_points"])))


@lru_cache(maxsize=KEPT_FRAMES)
def matched_frame(roots: Roots, name: str, index: int, changed_ns: int) -> tuple[np.ndarray, float]:
    """A frame of a source, scaled down, and its scale; changed_ns: when the file was changed.

    Raises VideoError when there is no such frame.
    """
    found, scale = read_source(roots, name, {index})
    if index not in found:
        raise VideoError(f"{roots.videos / name}: frame {index} cannot be decoded")
    return found[index], scale
