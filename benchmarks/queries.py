"""Whole fakes as retrieval queries: ranked sources, answers with confidence, "is a source here?"

What step 5 wrote per fake (`fakes/<id>.json` beside traces.csv) gives the probability that no
source is here and a ranking beyond the answer; without it both come from traces.csv alone. The
same files answer each fake once more as if its own source were missing, which makes a source-less
query of every fake (leave_out()).
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from benchmarks.outcomes import MISSING, Found
from benchmarks.truths import Stretch, by_fake
from utils import decision
from utils.decision import NO_SOURCE, Hypothesis
from utils.files import InputError, read_json
from utils.layout import fake_result_path

LEFT_OUT = " without its source"  # added to a fake's name
ABSENT = "-absent"  # added to the tier of a fake without a source


def base_tier(tier: str) -> str:
    """The kind of edit, the same with and without a source."""
    return tier.removesuffix(ABSENT)


@dataclass(frozen=True)
class Evidence:
    """What step 5 knew about one fake, or one stretch that it found in it."""

    hypotheses: list[Hypothesis]  # most probable first
    frames: int  # of the stretch
    movement_px: float
    unchanged: float  # share of the person's blocks
    no_source: float  # probability


@dataclass(frozen=True)
class Query:
    """One fake as a question to the database."""

    fake: str
    tier: str
    frames: int  # of the fake; 0: not known
    wanted: tuple[tuple[str, ...], ...]  # per source it was made from, the names that are right
    answers: tuple[tuple[str, float], ...]  # source and confidence, most confident first
    ranking: tuple[str, ...]  # the final order of sources, the answers first; empty when rejected
    source_here: float  # estimated probability
    verdict: str  # of the most confident row; no_source only when all rows say so

    @property
    def relevant(self) -> frozenset[str]:
        return frozenset(name for names in self.wanted for name in names)

    def judged_answers(self) -> list[tuple[float, bool]]:
        """Confidence of each answer and whether it is right; a further name of a source that was
        already found counts neither way."""
        judged, open_groups = [], list(self.wanted)
        for source, confidence in self.answers:
            group = next((names for names in open_groups if source in names), None)
            if group is not None:
                open_groups.remove(group)
            elif source in self.relevant:
                continue
            judged.append((confidence, group is not None))
        return judged


def read_evidence(trace_root: Path, fakes: list[str]) -> dict[str, list[Evidence]]:
    """Evidence, stretch by stretch, of all fakes that have a file under trace_root; none where
    there is no such folder. Raises InputError for a file of another kind."""
    found = {}
    for fake in fakes:
        path = fake_result_path(trace_root, str(Path(fake).with_suffix("")))
        if path.is_file():
            found[fake] = _evidence(path)
    return found


def _evidence(path: Path) -> list[Evidence]:
    stored = read_json(path)
    try:
        return [Evidence([Hypothesis(**h) for h in part["evidence"]["hypotheses"]],
                         int(part["evidence"]["frames"]), float(part["evidence"]["movement_px"]),
                         float(part["evidence"]["unchanged_share"]),
                         float(part["no_source_probability"]))
                for part in stored["stretches"]]
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{path}: not as this version of step 5 writes it ({error}); run step 5 "
                         "again") from error


def make_queries(truth: list[Stretch], found: list[Found],
                 evidence: Mapping[str, list[Evidence]]) -> list[Query]:
    """One query for every fake of the truth, in its order; found and evidence by its name."""
    rows: dict[str, list[Found]] = {}
    for row in sorted(found, key=lambda row: -row.confidence):
        rows.setdefault(row.fake, []).append(row)
    return [_query(fake, stretches, rows.get(fake, []), evidence.get(fake, []))
            for fake, stretches in by_fake(truth).items()]


def _query(fake: str, stretches: list[Stretch], rows: list[Found],
           evidence: list[Evidence]) -> Query:
    answers: dict[str, float] = {}
    for row in rows:
        if row.source:
            answers.setdefault(row.source, row.confidence)  # the most confident row comes first
    rejected = all(row.verdict == NO_SOURCE for row in rows)  # also where there is no row
    further = [h.source for part in evidence for h in part.hypotheses]
    further += [row.runner_up for row in rows if row.runner_up]
    here = [1 - part.no_source for part in evidence] or [_source_here(row) for row in rows]
    ends = [case.fake_end for case in (*stretches, *rows) if case.fake_end is not None]
    return Query(fake, stretches[0].tier, max(ends, default=-1) + 1,
                 tuple(dict.fromkeys(s.sources for s in stretches if s.sources)),
                 tuple(answers.items()),
                 () if rejected else tuple(dict.fromkeys([*answers, *further])),
                 max(here, default=0.0),
                 MISSING if not rows else NO_SOURCE if rejected else rows[0].verdict)


def _source_here(row: Found) -> float:
    return 1 - row.confidence if row.verdict == NO_SOURCE else row.confidence


def leave_out(truth: list[Stretch], evidence: Mapping[str, list[Evidence]]
              ) -> tuple[list[Stretch], list[Found], dict[str, list[Evidence]]]:
    """Every fake with a source once more, as if that were not in the database: the truth about
    these queries, the answers and their evidence.

    The decision is made again on the hypotheses of the other sources. That is what a database
    without the source would give, but for two things: fewer of the others were refined, and a
    source that was just not among step 4's candidates cannot move up. A stretch for which nothing
    else was compared is left out.
    """
    coefficients = decision.load_coefficients()
    stretches, rows, kept = [], [], {}
    for fake, parts in by_fake(truth).items():
        own = {name for part in parts for name in part.sources}
        name, first = fake + LEFT_OUT, 0
        for known in evidence.get(fake, []) if own else []:
            others = [h for h in known.hypotheses if h.source not in own]
            last = first + known.frames - 1
            if others:
                row, left = decide(others, known, coefficients)
                stretches.append(Stretch(name, base_tier(parts[0].tier) + ABSENT, (), None, None,
                                         first, last))
                rows.append(replace(row, fake=name, fake_start=first, fake_end=last))
                kept.setdefault(name, []).append(left)
            first = last + 1
    return stretches, rows, kept


def decide(hypotheses: list[Hypothesis], known: Evidence,
           coefficients: np.ndarray) -> tuple[Found, Evidence]:
    """The answer when only these hypotheses are there, for a stretch that begins at frame 0."""
    features = decision.evidence(hypotheses, known.frames, known.movement_px, known.unchanged)
    chances = decision.probabilities(features, coefficients)
    place = decision.named(hypotheses, chances)
    ranked = [hypotheses[i] for i in decision.in_order(chances, place)]
    evidence = replace(known, hypotheses=ranked, no_source=float(chances[-1]))
    word = decision.verdict(hypotheses, chances, known.frames)
    best, last = ranked[0], known.frames - 1
    if word == NO_SOURCE:
        return Found("", word, "", float(chances[-1]), 0, last), evidence
    if not decision.tells_frames(chances, place):
        return Found("", word, best.source, 0.0, 0, last), evidence
    return Found("", word, best.source, decision.confidence(best, chances[place]), 0, last,
                 best.start, best.end), evidence


def read_ranking(rows: list[dict[str, str]]) -> dict[str, list[str]]:
    """Sources of every fake in the order of scene_ranking.csv. Raises InputError for a table of
    another kind."""
    ranked: dict[str, list[tuple[int, str]]] = {}
    for row in rows:
        try:
            ranked.setdefault(row["fake"], []).append((int(row["rank"]), row["source"]))
        except (KeyError, TypeError, ValueError) as error:
            raise InputError("the ranking lacks a column or holds no number where fake, rank and "
                             f"source are expected ({error})") from error
    return {fake: [source for _, source in sorted(pairs)] for fake, pairs in ranked.items()}
