"""Fakes joined from several stretches: where they are cut, and what each part is.

Cuts are tried where pictures of something else lie between those of the best place, where motion
changes over to another place, where the pictures are seen to jump, and where the best place begins
or ends to fit. The first trial whose parts say more than the whole is taken; a part that is not
clear then, or runs at an unusual rate, may be joined itself: a rate of its own bridges what was left
out between two stretches, too. One that is not clear beside others that are traced is compared the
other way round, for pictures are mirrored to hide that the one before goes on, and without the
frames of a transition at its ends (utils/transitions.py). In the end pictures move the cuts
(utils/joints.py).
"""

from collections.abc import Callable

from utils import answer
from utils.confirm import Fake, ReadSource
from utils.cutaways import Ends, without_cutaways
from utils.held_pixels import VERY_COARSE
from utils.joints import is_still_there, joined_by_pictures
from utils.paths import (MIN_STRETCH, clearly_seen, cut_prices, find_stretches, seen_stretches,
                         torn_stretches, unfit_stretches)
from utils.transitions import without_pieces, without_transitions
from utils.views import View, explained, gain_tables

Mirrored = Callable[[str], list[View]]

AS_USUAL = 0.01  # share by which a usual rate may be off


def in_stretches(whole: dict, views: list[View], fake: Fake,
                 trace: Callable[[list[View], Fake], dict], read_source: ReadSource,
                 mirrored: Mirrored) -> list[dict]:
    """What a fake is as a whole, or what its stretches are.

    whole: its answer, as `trace` gives it for views and a fake, both of one length. mirrored: by a
    source's file name, views of the fake on it that are none of these, for they have it the other
    way round than local features. A stretch of something else that was cut in between is marked
    `cut_in`.
    """
    def again(ends: Ends, part: dict) -> dict:
        row = part["trace"]
        known = any((view.candidate["source"], view.flip) == (row.source, row.flip)
                    for view in views)
        used = views if known else views + mirrored(row.source)
        return part | trace([view.part(*ends) for view in used], fake.part(*ends))

    parts = _cut_up(whole, views, fake, trace, read_source, mirrored)
    return joined_by_pictures(needed_cuts(without_pieces(parts), fake, again), fake, again,
                              read_source)


def _cut_up(whole: dict, views: list[View], fake: Fake,
            trace: Callable[[list[View], Fake], dict], read_source: ReadSource,
            mirrored: Mirrored) -> list[dict]:
    """in_stretches(), each cut where motion or a jump tells; of a part of a fake, too."""
    def part_of(ends: Ends) -> tuple[list[View], Fake]:
        return [view.part(*ends) for view in views], fake.part(*ends)

    def mirrored_part(ends: Ends) -> Mirrored:
        return lambda name: [view.part(*ends) for view in mirrored(name)]

    def traced(stretches: list[Ends]) -> tuple[list[dict], list[Ends]]:
        parts = [trace(*part_of(ends)) for ends in stretches]
        sources = answer.sources_of(parts)

        def either(ends: Ends, part: dict) -> dict:
            return either_way(part, *part_of(ends), trace, [
                view for name in sources for view in mirrored_part(ends)(name)])

        for number, ends in enumerate(stretches if sources else []):
            parts[number] = either(ends, parts[number])
            if not answer.clearly_traced([parts[number]["trace"]]):
                parts[number], stretches[number] = without_transitions(
                    parts[number], ends, fake, lambda ends: either(ends, trace(*part_of(ends))),
                    read_source)
        return parts, stretches

    best, prices = whole["best"], cut_prices(fake.motion.poses.grey)
    seen = seen_stretches(prices)
    uncut, shown = without_cutaways(best, fake, seen, read_source)
    if len(uncut) < 2 and best:  # a fade is not seen to jump
        uncut, shown = without_cutaways(best, fake, unfit_stretches(*explained(best)), read_source,
                                        fades=True)
    cut_in = {ends for ends, ours in zip(uncut, shown) if not ours}
    trials = [uncut, find_stretches(gain_tables(views, whole["found"]), prices), seen]
    if best:
        trials.append(torn_stretches(*explained(best), prices))
    if fake.unchanged() >= VERY_COARSE:
        trials = [stretches for stretches in trials if clearly_seen(stretches, prices)]
    for number, trial in enumerate(trials):
        if len(trial) < 2 or trial in trials[:number]:
            continue
        parts, stretches = traced(list(trial))
        if (answer.tells_more(answer.rows_of(parts), whole["trace"]) or trial is uncut
                and answer.shows_something_else(parts, shown, whole["trace"])):
            ends_of, answers = dict(zip(map(id, parts), stretches)), []
            for part in answer.rejected_joined(parts, stretches,
                                               lambda ends: trace(*part_of(ends))):
                ends = ends_of.get(id(part))  # None where two were put together
                again = ends is not None and _may_be_joined(part, ends, views)
                found = (_cut_up(part, *part_of(ends), trace, read_source, mirrored_part(ends))
                         if again else [part])
                answers += [one | {"cut_in": True} for one in found] if ends in cut_in else found
            return answers
    return [whole]


def needed_cuts(parts: list[dict], fake: Fake, again: Callable[[Ends, dict], dict]) -> list[dict]:
    """Stretches of a fake, those put together that go on in their source to the frame and are
    traced there together no worse; again: a stretch with other ends, as of joined_by_pictures()."""
    kept = parts[:1]
    for part in parts[1:]:
        row, before = part["trace"], kept[-1]["trace"]
        if answer.runs_on(before, row):
            both = again((fake.frames.index(before.fake_start_frame),
                          fake.frames.index(row.fake_end_frame)), kept[-1])
            if is_still_there(before, both["trace"]) and (
                    both["trace"].motion_score >= min(before.motion_score, row.motion_score)):
                kept[-1] = both
                continue
        kept.append(part)
    return kept


def either_way(part: dict, views: list[View], fake: Fake,
               trace: Callable[[list[View], Fake], dict], mirrored: list[View]) -> dict:
    """The answer for a part of a fake, or, where it is not clear, the one with further views if
    that says more. views, fake: it was traced with; mirrored: the further views, if any."""
    if not mirrored or answer.clearly_traced([part["trace"]]):
        return part
    other = trace(views + mirrored, fake)
    return other if answer.says_more([other["trace"]], [part["trace"]]) else part


def _may_be_joined(part: dict, ends: Ends, views: list[View]) -> bool:
    """Whether a part is long enough to be two, and not clearly traced at a usual rate."""
    if ends[1] - ends[0] + 1 < 2 * MIN_STRETCH:
        return False
    row, usual = part["trace"], {rate for view in views for rate in view.usual_rates}
    return (not answer.clearly_traced([row])
            or all(abs(abs(row.rate) / rate - 1) > AS_USUAL for rate in usual))
