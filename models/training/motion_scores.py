"""The motion embedder against the training-free signature, on fakes of clips it never saw.

Judging: the cosine of a fake with each of its hypotheses over short and long displacements
(utils.matching.place_score, its rival here). The hypotheses are those that the signature likes
best, as in step 5: a network's own best strangers are not looked for. Finding: the cosine with
every start of every source over one span, the fake neither mapped onto a source nor its rate known,
its mirror undone.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import torch

from models.motion import MotionGrid
from models.motion_embedder import SPANS, MotionNet, over_span, signature, slide, window
from models.training.motion_windows import Example, MotionWindows
from utils.matching import pair_scores, prepare
from utils.matching import slide as signature_slide

Embed = Callable[[np.ndarray, int], np.ndarray]  # stack [n, 12, 12, 3], span -> [n - span + 1, D]
FINDING_SPANS = (1, 3, 6)
NEIGHBOURHOOD = 5  # frames within which two starts are one place
NEAR = 2  # frames by which a start may be off
REACH = 30  # starts to both sides among which the exact one is looked for
KEPT = 20
SHORT = 14  # frame pairs of a short fake
RESAMPLES = 1000


def signature_vectors(stack: np.ndarray, span: int) -> np.ndarray:
    """The rival's vectors, [n - span + 1, 288]."""
    return signature(over_span(torch.from_numpy(stack), span)).flatten(1).numpy()


def network_vectors(net: MotionNet) -> Embed:
    """Vectors of a network, [n - span + 1, D]."""
    @torch.inference_mode()
    def embed(stack: np.ndarray, span: int) -> np.ndarray:
        return net(over_span(torch.from_numpy(stack), span)).numpy()

    return embed


def compare(windows: MotionWindows, net: MotionNet, start: MotionNet) -> dict:
    """All figures for the fakes of `windows`, by task and method; `start`: as training began."""
    methods = {"signature": signature_vectors, "principal components": network_vectors(start),
               "network": network_vectors(net)}
    return {"judging": judge(windows, methods),
            f"judging {SHORT} frame pairs": judge(shortened(windows), methods),
            "exact start": exact_starts(windows, methods),
            "finding": find(windows, methods)}


def shortened(windows: MotionWindows, pairs: int = SHORT) -> MotionWindows:
    """Up to four stretches of every fake, as if they were all there is of it."""
    parts = []
    for example in windows.examples:
        spare = len(example.plain) - pairs
        for first in range(0, spare + 1, max(pairs, spare // 3 + 1)):
            last = first + pairs
            parts.append(replace(example, plain=example.plain[first:last],
                                 grids=example.grids[:, first:last],
                                 at=example.at[:, first:last + 1]))
    return MotionWindows(parts, windows.sources)


def judge(windows: MotionWindows, methods: dict[str, Embed]) -> dict:
    """Right source against strangers over all fakes (AUROC), right place among all of a fake's."""
    rows = [_judged(windows, example, methods) for example in windows.examples]
    kept = {name: [row[name] for row in rows] for name in rows[0]}
    kept["sum"] = [(a + b) / 2 for a, b in zip(kept["signature"], kept["network"], strict=True)]
    best = {name: np.array([_bests(e, s) for e, s in zip(windows.examples, scores, strict=True)])
            for name, scores in kept.items()}
    fakes = np.array([id(example.truth) for example in windows.examples])  # names may recur in sets
    figures = {"windows": len(rows), "fakes": len(np.unique(fakes)),
               "clips": len({example.group for example in windows.examples})}
    for name, table in best.items():
        figures[name] = {
            "AUROC": interval(table[:, :2], auroc, fakes),
            "AUROC minus the signature's": interval(
                np.hstack([table[:, :2], best["signature"][:, :2]]),
                lambda t: auroc(t[:, :2]) - auroc(t[:, 2:]), fakes),
            "right place first": share((table[:, 0] > table[:, 2])[~np.isnan(table[:, 0])],
                                       fakes[~np.isnan(table[:, 0])])}
    return figures


def _judged(windows: MotionWindows, example: Example, methods: dict[str, Embed]
            ) -> dict[str, np.ndarray]:
    """Score of every hypothesis by every method, [H] each."""
    fitting = dict.fromkeys(min(span, max(1, len(example.plain) // 2)) for span in SPANS)

    def vector(embed: Embed, stack: np.ndarray) -> np.ndarray:
        return window(np.concatenate([embed(stack, span) for span in fitting]))

    scores = {}
    for name, embed in methods.items():
        fakes = [vector(embed, grid) for grid in example.grids]
        scores[name] = np.array([
            fakes[view] @ vector(embed, windows.sources[source].along(at))
            for view, source, at in zip(example.view, example.sources, example.at,
                                        strict=True)])
    return scores


def _bests(example: Example, scores: np.ndarray) -> tuple[float, float, float]:
    """Best score of a right hypothesis, of another source's, of any wrong one; NaN for none."""
    stranger = np.array([source != example.truth["source"] for source in example.sources])
    return tuple(float(scores[mask].max()) if mask.any() else np.nan
                 for mask in (example.right, stranger, ~example.right))


def auroc(table: np.ndarray) -> float:
    """Chance that a value of the first column is above one of the second; NaN are left out."""
    right, wrong = (column[~np.isnan(column)] for column in table.T)
    return float((right[:, None] > wrong).mean() + 0.5 * (right[:, None] == wrong).mean())


def exact_starts(windows: MotionWindows, methods: dict[str, Embed]) -> dict:
    """How often, of the starts around the true one, the true one fits best, pair by pair.

    Of fakes that were not re-timed, in the view of their best right hypothesis.
    """
    hits = {name: [] for name in methods}
    for example in windows.examples:
        row, count = example.truth, len(example.plain)
        if not example.right.any() or float(row["speed"]) != 1 or (
                int(row["end_frame"]) - int(row["start_frame"]) != count):
            continue
        steps, start = windows.sources[row["source"]].steps, int(row["start_frame"])
        first = max(0, start - REACH)
        around = steps[first:start + REACH + count]
        grid = example.grids[example.view[int(example.right.argmax())]]
        for name, embed in methods.items():
            curve = slide(embed(grid, 1), embed(around, 1))
            hits[name].append(int(curve.argmax()) == start - first)
    return {name: share(np.array(found)) for name, found in hits.items()}


def find(windows: MotionWindows, methods: dict[str, Embed]) -> dict:
    """Rank of the true start among the places of all sources, and the time that takes."""
    queries = [e for e in windows.examples
               if e.truth["source"] in windows.sources and float(e.truth["speed"]) > 0
               and len(e.plain) > max(FINDING_SPANS)]
    figures = {}
    for name, embed in methods.items():
        for span in FINDING_SPANS:
            database = {key: embed(source.steps, span) for key, source in windows.sources.items()}
            ranks = np.array([true_rank(query, database, embed(query.plain, span))
                              for query in queries])
            figures[f"{name}, span {span}"] = {f"recall@{k}": share(ranks < k)
                                               for k in (1, 5, 20)}
    return figures | {"seconds per fake": times(windows, queries, methods)}


def true_rank(example: Example, database: dict[str, np.ndarray], fake: np.ndarray) -> int:
    """Places of all sources that fit better than the true one; KEPT if that many do."""
    places = []
    for name, vectors in database.items():
        curve = slide(fake, vectors)
        places += [(float(curve[start]), name, start) for start in peaks(curve)]
    places.sort(reverse=True)
    for rank, (_, name, start) in enumerate(places[:KEPT]):
        if (name == example.truth["source"]
                and abs(start - int(example.truth["start_frame"])) <= NEAR):
            return rank
    return KEPT


def peaks(curve: np.ndarray) -> list[int]:
    """The best starts of a curve, none within NEIGHBOURHOOD of a better one."""
    left, kept = curve.astype(np.float64), []
    while len(kept) < KEPT and len(left) and left.max() > -np.inf:
        start = int(left.argmax())
        kept.append(start)
        left[max(0, start - NEIGHBOURHOOD):start + NEIGHBOURHOOD + 1] = -np.inf
    return kept


def times(windows: MotionWindows, queries: Sequence[Example], methods: dict[str, Embed]
          ) -> dict[str, float]:
    """Seconds to compare a fake with all starts of all sources, these being ready; medians.

    `matching.slide`: pair_scores() and slide() at rate 1, as step 5 has them.
    """
    grids = {name: (MotionGrid(s.steps[..., :2], s.steps[..., 2]), s.steps)
             for name, s in windows.sources.items()}
    ready = [prepare(grid) for grid, _ in grids.values()]
    found: dict[str, list[float]] = {"matching.slide": []}
    for query in queries:
        grid = MotionGrid(query.plain[..., :2], query.plain[..., 2])
        started = time.perf_counter()
        for source in ready:
            signature_slide(pair_scores(grid, source), 1.0)
        found["matching.slide"].append(time.perf_counter() - started)
    for name, embed in methods.items():
        database = [embed(steps, 1) for _, steps in grids.values()]
        found[f"{name} vectors, one step"] = []
        for query in queries:
            started = time.perf_counter()
            fake = embed(query.plain, 1)
            for vectors in database:
                slide(fake, vectors)
            found[f"{name} vectors, one step"].append(time.perf_counter() - started)
    return {name: round(float(np.median(seconds)), 5) for name, seconds in found.items()}


def share(hits: np.ndarray, fakes: np.ndarray | None = None) -> dict:
    """A share in per cent with its 95 % interval."""
    return interval(np.asarray(hits)[:, None] * 100.0, np.mean, fakes, digits=1)


def interval(table: np.ndarray, figure: Callable[[np.ndarray], float],
             fakes: np.ndarray | None = None, digits: int = 4) -> dict:
    """A figure of a table and its 95 % interval over resampled fakes.

    fakes: the fake of every row; None where every row is of another one.
    """
    if not len(table):
        return {"value": None, "95 %": None, "of": 0}
    names = np.arange(len(table)) if fakes is None else fakes
    rows = [np.flatnonzero(names == name) for name in dict.fromkeys(names.tolist())]
    rng = np.random.default_rng(0)
    drawn = [figure(table[np.concatenate([rows[i] for i in rng.integers(len(rows),
                                                                        size=len(rows))])])
             for _ in range(RESAMPLES)]
    return {"value": round(float(figure(table)), digits),
            "95 %": [round(float(v), digits) for v in np.nanquantile(drawn, (0.025, 0.975))],
            "of": len(table)}
