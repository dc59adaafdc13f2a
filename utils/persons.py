"""Several persons in a fake's picture, as in a split screen or beside another video: each may come
from a source of its own, which is then no rival of the other's."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from models.motion import Square
from utils.decision import TRACED
from utils.fake_motion import is_elsewhere
from utils.geometry import square_before
from utils.views import Found, View


def person_square(found: Found, square: Square, width: int) -> Square:
    """Where in the fake's picture a place has its person.

    square: of the fake's largest person, which it is where nothing ties the pictures together;
    width: of the fake. All in pixels of the fake.
    """
    if found.mapping is not None:
        return square_before(found.mapping.matrix, found.view.source.square,
                             width if found.mapping.flip else None)
    return _by_features(found.view, width) or square


def _by_features(view: View, width: int) -> Square | None:
    """Where local features have a candidate's person; None where they verified none."""
    candidate = view.candidate
    if not candidate["verified"] or candidate["mapping"] is None:
        return None
    return square_before(np.array(candidate["mapping"]), view.source.square,
                         width if candidate["flip"] else None)


def are_apart(one: Square, other: Square) -> bool:
    """Whether two squares of a picture hold different persons."""
    return is_elsewhere(one, other) and is_elsewhere(other, one)


def each_person(whole: dict, views: list[View], square: Square, size: tuple[int, int],
                trace: Callable[[list[View]], dict]) -> list[dict]:
    """The answer about a fake, or one for each of its persons that has a source of its own.

    whole: the answer, as trace() gives it; square: of the fake's largest person; size: width and
    height of its picture, pixels; trace: decides by some of the views alone. Sources that are seen
    elsewhere in the picture than the answer's, by local features or because pictures agree there,
    are looked at by themselves, place by place; where one is traced, another person has it, and the
    first answer is decided without that place's sources.
    """
    if not whole["best"]:
        return [whole]
    width = size[0]
    first = person_square(whole["best"], square, width)
    seen = {view.candidate["source"]: place for view in views
            if (place := _by_features(view, width)) is not None}
    seen |= {found.hypothesis.source: person_square(found, square, width)
             for found in whole["found"] if found.hypothesis.pictures_agree}
    answers: list[tuple[Square, dict]] = []
    theirs: set[str] = set()

    def add(answer: dict, *known: Square) -> bool:
        """Take an answer whose pictures agree with the fake's, about another person than those."""
        if answer["trace"].verdict != TRACED or not answer["best"].hypothesis.pictures_agree:
            return False
        place = person_square(answer["best"], square, width)
        if not all(are_apart(place, other) for other in [*known, *(at for at, _ in answers)]):
            return False
        answers.append((place, answer))
        return True

    for names in _places({name: place for name, place in seen.items() if are_apart(place, first)}):
        if add(trace([view for view in views if view.candidate["source"] in names]), first):
            theirs |= names
    if not answers or not add(trace([view for view in views
                                     if view.candidate["source"] not in theirs])):
        return [whole]
    return [_said(answer, place, size, len(answers))
            for place, answer in sorted(answers, key=lambda one: one[0])]


def _places(seen: dict[str, Square]) -> list[set[str]]:
    """Sources by where their person is seen in the fake: those of one place together."""
    places: list[tuple[Square, set[str]]] = []
    for name, square in seen.items():
        known = next((names for place, names in places if not are_apart(square, place)), None)
        if known is None:
            places.append((square, {name}))
        else:
            known.add(name)
    return [names for _, names in places]


def _said(answer: dict, place: Square, size: tuple[int, int], count: int) -> dict:
    """The answer, its reason saying which of the persons it is about."""
    (left, right), (top, bottom) = (
        (max(0, round(start)), min(side, round(start + place[2])) - 1)
        for start, side in zip(place[:2], size))
    row = answer["trace"]
    return answer | {"trace": replace(row, reason=(
        f"{row.reason}; {count} persons of its picture were traced, this is the one at x "
        f"{left}-{right}, y {top}-{bottom}"))}
