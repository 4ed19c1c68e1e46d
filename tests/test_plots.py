"""What the shared figures show: the right rows, in the right panel, under the right name."""

from dataclasses import replace

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.dates import date2num
from matplotlib.text import Text

from adlib import plots
from adlib.datasets import Dataset
from adlib.detectors import KNN
from adlib.explain import explain
from adlib.metrics import operating_points


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


@pytest.fixture
def data():
    """Ten rows, two channels: an anomaly in b on rows 4-5, one in a on row 8, drift in a on 6."""
    y = np.isin(np.arange(10), (4, 5, 8))
    return Dataset(
        "ten rows",
        np.arange(20.0).reshape(10, 2),
        y,
        feature_names=("a", "b"),
        kind=np.where(y, "odd", np.where(np.arange(10) == 6, "drift", "")),
        channel=["", "", "", "", "b", "b", "a", "", "a", ""],
        train_end=3,
    )


def bands(ax, label):
    """First and last x of each band with that label."""
    extents = [patch.get_extents().transformed(ax.transData.inverted()) for patch in ax.patches
               if patch.get_label() == label]
    return [(round(box.x0, 6), round(box.x1, 6)) for box in extents]


def marked(ax, label):
    """x of the points or ticks with that label; empty if there are none."""
    found = [line.get_xdata().tolist() for line in ax.lines if line.get_label() == label]
    return found[0] if found else []


def test_true_events_stand_in_the_panels_of_their_channels(data):
    a, b = plots.series(data)
    assert bands(a, "anomaly") == [(7.5, 8.5)]
    assert bands(b, "anomaly") == [(3.5, 5.5)]
    assert bands(a, "labelled, harmless") == [(5.5, 6.5)]
    assert bands(b, "labelled, harmless") == []
    (a,) = plots.series(replace(data, kind=np.where(data.kind == "drift", "recovery", data.kind)),
                        columns="a")
    assert bands(a, "not judged") == [(5.5, 6.5)]
    assert bands(a, "labelled, harmless") == []
    dots = [line for line in b.lines if line.get_marker() == "."][0]
    assert dots.get_xdata().tolist() == [4, 5] and dots.get_ydata().tolist() == [9.0, 11.0]


def test_events_of_unknown_channel_stand_in_all_panels():
    a, b = plots.series(Dataset("unknown", np.zeros((10, 2)), np.arange(10) == 4))
    assert bands(a, "anomaly") == bands(b, "anomaly") == [(3.5, 4.5)]


def test_flags_are_told_right_from_wrong(data):
    for ax in plots.series(data, np.isin(np.arange(10), (1, 4, 8))):
        assert marked(ax, "flagged, right") == [4, 8]
        assert marked(ax, "flagged, false alarm") == [1]


def test_score_gets_a_panel_with_its_threshold_and_every_true_event(data):
    *_, panel = plots.series(data, None, np.arange(10.0), 7.5)
    assert panel.get_ylabel() == "score"
    assert bands(panel, "anomaly") == [(3.5, 5.5), (7.5, 8.5)]
    assert [line.get_ydata()[0] for line in panel.lines if line.get_label() == "threshold"] == [7.5]


def test_zoom_draws_its_rows_only(data):
    a, b = plots.series(data, np.ones(10, bool), rows=slice(4, 7))
    assert a.lines[0].get_xdata().tolist() == [4, 5, 6]
    assert bands(a, "anomaly") == [] and bands(b, "anomaly") == [(3.5, 5.5)]
    assert marked(b, "flagged, false alarm") == [6]
    assert marked(b, "test begins") == []


def test_clean_values_lie_underneath(data):
    (ax,) = plots.series(data, columns=["b"], clean=data.X - 1)
    grey, blue = ax.lines[:2]
    np.testing.assert_array_equal(grey.get_ydata(), data.X[:, 1] - 1)
    np.testing.assert_array_equal(blue.get_ydata(), data.X[:, 1])


def test_axes_are_named_with_units_and_the_legend_has_each_entry_once(data):
    axes = plots.series(data, data.y == 1, units={"a": "kg"})
    assert [ax.get_ylabel() for ax in axes] == ["a [kg]", "b"]
    assert axes[-1].get_xlabel() == "row"
    (legend,) = axes[0].figure.legends
    texts = [text.get_text() for text in legend.get_texts()]
    assert sorted(texts) == ["anomaly", "flagged, right", "labelled, harmless", "test begins"]


def test_rows_stand_at_their_times():
    time = np.datetime64("2024-01-01", "ns") + np.timedelta64(60, "s") * np.array([0, 1, 2, 5])
    (ax,) = plots.series(Dataset("timed", np.zeros(4), [0, 0, 0, 1], time=time))
    np.testing.assert_array_equal(ax.lines[0].get_xdata(), time)
    half = np.timedelta64(30, "s")
    np.testing.assert_allclose(bands(ax, "anomaly"), [date2num([time[3] - half, time[3] + half])])
    assert ax.get_xlabel() == "time"


def test_one_row_can_be_drawn():
    plots.series(Dataset("one", [[1.0]], [1], time=["2024-01-01"]))


def test_given_axes_are_used_and_get_no_legend(data):
    figure, axes = plt.subplots(2)
    assert plots.series(data, axes=axes)[0] is axes[0]
    assert not figure.legends


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"columns": ["c"]}, r"columns: \['c'\] are not among \['a', 'b'\]"),
        ({"is_anomaly": [True]}, r"is_anomaly has shape \(1,\), the dataset has 10 rows"),
        ({"score": np.zeros(9)}, "score has shape"),
        ({"clean": np.zeros((9, 2))}, "clean has shape"),
    ],
)
def test_what_does_not_fit_is_named(data, given, message):
    with pytest.raises(ValueError, match=message):
        plots.series(data, **given)


def test_panels_and_axes_must_agree(data):
    with pytest.raises(ValueError, match="2 panels to draw, got 1 axes"):
        plots.series(data, axes=[plt.gca()])


def test_losses_draw_each_part_over_its_epochs():
    ax = plots.losses({"players": [2.0, 1.0], "held_out": [3.0]})
    drawn = {line.get_label(): (line.get_xdata().tolist(), line.get_ydata().tolist())
             for line in ax.lines}
    assert drawn == {"players": ([1, 2], [2.0, 1.0]), "held out": ([1], [3.0])}


def test_histogram_shows_shares_of_each_group_and_the_threshold():
    score, y = [0.0, 1.0, 1.0, 2.0, 100.0], [0, 0, 0, 0, 1]
    ax = plots.histogram(score, y, 5.0, held_out=[0.5, 50.0])
    handles, labels = ax.get_legend_handles_labels()
    assert sorted(labels) == ["anomaly", "held out", "normal", "threshold"]
    heights = {bars[0].get_label(): [bar.get_height() for bar in bars] for bars in ax.containers}
    assert max(heights["normal"]) == 0.5 and heights["normal"][0] == 0.25  # the score of 0
    assert heights["anomaly"][-1] == 1.0
    assert [line.get_xdata()[0] for line in ax.lines] == [5.0]
    assert ax.get_xscale() == "log"


def test_histogram_leaves_out_what_is_not_there():
    ax = plots.histogram([1.0, 2.0], [0, 0], np.inf)
    assert ax.get_legend_handles_labels()[1] == ["normal"]
    with pytest.raises(ValueError, match=r"score must have shape \(3,\), got \(2,\)"):
        plots.histogram([1.0, 2.0], [0, 0, 1])
    with pytest.raises(ValueError, match="no value above 0"):
        plots.histogram([0.0, 0.0], [0, 1])


@pytest.fixture
def points():
    y = np.isin(np.arange(300), [*range(100, 110), 200])
    score = np.random.default_rng(0).normal(size=300) + 3 * y
    return pd.concat([operating_points(y, score * sign, threshold=2.5, interval=60).assign(
        detector=name) for name, sign in (("KNN", 1), (HOSTILE, -1))])


HOSTILE = "$\\frac{a$\n" + "n" * 300


def test_curves_have_named_axes_chance_and_own_thresholds(points):
    axes = plots.curves(points)
    assert [ax.get_xlabel() for ax in axes] == [
        "recall", "false-positive rate", "alarms per day", "alarms per day"]
    for ax in axes:
        own = [line for line in ax.lines if line.get_label() == "KNN"][0]
        (at,) = own.get_markevery()
        assert ax in axes[1:] or own.get_xdata()[at] == points.recall[points.chosen].iloc[0]
        assert any(line.get_linestyle() == ":" for line in ax.lines)
    looks = {(line.get_linestyle(), line.get_marker()) for line in axes[0].lines[:2]}
    assert len(looks) == 2  # without colours too they differ
    axes[0].figure.canvas.draw()  # no name is a formula
    (legend,) = axes[0].figure.legends
    assert max(len(text.get_text()) for text in legend.get_texts()) < 32


def test_a_budget_never_pays_less_for_more(points):
    for ax in plots.curves(points)[2:]:
        for line in ax.lines:
            assert (np.diff(line.get_xdata()) >= 0).all()


def test_curves_of_a_table_have_three_panels_and_of_two_sets_none(points):
    table = operating_points([1, 0, 0], [3.0, 2.0, 1.0], series=False).assign(detector="A")
    assert plots.curves(table)[2].get_xlabel() == "flagged rows per 1,000 rows"
    with pytest.raises(ValueError, match="one data set"):
        plots.curves(pd.concat([points.assign(dataset=name) for name in "ab"]))
    with pytest.raises(ValueError, match="4 panels to draw, got 1 axes"):
        plots.curves(points, axes=[plt.gca()])


def test_no_peak_of_a_long_score_is_lost():
    n = 25_000
    y, score = np.zeros(n, int), np.sin(np.arange(n))
    y[20_000], score[20_000], score[7_777], score[9_000] = 1, 50.0, -30.0, np.inf
    ax, below = plots.scores(Dataset("long", np.zeros(n), y), {"KNN": score, HOSTILE: -score},
                             {"KNN": 10.0})
    line = max(ax.lines, key=lambda line: len(line.get_xdata()))
    assert len(line.get_xdata()) <= 2_000
    assert line.get_ydata().max() == 50 and line.get_ydata().min() == -30
    assert marked(ax, "flagged, right") == [20_000]
    assert marked(ax, "flagged, false alarm") == [9_000]
    assert bands(ax, "anomaly") == [(19_999.5, 20_024.5)]
    assert [line.get_ydata()[0] for line in ax.lines if line.get_label() == "threshold"] == [10.0]
    assert not marked(below, "threshold")
    ax.figure.canvas.draw()


def test_a_threshold_far_below_the_peaks_stays_visible(data):
    (ax,) = plots.scores(data, {"KNN": np.geomspace(1, 1e6, 10)}, {"KNN": 5.0})
    assert ax.get_yscale() == "symlog"
    with pytest.raises(ValueError, match="one detector at least"):
        plots.scores(data, {})


ODD = [r"$\frac{$", "$$", "a$b", "\x1b[2J\r\nflow\u202e\0", "%s {0}", "_hidden", "", "<b>",
       "k" * 9_000]


@pytest.mark.parametrize("name", ODD, ids=ascii)
def test_any_name_is_drawn_as_text(name):
    rng = np.random.default_rng(0)
    data = Dataset("d", rng.normal(size=(60, 2)), np.arange(60) == 50,
                   feature_names=[name or " ", "other"])
    score, drawn = np.abs(data.X[:, 0]), []
    why = explain(KNN().fit(data.X[:40]), data.X, rows=[50, 51], counterfactual=True,
                  feature_names=[name, "other"], units={name: name})
    drawn += plots.series(data, score > 2, score, units={name: name}).tolist()
    drawn += plots.scores(data, {name: score, "other": score}, {name: 2.0, "other": 2.0}).tolist()
    drawn += [plots.contributions(why), plots.heat_map(why), plots.remedy(why)]
    drawn += [plots.losses({name: [2.0, 1.0], "other": [2.0, 1.0]})]
    for ax in drawn:
        ax.figure.canvas.draw()
        texts = [text.get_text() for text in ax.findobj(Text)]
        assert max(map(len, texts)) < 90 and all(t.replace("\n", "").isprintable() for t in texts)
    assert len(drawn[-1].get_legend().get_texts()) == 2
    plt.close("all")
