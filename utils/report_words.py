"""What the report says in plain words about one fake."""

from utils.decision import MIN_FRAMES
from utils.held_pixels import COARSE
from utils.side_by_side import Stretch

VERDICTS = {"traced": "traced", "ambiguous": "ambiguous", "no_source": "no source here"}
SHORT_FRAMES = 20  # fewer leave motion little to tell
LITTLE_MOVEMENT_PX = 0.02  # mean displacement, in pixels of the 192-pixel person square
CLOSE_SECOND = 0.1  # probability from which on another place is worth naming
WEAK_MOTION = 0.7  # motion scores that strangers reach as well


def time_code(seconds: float | None) -> str:
    """Seconds as minutes and seconds.

    >>> time_code(83.456)
    '1:23.46'
    """
    if seconds is None:
        return ""
    hundredths = round(seconds * 100)
    minutes, rest = divmod(hundredths, 6000)
    hours, minutes = divmod(minutes, 60)
    clock = f"{hours}:{minutes:02d}" if hours else f"{minutes}"
    return f"{clock}:{rest // 100:02d}.{rest % 100:02d}"


def percent(share: float) -> str:
    """A probability that never claims certainty.

    >>> percent(0.998), percent(0.5), percent(0.001)
    ('over 99 %', '50 %', 'under 1 %')
    """
    if share > 0.99:
        return "over 99 %"
    return "under 1 %" if share < 0.01 else f"{100 * share:.0f} %"


def speed(rate: float) -> str:
    """A rate in words.

    >>> speed(1.0), speed(-1.25)
    ('frame for frame', 'backwards, 1.25 source frames per frame of the fake')
    """
    direction = "backwards" if rate < 0 else ""
    pace = abs(rate)
    if abs(pace - 1) < 0.005:
        change = "frame for frame"
    else:
        change = f"{pace:.3g} source frames per frame of the fake"
    return ", ".join(part for part in (direction, change) if part)


def finding(stretch: Stretch, rows: list[dict]) -> str:
    """One sentence: what was found, and how sure it is. rows: those of the whole fake."""
    row, whole = stretch.row, True
    part, was = "This fake", "was"
    if len(rows) > 1 and len({other["fake_start_frame"] for other in rows}) == 1:
        part = "One of the persons in this fake"
    elif len(rows) > 1:
        part, was, whole = (f"Frames {row['fake_start_frame']} to {row['fake_end_frame']} of this "
                            "fake"), "were", False
    if row["verdict"] == "no_source":
        return (f"{part} {was} not made from any video of this database, as far as this method can "
                f"tell; it is {percent(row['confidence'])} sure of that.")
    if row["start_frame"] is None:
        return (f"{part} agree{'s' if whole else ''} with {row['source']} in scene or person, but "
                "motion does not tell which frames were used.")
    mirrored = ", mirrored" if stretch.flip else ""
    place = (f"frames {row['start_frame']} to {row['end_frame']} of {row['source']} "
             f"({time_code(row['start_time_s'])} to {time_code(row['end_time_s'])}), "
             f"{speed(row['rate'])}{mirrored}")
    if row["verdict"] == "ambiguous" and stretch.detail["evidence"]["frames"] < MIN_FRAMES:
        return (f"{part} may come from {place}, but {MIN_FRAMES} frames are needed to be sure; the "
                f"method gives this place {percent(row['confidence'])}.")
    if row["verdict"] == "ambiguous":
        return (f"{part} may come from {place}, but that is not clear: the method gives this "
                f"place {percent(row['confidence'])}.")
    return (f"{part} {was} made from {place}; the method is {percent(row['confidence'])} sure of "
            "the source and of the frames.")


def doubts(stretch: Stretch, unreadable: list[str]) -> list[str]:
    """What could make the finding wrong."""
    row, detail = stretch.row, stretch.detail
    evidence, best = detail["evidence"], next(iter(detail["alternatives"]), None)
    found = []
    if evidence["frames"] < SHORT_FRAMES:
        found.append(f"The clip is short: {evidence['frames']} frames hold little motion to "
                     "compare.")
    if evidence["movement_px"] < LITTLE_MOVEMENT_PX:
        found.append("The person hardly moves, and still heads resemble each other.")
    if evidence["unchanged_share"] >= COARSE:
        found.append(f"The copy is coarse: {100 * evidence['unchanged_share']:.0f} % of the person "
                     "stands still from one frame to the next and shows earlier ones, which can "
                     "put the frames off by one or two.")
    if stretch.path:
        found.append("The whole picture moves, as by a zoom or in a hand that filmed a screen. It "
                     "was steadied to be compared, and is shown so.")
    if row["start_frame"] is not None and best is not None:
        found += _weak_points(best)
    found += _seconds(row, detail)
    if unreadable:
        found.append("Not all candidates could be compared; unreadable: " + ", ".join(unreadable))
    found.append(_always(row["verdict"]))
    return found


def _weak_points(best: dict) -> list[str]:
    found = []
    if best["pose_score"] is None:  # no mapping
        found.append("Nothing ties the two pictures together; the answer rests on motion and on "
                     "how alike the scenes look.")
    if best["motion_score"] < WEAK_MOTION:
        found.append(f"The motion score of {best['motion_score']:.2f} is one that unrelated clips "
                     "reach at times.")
    return found


def _seconds(row: dict, detail: dict) -> list[str]:
    """Other places that are nearly as probable."""
    if row["start_frame"] is None:
        return []
    given = row["source"], *sorted((row["start_frame"], row["end_frame"]))
    close = [a for a in detail["alternatives"] if a["probability"] >= CLOSE_SECOND
             and (a["source"], *sorted((a["start"], a["end"]))) != given]
    return [f"Another place has a probability of {percent(a['probability'])}: frames {a['start']} "
            f"to {a['end']} of {a['source']}." for a in close[:2]]


def _always(verdict: str) -> str:
    if verdict == "no_source":
        return ("A source can be missed where little of its motion is left: very short or still "
                "clips, a head whose motion was replaced as well.")
    return ("Another take of the same person in the same place, whose own source is not in the "
            "database, can look like this too. The confidence was fitted on other clips than "
            "these; it is an estimate, not a proof.")
