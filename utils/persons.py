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

MOST = 4  # persons of a fake that are traced


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
    if not candidate["verified"]:
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
    height of its picture, pixels; trace: decides by some of the views alone. What local features
    verified elsewhere in the picture is looked at by itself; where its pictures agree with what is
    seen there, it is another person's source, and the first answer is decided without it.
    """
    if not whole["best"]:
        return [whole]
    width = size[0]
    answers, squares = [whole], [person_square(whole["best"], square, width)]

    def add(answer: dict) -> bool:
        """Take an answer that is about none of the persons so far."""
        if not is_traced(answer):
            return False
        place = person_square(answer["best"], square, width)
        if not all(are_apart(place, known) for known in squares):
            return False
        answers.append(answer)
        squares.append(place)
        return True

    seen = {view.candidate["source"]: place for view in views
            if (place := _by_features(view, width)) is not None}
    seen |= {found.hypothesis.source: person_square(found, square, width)
             for found in whole["found"] if found.hypothesis.pictures_agree}

    def is_of(view: View, known: Square) -> bool:
        place = seen.get(view.candidate["source"])
        return place is not None and not are_apart(place, known)

    rest = [view for view in views if view.candidate["source"] in seen]
    while rest := [view for view in rest if not is_of(view, squares[-1])]:
        if len(answers) == MOST or not add(trace(rest)):
            break
    if len(answers) == 1:
        return answers
    answers, squares = answers[1:], squares[1:]
    if not add(trace([view for view in views
                      if not any(is_of(view, known) for known in squares)])):
        return [whole]
    return [_said(answer, place, size, len(answers))
            for answer, place in sorted(zip(answers, squares, strict=True), key=lambda one: one[1])]


def is_traced(answer: dict) -> bool:
    """Whether a source was found whose pictures agree with the fake's."""
    return answer["trace"].verdict == TRACED and answer["best"].hypothesis.pictures_agree


def _said(answer: dict, place: Square, size: tuple[int, int], count: int) -> dict:
    """The answer, its reason saying which of the persons it is about."""
    (left, right), (top, bottom) = (
        (max(0, round(start)), min(side, round(start + place[2])) - 1)
        for start, side in zip(place[:2], size))
    row = answer["trace"]
    return answer | {"trace": replace(row, reason=(
        f"{row.reason}; {count} persons of its picture were traced, this is the one at x "
        f"{left}-{right}, y {top}-{bottom}"))}
