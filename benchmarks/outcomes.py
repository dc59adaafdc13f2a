"""What was found for every fake beside what is true: the rows that all figures are taken from.

A found row of traces.csv belongs to the true stretch with which it shares most frames of the fake
(to the one whose source it names where two share equally many), and `no_source` answers every
stretch that it overlaps. Of several rows for one stretch the one that shares most frames is
judged; for a stretch without a source a traced one before any other. Both ends are compared at the
stretch's own first and last frame of the fake: where the row covers another part of the fake, its
places in the source are extrapolated along its own line. Places in another copy of the footage are
compared by their time, as if both began at one moment.
"""

from dataclasses import dataclass, replace

from benchmarks.truths import Stretch, by_fake
from utils.decision import NO_SOURCE, TRACED
from utils.files import InputError

WRONG_COUNTS = 10**9  # more than any number of frames
MISSING = "missing"  # verdict on a stretch for which there is no row
CONFIDENT_START, CONFIDENT_END = 1, 2  # frames within which `confidence` promises to be right


@dataclass(frozen=True)
class Found:
    """One row of traces.csv."""

    fake: str
    verdict: str
    source: str  # empty: none
    confidence: float
    fake_start: int  # frames of the fake
    fake_end: int
    start: int | None = None  # source frames of these
    end: int | None = None
    runner_up: str = ""
    fps: float | None = None  # of the source; None where the row does not tell

    def place_at(self, fake_frame: int) -> float:
        """Source frame of a frame of the fake, on the line through the row's two ends."""
        length = self.fake_end - self.fake_start
        slope = (self.end - self.start) / length if length else 1.0
        return self.start + slope * (fake_frame - self.fake_start)


@dataclass(frozen=True)
class Outcome:
    """One stretch of the truth and what was found for it."""

    fake: str
    tier: str
    sources: tuple[str, ...]  # any of them right; empty when its original is not in the database
    start: int | None  # true frames of the first source; None where the truth does not tell
    end: int | None
    frames: int  # of the stretch in the fake; 0: not known
    verdict: str
    found_source: str = ""
    found_start: int | None = None  # at the same frames of the fake as start and end; frames of the
    found_end: int | None = None  # found source
    iou: float = 0.0  # of the source frames as the row names them; 0 for another source
    confidence: float = 0.0
    per_frame: float | None = 1.0  # frames of the first source per frame of the found one, which may
    # be another copy of its footage; None: not known

    @property
    def right_source(self) -> bool:
        return self.found_source in self.sources

    @property
    def frames_known(self) -> bool:
        """Whether the found source's frames can be compared with those that the truth tells."""
        return self.start is not None and self.right_source and self.per_frame is not None

    @property
    def start_error(self) -> float:
        """Frames; infinite for another source or where no frames are given."""
        return abs(self.off("start"))

    @property
    def end_error(self) -> float:
        return abs(self.off("end"))

    def off(self, end: str) -> float:
        """Found minus true frame at an end, "start" or "end"; as start_error."""
        found, true = getattr(self, f"found_{end}"), getattr(self, end)
        if not self.frames_known or found is None:
            return float("inf")
        return round(found * self.per_frame) - true

    @property
    def right(self) -> bool:
        """Whether the answer is what `confidence` is the probability of."""
        if self.verdict == NO_SOURCE:
            return not self.sources
        return self.start_error <= CONFIDENT_START and self.end_error <= CONFIDENT_END


def read_found(rows: list[dict[str, str]]) -> list[Found]:
    """Rows of traces.csv. Raises InputError for a table that lacks something."""
    return [_found(row) for row in rows]


def _found(row: dict[str, str]) -> Found:
    try:
        start, end = (int(row[name]) if row[name] else None
                      for name in ("start_frame", "end_frame"))
        whole = (int(row["fake_start_frame"] or 0), int(row["fake_end_frame"] or 0))
        return Found(row["fake"], row["verdict"], row["source"], float(row["confidence"]), *whole,
                     start, end if start is not None else None, row.get("runner_up") or "",
                     _fps(row))
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"traces, {row.get('fake')}: a column is missing or holds no number "
                         f"({error})") from error


def _fps(row: dict[str, str]) -> float | None:
    """Frames per second of a row's source, as its later end tells."""
    frame, seconds = max((float(row.get(f"{end}_frame") or 0), float(row.get(f"{end}_time_s") or 0))
                         for end in ("start", "end"))
    return frame / seconds if frame > 0 and seconds > 0 else None


def frame_rates(found: list[Found]) -> dict[str, float]:
    """Frames per second of every source of which a row tells, by the latest frame."""
    latest = sorted((row for row in found if row.fps is not None and row.start is not None),
                    key=lambda row: max(row.start, row.end))
    return {row.source: row.fps for row in latest}


def compare(truth: list[Stretch], found: list[Found]) -> list[Outcome]:
    """One outcome for every stretch of the truth, in its order."""
    rows: dict[str, list[Found]] = {}
    for row in found:
        rows.setdefault(row.fake, []).append(row)
    rates = frame_rates(found)
    outcomes = []
    for fake, stretches in by_fake(truth).items():
        chosen = _match(stretches, rows.get(fake, []))
        outcomes += [judge(stretch, row, rates) for stretch, row in zip(stretches, chosen)]
    return outcomes


def shared_frames(stretch: Stretch, row: Found) -> int:
    """Frames of the fake that both cover."""
    last = row.fake_end if stretch.fake_end is None else min(stretch.fake_end, row.fake_end)
    return max(0, last - max(stretch.fake_start, row.fake_start) + 1)


def _match(stretches: list[Stretch], rows: list[Found]) -> list[Found | None]:
    """The row to judge for every stretch."""
    best: list[tuple[int, Found] | None] = [None] * len(stretches)
    for row in rows:
        shares = [shared_frames(stretch, row) for stretch in stretches]
        home = max(range(len(stretches)),
                   key=lambda i: (shares[i], row.source in stretches[i].sources))
        for number, share in enumerate(shares):
            belongs = number == home or row.verdict == NO_SOURCE
            if not stretches[number].sources and row.verdict == TRACED:
                share += WRONG_COUNTS  # without a source any trace is wrong, however short
            if share and belongs and (best[number] is None or share > best[number][0]):
                best[number] = (share, row)
    return [pair[1] if pair else None for pair in best]


def judge(stretch: Stretch, row: Found | None, rates: dict[str, float] | None = None) -> Outcome:
    """Compare one stretch with its row; rates: frame_rates(), if known."""
    first, last = stretch.fake_start, stretch.fake_end
    if last is None and row is not None:  # the stretch is the whole fake, as far as it was traced
        first, last = row.fake_start, row.fake_end
    true = _true_range(stretch, first, last)
    frames = last - first + 1 if last is not None else 0
    empty = Outcome(stretch.fake, stretch.tier, stretch.sources, *true, frames, MISSING)
    if row is None:
        return empty
    return _with_answer(empty, row, first, last, rates or {})


def _true_range(stretch: Stretch, first: int, last: int | None) -> tuple[int | None, int | None]:
    """True source frames of the fake's frames first and last."""
    if stretch.start is None or stretch.end is not None:
        return stretch.start, stretch.end
    return stretch.start + first, stretch.start + last if last is not None else stretch.start


def _with_answer(empty: Outcome, row: Found, first: int, last: int,
                 rates: dict[str, float]) -> Outcome:
    start = end = None
    if row.start is not None:
        start, end = round(row.place_at(first)), round(row.place_at(last))
    found = replace(empty, verdict=row.verdict, found_source=row.source, found_start=start,
                    found_end=end, confidence=row.confidence,
                    per_frame=_per_frame(row.source, empty.sources, rates))
    if not found.frames_known or start is None:
        return found
    there = round(row.start * found.per_frame), round(row.end * found.per_frame)
    return replace(found, iou=overlap((empty.start, empty.end), there))


def _per_frame(source: str, right: tuple[str, ...], rates: dict[str, float]) -> float | None:
    """Outcome.per_frame; right: the sources of the truth."""
    if source in right[:1]:
        return 1.0
    if source not in right or not {source, right[0]} <= set(rates):
        return None
    return rates[right[0]] / rates[source]


def overlap(one: tuple[int, int], other: tuple[int, int]) -> float:
    """Temporal intersection over union of two inclusive ranges of frames, either way round.

    >>> overlap((0, 9), (5, 14))
    0.3333333333333333
    """
    (a, b), (c, d) = sorted(one), sorted(other)
    common = max(0, min(b, d) - max(a, c) + 1)
    return common / (b - a + d - c + 2 - common)
