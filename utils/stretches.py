"""Fakes joined from several stretches: where they are cut, and what each part is.

Cuts are tried where pictures of something else lie between those of the best place, where motion
changes over to another place, where the pictures are seen to jump, and where the best place begins
or ends to fit. The first trial whose parts say more than the whole is taken; a part that is not
clear then, or runs at an unusual rate, may be joined itself: a rate of its own bridges what was left
out between two stretches, too.
"""

from collections.abc import Callable

from utils import answer
from utils.confirm import Fake, ReadSource
from utils.cutaways import Ends, without_cutaways
from utils.held_pixels import VERY_COARSE
from utils.paths import (MIN_STRETCH, clearly_seen, cut_prices, find_stretches, seen_stretches,
                         torn_stretches, unfit_stretches)
from utils.views import View, explained, gain_tables

AS_USUAL = 0.01  # share by which a usual rate may be off


def in_stretches(whole: dict, views: list[View], fake: Fake,
                 trace: Callable[[list[View], Fake], dict], read_source: ReadSource) -> list[dict]:
    """What a fake, or a part of it, is as a whole, or what its stretches are.

    whole: its answer, as `trace` gives it for views and a fake, both of one length. A stretch of
    something else that was cut in between is marked `cut_in`.
    """
    def part_of(ends: Ends) -> tuple[list[View], Fake]:
        return [view.part(*ends) for view in views], fake.part(*ends)

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
    for number, stretches in enumerate(trials):
        if len(stretches) < 2 or stretches in trials[:number]:
            continue
        parts = [trace(*part_of(ends)) for ends in stretches]
        if (answer.tells_more(answer.rows_of(parts), whole["trace"]) or stretches is uncut
                and answer.shows_something_else(parts, shown, whole["trace"])):
            ends_of, answers = dict(zip(map(id, parts), stretches)), []
            for part in answer.rejected_joined(parts, stretches,
                                               lambda ends: trace(*part_of(ends))):
                ends = ends_of.get(id(part))  # None where two were put together
                again = ends is not None and _may_be_joined(part, ends, views)
                found = (in_stretches(part, *part_of(ends), trace, read_source) if again
                         else [part])
                answers += [one | {"cut_in": True} for one in found] if ends in cut_in else found
            return answers
    return [whole]


def _may_be_joined(part: dict, ends: Ends, views: list[View]) -> bool:
    """Whether a part is long enough to be two, and not clearly traced at a usual rate."""
    if ends[1] - ends[0] + 1 < 2 * MIN_STRETCH:
        return False
    row, usual = part["trace"], {rate for view in views for rate in view.usual_rates}
    return (not answer.clearly_traced([row])
            or all(abs(abs(row.rate) / rate - 1) > AS_USUAL for rate in usual))
