"""Coefficients fitted on made-up results: they tell true places from strangers."""

import csv
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest

from models.training.fit_decision import NEVER_AGAINST, main, read_queries, truth_of
from utils.decision import FEATURES, Hypothesis, load_coefficients
from utils.files import InputError, write_json
from utils.layout import fake_result_path

COLUMNS = ("fake", "source", "start_frame", "end_frame", "tier", "speed", "frames",
           "fake_start_frame", "fake_end_frame")


def place(source: str, start: int, score: float, picture: float | None = None) -> Hypothesis:
    return Hypothesis(source, start, start + 24, 1.0, 0, score, None, 0.5, 0, 0, False, picture)


def truth_row(fake: str, source: str, start: int, first: int = 0, last: int = 24) -> dict:
    return dict(zip(COLUMNS, (fake, source, start, start + last - first, "clean", 1.0, last + 1,
                              first, last), strict=True))


def write_results(root: Path, fakes: int, rng: np.random.Generator,
                  pictures: bool = False) -> Path:
    """Fakes of ten sources, one in five without its source; returns the table of the truth."""
    rows = []
    for number in range(fakes):
        source = "" if number % 5 == 4 else f"clip_{number % 10}.mp4"
        fake = f"clip_{number % 10}_fake_{number:02d}.mp4"
        rows.append(truth_row(fake, source, 30))
        here, gone = (0.8, 0.05) if pictures else (None, None)
        places = [place(f"other_{k}.mp4", 10 * k, rng.normal(0.4, 0.08), gone) for k in range(4)]
        if source:
            places += [place(source, 30, rng.normal(0.85, 0.08), here),
                       place(source, 90, rng.normal(0.4, 0.08), here)]
        write_json(fake_result_path(root, Path(fake).stem), {
            "traces": [{"fake_start_frame": 0, "fake_end_frame": 24}],
            "stretches": [{"evidence": {"frames": 25, "movement_px": 0.3, "unchanged_share": 0.1,
                                        "hypotheses": [asdict(p) for p in places]}}]})
    table = root / "truth.csv"
    with open(table, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows(rows)
    return table


@pytest.mark.parametrize("pictures", [False, True])
def test_what_is_fitted_tells_places_from_strangers(tmp_path, pictures):
    table = write_results(tmp_path, 60, np.random.default_rng(0), pictures)
    card = main([tmp_path], [table], tmp_path / "decision.json")
    assert card["queries"] == 60 + 48 + 48 and card["left_out"] == 0  # strangers, all, other takes
    case, other = ("cross_validation", "cross_validation_no_pictures")[::1 if pictures else -1]
    assert card[case]["right_answer"] > 0.95 and card[case]["auroc_source_here"] > 0.98
    assert card[case]["rejected_strangers"] > 0.95 and card[other] == {}
    coefficients = dict(zip(FEATURES, load_coefficients(tmp_path / "decision.json")))
    own, unused = ("motion", "motion, no pictures")[::1 if pictures else -1]
    assert coefficients[own] > 1 and coefficients[unused] == 0
    assert not pictures or coefficients["picture"] > 0


def test_evidence_never_counts_against_a_place(tmp_path):
    table = write_results(tmp_path, 60, np.random.default_rng(3), True)
    main([tmp_path], [table], tmp_path / "decision.json")
    coefficients = dict(zip(FEATURES, load_coefficients(tmp_path / "decision.json")))
    assert all(coefficients[name] >= 0 for name in NEVER_AGAINST)


def test_fitting_twice_gives_the_same(tmp_path):
    table = write_results(tmp_path, 30, np.random.default_rng(1))
    assert main([tmp_path], [table], tmp_path / "a.json") == main([tmp_path], [table],
                                                                  tmp_path / "b.json")


def test_too_little_is_said(tmp_path):
    table = write_results(tmp_path, 2, np.random.default_rng(0))
    with pytest.raises(InputError, match="too few"):
        main([tmp_path], [table], tmp_path / "decision.json")
    with pytest.raises(InputError, match="as many"):
        main([tmp_path], [table, table], tmp_path / "decision.json")


def test_a_true_place_that_was_not_found_is_counted(tmp_path):
    table = write_results(tmp_path, 10, np.random.default_rng(0))
    text = table.read_text("utf-8").replace("clip_0.mp4,30,54", "clip_0.mp4,60,84")
    table.write_text(text, "utf-8")
    assert read_queries(tmp_path, table)[1] == 1


def test_the_truth_of_a_stretch_is_moved_to_its_ends():
    rows = [truth_row("f.mp4", "a.mp4", 100, 0, 19), truth_row("f.mp4", "b.mp4", 50, 20, 39)]
    found = truth_of({"fake_start_frame": 21, "fake_end_frame": 39}, rows)
    assert (found["source"], found["start_frame"], found["end_frame"]) == ("b.mp4", 51, 69)
    found = truth_of({"fake_start_frame": 0, "fake_end_frame": 18}, rows)
    assert (found["source"], found["start_frame"], found["end_frame"]) == ("a.mp4", 100, 118)
    assert truth_of({"fake_start_frame": 0, "fake_end_frame": 39}, rows) is None
