"""Probabilities, verdicts and their sentences follow from the evidence."""

from dataclasses import replace

import numpy as np
import pytest

from utils import decision
from utils.decision import (FEATURES, Hypothesis, confidence, evidence, explain, named,
                            probabilities, tells_frames, verdict)
from utils.files import InputError, write_json

PLACE = Hypothesis(source="a.mp4", start=10, end=34, rate=1.0, flip=0, motion_score=0.8,
                   pose_score=0.7, scene_score=0.6, inliers=0, background_inliers=0,
                   registered=False, picture_score=0.8, pixel_score=0.5)


def chances_of(hypotheses: list[Hypothesis], frames: int = 25, movement: float = 1.0):
    return probabilities(evidence(hypotheses, frames, movement, 0.1), decision.load_coefficients())


def test_probabilities_by_hand():
    features = np.array([[1.0, 0.0], [0.0, 1.0]])
    chances = probabilities(features, np.array([np.log(2), np.log(3)]))
    assert chances == pytest.approx([2 / 6, 3 / 6, 1 / 6])  # odds 2 : 3 : 1 for none of them


@pytest.mark.parametrize("number", [0, 1, 2, 7])
def test_probabilities_sum_to_one(number):
    rng = np.random.default_rng(number)
    chances = probabilities(rng.normal(0, 300, (number, 3)), rng.normal(size=3))
    assert len(chances) == number + 1 and (chances >= 0).all()
    assert chances.sum() == pytest.approx(1)


def test_nothing_to_choose_from_is_no_source():
    chances = chances_of([])
    assert chances.tolist() == [1.0] and verdict([], chances, 25) == decision.NO_SOURCE


def test_evidence_has_a_row_per_place_and_a_column_per_feature():
    rows = evidence([PLACE, replace(PLACE, start=90), replace(PLACE, source="b.mp4")], 25, 1.0, 0.1)
    assert rows.shape == (3, len(FEATURES)) and np.isfinite(rows).all()
    assert evidence([], 25, 1.0, 0.1).shape == (0, len(FEATURES))
    assert np.isfinite(evidence([PLACE], 2, 0.0, 0.0)).all()


def test_without_any_picture_the_same_evidence_stands_in_other_columns():
    unseen = replace(PLACE, picture_score=None, pixel_score=None)
    seen_row, = evidence([PLACE], 25, 1.0, 0.1)
    row, = evidence([unseen], 25, 1.0, 0.1)
    split = len(decision.SEEN)
    assert not row[:split].any() and not seen_row[split:].any()
    assert row[split:].tolist() == seen_row[:len(decision.UNSEEN)].tolist()
    both = evidence([PLACE, unseen], 25, 1.0, 0.1)  # one was looked at: that the other was not is told
    looked = decision.FEATURES.index("looked_at")
    assert both[:, looked].tolist() == [1, 0] and not both[:, split:].any()
    far = replace(unseen, source="b.mp4", motion_score=0.3, pose_score=None)
    assert chances_of([unseen, far])[0] > 0.5


def test_a_place_whose_pictures_do_not_agree_is_less_likely():
    chances = [chances_of([replace(PLACE, picture_score=score)])[0] for score in (0.05, 0.4, 0.9)]
    assert chances == sorted(chances) and chances[0] < chances[2]


def test_pixels_tell_places_apart_where_little_moves():
    """A head that hardly moves: forwards elsewhere its motion fits as well as backwards here."""
    here, elsewhere = (replace(PLACE, start=start, motion_score=0.88, picture_score=0.98,
                               pixel_score=pixels) for start, pixels in ((285, 0.6), (198, 0.1)))
    chances = chances_of([elsewhere, here], frames=40, movement=0.01)
    assert chances[1] > 0.8 and chances[0] < 0.2


def test_a_head_that_hardly_moves_is_known_by_its_pixels():
    still = replace(PLACE, motion_score=0.3, pose_score=0.3)
    scores = (None, -0.2, 0.2, 0.4)
    chances = [chances_of([replace(still, pixel_score=score)], movement=0.01)[0]
               for score in scores]
    assert chances[0] == chances[1] < chances[2] < chances[3] and chances[3] > 0.5


def test_copies_of_one_footage_are_no_rivals_in_their_pixels():
    lead = decision.FEATURES.index("pixels_behind")
    one = replace(PLACE, pixel_score=0.6)
    twin = replace(one, source="b.mp4", copy_of="a.mp4", pixel_score=0.55)
    other = replace(one, start=90, pixel_score=0.5)
    unseen = replace(one, start=190, picture_score=None, pixel_score=None)
    worse = replace(one, start=290, pixel_score=-0.2)
    assert evidence([one, twin, unseen], 25, 1.0, 0.5)[0, lead] == 0
    found = evidence([one, twin, other, unseen, worse], 25, 1.0, 0.5)[:, lead]
    assert found.tolist() == pytest.approx([0, 0, -0.1, 0, -decision.MAX_BEHIND])


def test_two_equal_places_share():
    other = replace(PLACE, source="b.mp4")
    alone, chances = chances_of([PLACE]), chances_of([PLACE, other])
    assert chances[0] == pytest.approx(chances[1])
    assert chances[0] < min(alone[0], 0.5 + 1e-9)


def test_order_of_the_places_does_not_matter():
    places = [PLACE, replace(PLACE, start=90, motion_score=0.6),
              replace(PLACE, source="b.mp4", motion_score=0.7, inliers=12)]
    forth, back = chances_of(places), chances_of(places[::-1])
    assert forth[:-1] == pytest.approx(back[:-1][::-1]) and forth[-1] == pytest.approx(back[-1])


def test_better_motion_is_more_likely():
    places = [PLACE, replace(PLACE, source="b.mp4", motion_score=0.5)]
    chances = chances_of(places)
    assert chances[0] > chances[1]


@pytest.mark.parametrize("chances, word", [
    ([1.0], "no_source"), ([0.5, 0.5], "ambiguous"), ([0.2, 0.8], "no_source"),
    ([0.6, 0.1, 0.3], "traced"), ([0.51, 0.49], "traced"), ([0.1, 0.85, 0.05], "traced"),
    ([0.4, 0.4, 0.2], "ambiguous"), ([0.3, 0.3, 0.4], "ambiguous")])
def test_verdict_follows_from_the_probabilities(chances, word):
    unseen = replace(PLACE, picture_score=0.3)
    assert verdict([unseen] * (len(chances) - 1), np.array(chances), 25) == word


def test_where_the_person_is_seen_an_unlikely_place_is_no_rejection():
    strangers, take = replace(PLACE, picture_score=None), replace(PLACE, source="b.mp4")
    places, chances = [strangers, take, replace(take, start=90)], np.array([0.2, 0.15, 0.05, 0.6])
    assert verdict(places, chances, 25) == "ambiguous" and named(places, chances) == 1
    assert tells_frames(chances, 1) and not tells_frames(np.array([0.2, 0.05, 0.05, 0.7]), 1)
    assert verdict(places[:1], np.array([0.2, 0.8]), 25) == "no_source"
    assert named(places[:1], np.array([0.2, 0.8])) is None and named([], np.array([1.0])) is None
    assert verdict(places[:1], np.array([0.2, 0.8]), 25, {"a.mp4"}) == "ambiguous"
    assert named(places, np.array([0.5, 0.1, 0.0, 0.4])) == 0  # likelier than none: motion decides
    unseen, otherwise = (replace(PLACE, source=f"{name}.mp4", picture_score=score)
                         for name, score in (("c", None), ("d", 0.1)))
    three, seen = [otherwise, unseen, take], {"c.mp4", "d.mp4"}
    assert named(three, np.array([0.3, 0.1, 0.1, 0.5]), seen) == 1  # pictures speak against d.mp4
    assert named(three, np.array([0.3, 0.05, 0.1, 0.55]), seen) == 2
    assert named(three[:1], np.array([0.15, 0.85]), seen) == 0
    told = explain("ambiguous", three[:1], np.array([0.3, 0.7]), 0, 40, seen)
    assert told.startswith(f"{PLACE.inliers} local features agree, but motion")
    told = explain("ambiguous", places, np.array([0.3, 0.0, 0.0, 0.7]), 0, 40)
    assert told.startswith("likelier than not (70 %)") and told.endswith("has 30 %")
    told = explain("ambiguous", places, chances, 1, 40)
    assert "pictures agree 0.80" in told and "another take" in told and "15 %" in told
    assert "no frames" in explain("ambiguous", places, np.array([0.2, 0.05, 0.05, 0.7]), 1, 40)


def test_where_nobody_is_seen_a_rejection_has_to_be_sure():
    for chances, place in (([0.05, 0.2, 0.75], 1), ([0.05, 0.1, 0.85], None),
                           ([*[0.09] * 5, 0.55], None)):
        places = [replace(PLACE, picture_score=0.3)] * (len(chances) - 1)
        assert named(places, np.array(chances)) == place
        assert verdict(places, np.array(chances), 25) == ("ambiguous" if place else "no_source")


def test_very_short_fakes_are_never_traced():
    sure = np.array([0.99, 0.01])
    assert verdict([PLACE], sure, decision.MIN_FRAMES) == "traced"
    assert verdict([PLACE], sure, decision.MIN_FRAMES - 1) == "ambiguous"


def test_leads_are_bounded_and_neutral_without_rivals():
    far, near = replace(PLACE, source="b.mp4", motion_score=-1.0), replace(PLACE, start=90)
    alone, = evidence([PLACE], 25, 1.0, 0.1)
    row = evidence([PLACE, far, near], 25, 1.0, 0.1)[0]
    over, inside = FEATURES.index("lead_over_sources"), FEATURES.index("lead_in_source")
    assert alone[over] == alone[inside] == 0
    assert row[over] == decision.MAX_AHEAD and row[inside] == 0


def test_how_far_apart_a_score_is_from_those_of_other_sources():
    apart = FEATURES.index("apart_unposed")
    place = replace(PLACE, pose_score=None)
    others = [replace(place, source=f"{k}.mp4", motion_score=0.3 + 0.01 * k) for k in range(9)]
    alone = evidence([place], 25, 1.0, 0.1)[0, apart]
    assert alone == pytest.approx((0.8 - decision.USUAL_SCORE) / decision.USUAL_SPREAD)
    among = evidence([place, *others], 25, 1.0, 0.1)[:, apart]
    assert among[0] > alone > 2 > among[1:].max()
    assert evidence([PLACE, *others], 25, 1.0, 0.1)[0, apart] == 0  # its pose says more


def test_copies_of_one_footage_share_the_probability():
    place = replace(PLACE, inliers=80, background_inliers=20)
    copy = replace(place, source="b.mp4", copy_of="a.mp4")
    stranger = replace(PLACE, source="c.mp4", start=3, motion_score=0.3, picture_score=0.2)
    over = FEATURES.index("lead_over_sources")
    alone = evidence([place, stranger], 25, 1.0, 0.1)
    rows = evidence([place, copy, stranger], 25, 1.0, 0.1)
    np.testing.assert_allclose(rows[0], alone[0])
    np.testing.assert_allclose(rows[1], alone[0])
    assert evidence([place, replace(copy, copy_of=None), stranger], 25, 1.0, 0.1)[0][over] == 0
    chances = probabilities(rows, decision.load_coefficients())
    assert chances[0] == chances[1]
    assert verdict([place, copy, stranger], chances, 25) == "ambiguous"
    text = explain("ambiguous", [place, copy, stranger], chances, 0, 40)
    assert "a.mp4 10-34" in text and "b.mp4 10-34" in text and "c.mp4" not in text


def test_a_place_of_too_few_frames_is_said_to_be_one():
    chances = np.array([0.995, 0.005])
    assert verdict([PLACE], chances, 7) == "ambiguous" and verdict([PLACE], chances, 8) == "traced"
    assert "7 frames is too short" in explain("ambiguous", [PLACE], chances, 0, 7)


def test_the_less_certain_its_frames_the_less_sure_a_place():
    sure = [confidence(replace(PLACE, certainty=certainty), 0.9)
            for certainty in (1.0, 0.9, 0.3, 0.001)]
    assert sure[0] == confidence(PLACE, 0.9) == 0.9
    assert sure == sorted(sure, reverse=True) and sure[1] > 0.85 and sure[3] < 0.1
    doubtful, chances = replace(PLACE, certainty=0.3), np.array([0.97, 0.03])
    assert verdict([doubtful], chances, 25) == "traced"
    assert "65 % sure" in explain("traced", [doubtful], chances, 0, 40)


def test_a_copy_that_fits_a_little_worse_is_still_named():
    copy = replace(PLACE, source="b.mp4", copy_of="a.mp4")
    assert verdict([PLACE, copy], np.array([0.6, 0.35, 0.05]), 25) == "ambiguous"
    assert verdict([copy, PLACE], np.array([0.6, 0.35, 0.05]), 25) == "ambiguous"
    assert verdict([PLACE, replace(copy, copy_of=None)], np.array([0.6, 0.35, 0.05]), 25) == "traced"
    assert verdict([PLACE, copy], np.array([0.9, 0.05, 0.05]), 25) == "traced"


@pytest.mark.parametrize("chances, word", [([0.9, 0.1], "traced"), ([0.45, 0.1, 0.45], "ambiguous"),
                                           ([0.1, 0.9], "no_source")])
def test_explanations_are_plain(chances, word):
    places = [PLACE, replace(PLACE, source="b.mp4")][:len(chances) - 1]
    if word == "no_source":
        places = [replace(place, picture_score=0.3) for place in places]
    text = explain(word, places, np.array(chances), 0, 40)
    assert "0.80" in text and f"{100 * chances[0]:.0f} %" in text
    assert ("a.mp4" in text) == (word == "no_source")
    assert f"pictures agree {places[0].picture_score:.2f}" in text
    unseen = replace(PLACE, picture_score=None, pixel_score=None)
    told = explain(word, [replace(unseen, inliers=31), *places[1:]], np.array(chances), 0, 40)
    assert "31 local features" in told
    told = explain(word, [replace(unseen, pose_score=None), *places[1:]], np.array(chances), 0, 40)
    assert "cosine is 0.60" in told


def test_coefficients_come_in_the_order_of_the_features(tmp_path):
    write_json(tmp_path / "a.json", {"coefficients": {name: index for index, name in
                                                      reversed(list(enumerate(FEATURES)))}})
    assert decision.load_coefficients(tmp_path / "a.json").tolist() == list(range(len(FEATURES)))
    assert len(decision.load_coefficients()) == len(FEATURES)


@pytest.mark.parametrize("content", [None, {}, {"coefficients": {}}, {"coefficients": [1, 2]},
                                     {"coefficients": {name: "x" for name in FEATURES}}])
def test_another_file_is_named(tmp_path, content):
    if content is not None:
        write_json(tmp_path / "a.json", content)
    with pytest.raises(InputError, match="a.json"):
        decision.load_coefficients(tmp_path / "a.json")
