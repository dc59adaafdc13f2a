"""The plots of an evaluation: what is drawn is what the tables say; the files."""

import cv2
import numpy as np
import pytest

from benchmarks import metrics, plots
from benchmarks.evaluate import figures
from benchmarks.outcomes import Outcome
from benchmarks.plot_style import COLOURS, figure, save
from benchmarks.queries import Query
from benchmarks.scores import calibration_cases
from utils.files import read_image


def outcome(fake: str, tier: str, found: tuple[str, int, int] | None, confidence: float,
            sources: tuple[str, ...] = ("a.mp4",), frames: int = 20) -> Outcome:
    """A fake of frames 10 to 29 of a.mp4, and what was found for it."""
    name, start, end = found or ("", None, None)
    true = (10, 29) if sources else (None, None)
    return Outcome(fake, tier, sources, *true, frames, "traced" if found else "no_source", name,
                   start, end, 0.5, confidence)


OUTCOMES = [
    outcome("exact.mp4", "clean", ("a.mp4", 10, 29), 0.95),
    outcome("late.mp4", "clean", ("a.mp4", 11, 31), 0.92, frames=30),
    outcome("early.mp4", "c40", ("a.mp4", 1, 28), 0.55),
    outcome("wrong.mp4", "c40", ("b.mp4", 10, 29), 0.65, frames=30),
    outcome("none.mp4", "c40", None, 0.6),
    outcome("stranger.mp4", "clean-absent", None, 0.9, ()),
    outcome("fooled.mp4", "c40-absent", ("b.mp4", 3, 22), 0.7, ())]
HERE = {"exact.mp4": 0.99, "late.mp4": 0.95, "early.mp4": 0.8, "wrong.mp4": 0.75, "none.mp4": 0.4,
        "stranger.mp4": 0.1, "fooled.mp4": 0.75}
QUERIES = [Query(o.fake, o.tier, o.frames, (o.sources,) if o.sources else (),
                 ((o.found_source, o.confidence),) if o.found_source else (),
                 (o.found_source,) if o.found_source else (), HERE[o.fake], o.verdict)
           for o in OUTCOMES]


@pytest.fixture(scope="module")
def measures():
    return figures(OUTCOMES, QUERIES, None)


def lines_of(axes) -> dict[str, np.ndarray]:
    """Label -> [N, 2] of the points drawn."""
    drawn = {line.get_label(): line.get_xydata() for line in axes.lines}
    bars = {bars.get_label(): bars.lines[0].get_xydata() for bars in axes.containers
            if hasattr(bars, "has_xerr")}
    return drawn | bars


def test_points_of_accuracy_are_the_table_s(measures):
    axes = plots.draw_shares(measures, ["c40", "clean", "empty", "all"], "kind").axes[0]
    assert [text.get_text() for text in axes.get_yticklabels()] == ["c40 (3)", "clean (2)",
                                                                    "all (5)"]
    table = {(m.metric, m.group): m for m in measures}
    for metric, points in lines_of(axes).items():
        if metric in plots.SHARES:
            wanted = [100 * table[metric, group].value for group in ("c40", "clean", "all")]
            assert points[:, 0] == pytest.approx(wanted)
            assert np.round(points[:, 1]).tolist() == [0, 1, 2]
    assert [lines_of(axes)[metric][2, 0] for metric in plots.SHARES] == pytest.approx([60, 20, 40])


def test_intervals_of_accuracy_are_wilson_s(measures):
    bars, = (c for c in plots.draw_shares(measures, ["all"], "kind").axes[0].containers
             if c.get_label() == "right source")
    (ends,), = [lines.get_segments() for lines in bars.lines[2]]
    assert ends[:, 0] == pytest.approx([100 * limit for limit in metrics.wilson(3, 5)])


def test_errors_have_a_sign_and_misses_are_counted():
    assert plots.signed_errors(OUTCOMES, "start").tolist() == [0, 1, -9]
    start, end = (plots.error_counts(OUTCOMES, name) for name in ("start", "end"))
    assert {name: count for name, count in start.items() if count} == {
        "≤ −6": 1, "0": 1, "+1": 1, "missed": 2}
    assert {name: count for name, count in end.items() if count} == {
        "−1": 1, "0": 1, "+2": 1, "missed": 2}
    for axes, counts in zip(plots.draw_errors(OUTCOMES).axes, (start, end)):
        assert [bar.get_height() for bar in axes.patches] == list(counts.values())
        assert f"n = {sum(counts.values())}" in axes.get_title()


def test_calibration_draws_the_bins_and_their_counts():
    cases = calibration_cases(OUTCOMES)
    upper, lower = plots.draw_calibration(cases).axes
    rows = metrics.calibration_bins(*cases.T)
    assert lines_of(upper)["measured (95 % intervals)"].tolist() == [
        [mean, right] for count, mean, right in rows if count]
    assert [bar.get_height() for bar in lower.patches] == [row[0] for row in rows]
    assert f"{metrics.calibration_error(*cases.T):.3f}" in upper.get_title()


def test_roc_is_the_table_s_area_and_passes_the_verdicts(measures):
    axes = plots.draw_roc(QUERIES, measures).axes[0]
    lines = lines_of(axes)
    curve, = (points for label, points in lines.items() if "AUROC" in label)
    area, = (m for m in measures if m.metric == "AUROC of a source being here" and m.group == "all")
    assert np.trapezoid(curve[:, 1], curve[:, 0]) == pytest.approx(area.value)
    assert curve[0].tolist() == [0, 0] and curve[-1].tolist() == [1, 1]
    assert any(f"AUROC {area.value:.3f}" in label for label in lines)
    assert lines["verdicts as given"].tolist() == [[0.5, 0.8]]  # fooled; all but none.mp4


@pytest.mark.parametrize("seed", range(5))
def test_area_under_the_curve_is_the_rank_statistic(seed):
    rng = np.random.default_rng(seed)
    here, absent = rng.integers(0, 6, 17) / 5, rng.integers(0, 4, 9) / 5
    fpr, tpr = metrics.roc(here, absent)
    assert np.trapezoid(tpr, fpr) == pytest.approx(metrics.auroc(here, absent))


def test_nothing_to_draw_is_no_plot(measures):
    assert plots.draw_roc(QUERIES[:5], measures) is None  # none without a source
    assert plots.draw_shares([], ["all"], "kind") is None
    assert plots.draw_calibration(np.zeros((0, 2))) is None
    assert plots.draw_errors([o for o in OUTCOMES if not o.sources]) is None


def test_files_are_readable_and_the_same_again(measures, tmp_path):
    files, again = (plots.draw_all(OUTCOMES, QUERIES, measures, tmp_path / name)
                    for name in ("one", "two"))
    assert sorted({file.stem for file in files}) == [
        "accuracy_by_kind", "accuracy_by_length", "calibration", "frame_errors", "roc",
        "sources_found"]
    assert len(files) == 12
    for file, other in zip(files, again):
        assert file.read_bytes() == other.read_bytes()
        if file.suffix == ".png":
            assert min(read_image(file).shape[:2]) > 200
        else:
            content = file.read_bytes()
            assert content.startswith(b"%PDF") and content.rstrip().endswith(b"%%EOF")
            assert b"CreationDate" not in content


def test_size_and_colours_of_the_style(tmp_path):
    fig = figure(8.0, 5.0)
    fig.subplots().plot([0, 1], [0, 1])
    assert fig.get_size_inches() * 2.54 == pytest.approx([8, 5])
    png, pdf = save(fig, tmp_path / "new folder" / "v1.2")  # a dot is no ending
    assert (png.name, pdf.name) == ("v1.2.png", "v1.2.pdf")
    grey = [cv2.cvtColor(np.uint8([[[int(c[i:i + 2], 16) for i in (5, 3, 1)]]]),
                         cv2.COLOR_BGR2GRAY)[0, 0] for c in COLOURS]
    assert len(set(grey)) == len(COLOURS)
