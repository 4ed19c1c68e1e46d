"""What a comparison allows to say: means and intervals, paired tests, trivial sets, the verdict."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from scipy.signal import lfilter
from scipy.stats import norm, ttest_1samp, wilcoxon
from sklearn.ensemble import IsolationForest

from adlib import plots
from adlib.compare import by_kind, compare, rank_detectors, summarise, triviality, verdict
from adlib.datasets import Dataset
from adlib.metrics import report


def cells(values, detector="A", role="detector", metric="average_precision", **changes):
    """A table as compare makes it, from {dataset: value or [value per seed]}."""
    rows = [
        {"detector": detector, "role": role, "dataset": name, "seed": seed, "metric": metric,
         "value": v, "random": 0.1, "low": v - 0.1, "high": v + 0.1, "status": "ok"} | changes
        for name, per_seed in values.items() for seed, v in enumerate(np.atleast_1d(per_seed))
    ]  # fmt: skip
    return pd.DataFrame(rows)


def many(n_sets=15, seed=0, noise=0.02, **means):
    """Detectors with a mean each over so many sets; names in lower case are baselines."""
    rng = np.random.default_rng(seed)
    level = rng.uniform(-0.2, 0.2, n_sets)  # some sets are hard for all
    return pd.concat([
        cells({f"set {i}": mean + level[i] + rng.normal(0, noise) for i in range(n_sets)}, name,
              "baseline" if name.islower() else "detector")
        for name, mean in means.items()
    ])  # fmt: skip


@pytest.fixture(scope="module")
def real():
    """A real table: a series with two kinds of anomaly, and a table without time."""
    rng = np.random.default_rng(0)
    X, y, kind = rng.normal(size=(1_000, 2)), np.zeros(1_000, int), np.full(1_000, "", "<U8")
    for start, stop, what in ((500, 503, "spike"), (700, 720, "shift"), (900, 901, "spike")):
        X[start:stop] += 4
        y[start:stop], kind[start:stop] = 1, what
    time = np.datetime64("2024-01-01", "ns") + np.arange(1_000) * np.timedelta64(1, "m")
    sets = [Dataset("series", X, y, time=time, kind=kind, oracle=y + 0.0),
            Dataset("rows", X, y, series=False)]
    models = {"forest": IsolationForest(n_estimators=20)}
    return compare(models, sets, (0, 1), n_random=3, progress=False)


# --- the summary ----------------------------------------------------------------------------


def test_summary_weighs_data_sets_equally():
    (line,) = summarise(cells({"a": [0.2, 0.4], "b": [0.9]})).itertuples()
    assert line.mean == pytest.approx(0.6) and line.random == pytest.approx(0.1)
    assert (line.n_datasets, line.n_seeds, line.n_failed) == (2, 2, 0)
    assert line.interval_over == "test rows"
    # (0.2, 0.3, 0.4) and (0.8, 0.9, 1.0): their reaches add as those of independent means
    assert (line.low, line.high) == pytest.approx((0.6 - 0.1 / 2**0.5, 0.6 + 0.1 / 2**0.5))


def test_summary_of_one_data_set_holds_the_luck_of_its_test_rows():
    (line,) = summarise(cells({"a": [0.4, 0.6]})).itertuples()
    assert line.interval_over == "test rows"
    assert (line.low, line.mean, line.high) == pytest.approx((0.4, 0.5, 0.6))


def test_summary_interval_is_that_of_the_mean():
    values = np.random.default_rng(0).normal(0.5, 0.1, size=40)
    (line,) = summarise(cells({str(i): v for i, v in enumerate(values)})).itertuples()
    assert line.interval_over == "datasets and seeds"
    wanted = ttest_1samp(values, 0).confidence_interval()
    assert (line.low, line.high) == pytest.approx((wanted.low, wanted.high))
    (few,) = summarise(cells({str(i): float(i == 0) for i in range(6)})).itertuples()
    assert (few.low, few.high) == (0, pytest.approx(0.595, abs=0.001))  # no mean below 0


def test_former_parameters_of_the_summary_warn():
    table = cells({"a": 0.3})
    with pytest.warns(FutureWarning, match="'n_bootstrap' has no meaning any more"):
        assert summarise(table, n_bootstrap=100).equals(summarise(table))


def test_summary_ranks_by_average_precision_and_not_who_failed():
    table = pd.concat([
        cells({"a": 0.3, "b": 0.5}, "poor"),
        cells({"a": 0.3, "b": 0.5}, "tied"),
        cells({"a": 1.0, "b": 1.0}, "Oracle", role="oracle"),
        cells({"a": 0.9}, "half"),
        cells({"b": np.nan}, "half", status="failed"),
        cells({"a": 0.9}, "late"),
        cells({"b": np.nan}, "late", status="timed out"),
        cells({"a": 0.9}, "absent"),
        cells({"a": 0.8, "b": 0.8}, "good"),
        cells({"a": 0.1, "b": 0.1}, "good", metric="roc_auc"),
    ])
    out = summarise(table)
    first = out.drop_duplicates("detector").set_index("detector")
    assert first.index[:3].tolist() == ["good", "poor", "tied"]
    np.testing.assert_array_equal(first["rank"], [1, 2, 2, *[np.nan] * 4])
    np.testing.assert_array_equal(first.average_rank, [1, 2.5, 2.5, *[np.nan] * 4])
    assert first.wins[:3].tolist() == [2, 0, 0]
    assert first.n_failed[["half", "late", "good"]].tolist() == [1, 1, 0]
    assert out[out.detector == "good"].metric.tolist() == ["average_precision", "roc_auc"]
    assert rank_detectors(table).values.columns.tolist() == ["good", "poor", "tied"]


def test_the_order_of_adding_makes_nobody_better():
    sums = {"first": 0.1 + 0.2 + 0.3, "second": 0.3 + 0.2 + 0.1}
    assert sums["first"] != sums["second"]
    ranking = rank_detectors(pd.concat([cells({"a": v, "b": v}, n) for n, v in sums.items()]))
    assert ranking.wins.tolist() == [1, 1] and ranking.average_rank.tolist() == [1.5, 1.5]


def test_a_seed_that_fails_silently_ranks_nobody_better():
    table = pd.concat([cells({"a": [0.9, np.nan]}, "lucky"), cells({"a": [0.5, 0.5]}, "whole")])
    assert summarise(table).set_index("detector")["rank"].to_dict() == pytest.approx(
        {"whole": 1.0, "lucky": np.nan}, nan_ok=True
    )


def test_a_series_is_ranked_by_vus_and_a_table_by_average_precision():
    series = pd.concat([
        cells({"s": 0.9}, "A", metric="vus_pr"), cells({"s": 0.1}, "A"),
        cells({"s": 0.2}, "B", metric="vus_pr"), cells({"s": 0.8}, "B"),
    ])
    assert summarise(series).set_index(["detector", "metric"])["rank"]["A", "vus_pr"] == 1
    assert "headline" not in set(summarise(series).metric)
    both = pd.concat([series, cells({"t": 0.3}, "A"), cells({"t": 0.4}, "B")])
    out = summarise(both).set_index(["metric", "detector"])
    assert out["mean"]["headline"].to_dict() == pytest.approx({"A": 0.6, "B": 0.3})
    assert out.n_datasets["headline", "A"] == 2 and out["rank"]["headline", "A"] == 1
    assert rank_detectors(both).metrics.to_dict() == {"s": "vus_pr", "t": "average_precision"}
    said = verdict(both)
    assert "By VUS-PR (1 of 2 data sets): " in said
    assert "By average precision (1 of 2 data sets): " in said


def test_a_mean_of_two_scales_ranks_nobody():
    """A has the higher mean of VUS-PR and average precision, and loses two sets of three."""
    table = pd.concat([cells({"s": 0.9}, "A", metric="vus_pr"), cells({"t": 0.3, "u": 0.3}, "A"),
                       cells({"s": 0.2}, "B", metric="vus_pr"), cells({"t": 0.4, "u": 0.4}, "B")])
    out = summarise(table[table.dataset != "u"]).set_index("detector")
    assert out["rank"].tolist() == [1] * len(out)
    out = summarise(table).drop_duplicates("detector").set_index("detector")
    assert out["rank"].to_dict() == {"B": 1, "A": 2}
    assert [*rank_detectors(table).values] == ["B", "A"]


def test_summary_of_a_real_table_and_its_plot(real):
    assert (real.status == "ok").all(), real.reason.unique()
    out = summarise(real)
    delays = out[out.metric == "detection_delay@calibration"].set_index("detector")["mean"]
    assert out.delay.equals(out.detector.map(delays)) and delays.notna().any()
    assert out.detector[0] == "MaxAbsZ" and out["rank"][0] == 1
    headline = out[out.metric == "headline"]
    assert (headline.low <= headline["mean"]).all() and (headline["mean"] <= headline.high).all()
    ax = plots.comparison(out)
    assert [t.get_text() for t in ax.get_yticklabels()][0] == "Oracle"
    assert "average_precision" in ax.get_xlabel()
    assert len(ax.get_yticks()) == out.detector.nunique()
    with pytest.raises(ValueError, match="no metric 'speed'"):
        plots.comparison(out, "speed")
    plt.close("all")


# --- paired tests ---------------------------------------------------------------------------


def test_pairs_are_tested_by_wilcoxon_with_holm():
    table = many(n_sets=9, noise=0.1, A=0.6, B=0.5, C=0.45)
    ranking = rank_detectors(table)
    v = ranking.values
    raw = {pair: wilcoxon(v[pair[0]], v[pair[1]]).pvalue for pair in ("AB", "AC", "BC")}
    running, holm = 0.0, {}
    for k, pair in enumerate(sorted(raw, key=raw.get)):
        running = holm[pair] = min(1.0, max(running, raw[pair] * (3 - k)))
    for (a, b), p in holm.items():
        assert ranking.p_values.loc[a, b] == ranking.p_values.loc[b, a] == pytest.approx(p)
    assert ranking.average_rank.sum() == pytest.approx(6) and ranking.wins.sum() == 9
    assert ranking.friedman_p < 0.05


def test_seeds_are_averaged_before_the_test():
    one = many(n_sets=6, A=0.6, B=0.5)
    seeds = pd.concat([one.assign(seed=s) for s in range(10)])
    assert rank_detectors(seeds).p_values.equals(rank_detectors(one).p_values)
    assert rank_detectors(one).p_values.loc["A", "B"] == 2 / 2**6  # exact


def test_too_few_sets_for_any_p_are_told_and_counted():
    for n_sets, enough in ((5, False), (6, True)):
        ranking = rank_detectors(many(n_sets=n_sets, noise=0, A=0.6, B=0.5))
        assert ranking.sets_needed == 6
        assert (ranking.smallest_p < 0.05) == enough
        assert ranking.p_values.loc["A", "B"] == pytest.approx(ranking.smallest_p)


def test_chance_rows_and_the_oracle_are_not_in_the_family():
    table = pd.concat([many(A=0.6, B=0.5),
                       *(cells({f"set {i}": 0.1 for i in range(15)}, name, role) for name, role in
                         (("RandomScore", "baseline"), ("Oracle", "oracle")))])
    assert rank_detectors(table).values.columns.tolist() == ["A", "B"]


def test_equal_detectors_over_many_sets_are_seldom_told_apart():
    """Four on 12 sets: any pair called different is an error, and any leader."""
    found = [rank_detectors(many(12, seed, 0.05, **dict.fromkeys("ABCD", 0.5)))
             for seed in range(15)]
    # 0.75 expected at most; above 3 with probability 0.006
    assert sum((ranking.p_values < 0.05).to_numpy().any() for ranking in found) <= 3
    assert sum(ranking.leader is not None for ranking in found) <= 3


def test_equal_detectors_and_a_set_without_anomalies():
    table = pd.concat([cells({f"set {i}": 0.1 * i for i in range(8)}, name) for name in "ABC"])
    quiet = pd.concat([cells({"quiet": np.nan}, name) for name in "ABC"])
    ranking = rank_detectors(pd.concat([table, quiet]))
    assert (ranking.p_values == 1).all().all() and len(ranking.values) == 8
    np.testing.assert_allclose(ranking.wins, 8 / 3)


def test_the_diagram_joins_what_the_test_does_not_tell_apart():
    """A and B are alike, C is behind both, the baseline last."""
    ranking = rank_detectors(many(15, A=0.60, B=0.60, C=0.5, z=0.3))
    ax = plots.critical_difference(ranking)
    (bar,) = [line for line in ax.lines if line.get_marker() == "o"]
    np.testing.assert_allclose(sorted(bar.get_xdata()), sorted(ranking.average_rank[["A", "B"]]))
    colours = {text.get_text().split()[-1]: text.get_color() for text in ax.texts}
    assert colours["z"] != colours["C"] == "tab:blue"
    assert "over 15 data sets" in ax.get_title() and "too few" not in ax.get_title()
    few = plots.critical_difference(rank_detectors(many(4, A=0.6, B=0.5)))
    assert "too few to tell any two apart" in few.get_title()
    with pytest.raises(ValueError, match=r"at least two ranked detectors, got \['A'\]"):
        plots.critical_difference(rank_detectors(many(4, A=0.6)))
    plt.close("all")


# --- trivial sets, kinds --------------------------------------------------------------------


def test_a_set_is_trivial_where_a_one_liner_solves_it():
    """Chance is 0.1. Beside the best, "hard" comes as near as "easy", but nobody solves it."""
    table = pd.concat([
        cells({"easy": [1.0, 0.96], "hard": 0.4, "open": 0.8, "luck": 0.11}, "A"),
        cells({"easy": 0.97, "hard": 0.39, "open": 0.3, "luck": 0.11}, "MaxAbsZ", "baseline"),
        cells({"easy": 0.1, "hard": 0.2, "open": 0.7, "luck": 0.05}, "FirstDifference",
              "baseline"),
        cells(dict.fromkeys(["easy", "hard", "open", "luck"], 0.8), "PCAReconstruction",
              "baseline"),  # no one-liner
        cells(dict.fromkeys(["easy", "hard", "open", "luck"], 0.99), "Oracle", "oracle"),
    ])
    table.loc[table.dataset == "luck", "random"] = 0.12  # all are below chance
    out = triviality(table).set_index("dataset")
    assert out.trivial.to_dict() == {"easy": True, "hard": False, "open": False, "luck": False}
    assert out.one_liner[:3].tolist() == ["MaxAbsZ", "MaxAbsZ", "FirstDifference"]
    assert out.share.to_dict() == pytest.approx(
        {"easy": 0.87 / 0.88, "hard": 0.29 / 0.3, "open": 0.6 / 0.7, "luck": np.nan}, nan_ok=True)
    said = verdict(table)
    assert "A one-liner solves, so trivial: easy (1 of 4)." in said
    assert "A one-liner does as well as the best detector on hard (1 of 4)." in said
    guess = table.assign(p_chance=0.2)  # one anomaly of ten rows: solved by luck
    assert not triviality(guess).trivial.any()
    alone = triviality(table[table.role == "detector"])
    assert not alone.trivial.any() and alone.share.isna().all()


def test_breakdown_by_kind(real):
    out = by_kind(real).set_index(["detector", "kind"])
    assert set(out.index.get_level_values("kind")) == {"spike", "shift", "anomaly"}
    assert (out.n_datasets == 1).all()
    everything, nothing = out.loc["AlwaysAnomalous"], out.loc["AlwaysNormal"]
    assert (everything.recall == 1).all() and (everything.false_positive_rate == 1).all()
    assert (nothing.recall == 0).all()
    broken = real.assign(value=real.value.where(real.detector != "MaxAbsZ"))
    assert by_kind(broken).set_index("detector").recall["MaxAbsZ"].isna().all()


# --- the verdict ----------------------------------------------------------------------------


def one_set(**spans):
    """One data set from {detector: (low, mean, high)}; names in lower case are baselines."""
    return pd.concat([
        cells({"x": mean}, name, "baseline" if name.islower() else "detector", low=low, high=high)
        for name, (low, mean, high) in spans.items()
    ])  # fmt: skip


WITHOUT = np.array([0.01, -0.01, 0.02, -0.02, 0.0, 0.01, -0.01, 0.0])  # each of eight blocks


def blocks(value, own=0.0, n=8):
    """Values without each block: what all detectors share, and a part of one's own."""
    return " ".join(f"{value + v:.6g}" for v in (WITHOUT + own * WITHOUT[::-1])[:n])


def few(sets=("x",), p=1e-4, own=0.2, n=8, **means):
    """A table with what pairs detectors on few sets; names in lower case are baselines."""
    return pd.concat([
        cells({name: mean}, detector, "baseline" if detector.islower() else "detector",
              p_chance=p, blocks=blocks(mean, own * (i + 1), n), data=name)
        for name in sets for i, (detector, mean) in enumerate(means.items())
    ])  # fmt: skip


@pytest.mark.parametrize(("table", "said"), [
    (few(A=0.8, B=0.6, z=0.4),
     "A leads on this data set: average precision 0.80 (p < 0.001 against chance), better than the "
     "2 others, B the nearest (difference 0.20, 0.18 to 0.22, p < 0.001). That holds for this set "
     "and these fits. Beyond chance too: B, z. From chance to the best average precision, the best "
     "baseline, z, comes 43 % of the way."),
    (few(B=0.799, A=0.8, C=0.3),
     "No winner on this data set: A is first with average precision 0.80 (p < 0.001 against "
     "chance), but is not shown to be better than B (difference 0.00, -0.01 to 0.02, p = 0.88). "
     "Beyond chance too: B, C."),
    (few(z=0.9, **{name: 0.6 + i / 1e4 for i, name in enumerate("ABCDE")}),
     "z, a baseline, leads on this data set"),
    (few(z=0.9, y=0.899, A=0.5), "z, a baseline, leads on this data set"),  # y is not its rival
    (few(A=0.2, B=0.15, p=0.04),
     "Nothing is shown to beat chance on this data set: the smallest p is 0.04 (A), and with 2 "
     "ranked it must be below 0.025."),
    (few(A=0.2, z=0.198, p=0.04), "with 2 ranked it must be below 0.025."),
    (few(A=0.8, B=0.3, n=1), "better than B (difference 0.50, not tested for "
     "want of events or of intervals)"),
    (few(("x", "y"), A=0.8, B=0.6), "That holds for these sets and these fits."),
    (few(A=0.8), "A stands alone, average precision 0.80 (p < 0.001 against chance): "
                 "there is nothing to compare it with."),
    (one_set(A=(0.7, 0.8, 0.9), B=(0.5, 0.6, 0.65), z=(0.3, 0.4, 0.5)),
     "No winner can be named: the table has no columns p_chance and blocks to pair detectors by, "
     "only intervals. A is first with average precision 0.80 (0.70 to 0.90)."),
    (one_set(A=(np.nan,) * 3),
     "Nothing can be ranked: no detector has an average precision on every data set."),
])  # fmt: skip
def test_verdict_on_few_sets_pairs_detectors_within_them(table, said):
    assert said in verdict(table)
    if verdict(table).startswith("Nothing is shown"):
        assert verdict(table).endswith("must be below 0.025.")  # no share of what chance explains


def test_the_verdict_is_that_of_the_table_read_again(tmp_path):
    table = pd.concat([few(A=0.8, B=0.6, z=0.4), few(A=0.8, B=0.6).assign(metric="f1", blocks="")])
    table.to_csv(tmp_path / "table.csv", index=False)
    assert verdict(pd.read_csv(tmp_path / "table.csv")) == verdict(table)
    old = pd.read_csv(tmp_path / "table.csv").drop(columns=["blocks", "p_chance", "data"])
    assert verdict(old).startswith("No winner can be named: the table has no columns p_chance")


def test_seeds_that_share_rows_are_averaged_and_others_pooled():
    """Three seeds on the same rows are one recording; three draws are three."""
    table = pd.concat([few(A=0.8, B=0.75).assign(seed=seed) for seed in range(3)])
    same, drawn = (rank_detectors(table.assign(data=data)).against.loc["B"]
                   for data in ("x", table.seed.astype(str)))
    assert drawn.difference == pytest.approx(same.difference)
    assert drawn.high - drawn.low < 0.7 * (same.high - same.low)


def test_chance_is_pooled_over_sets_and_corrected_for_having_chosen():
    three = few(("x", "y", "z"), p=0.03, A=0.8, B=0.75)
    assert rank_detectors(three).p_chance["A"] == pytest.approx(norm.sf(norm.isf(0.03) * 3**0.5))
    seeds = pd.concat([few(A=0.8, p=p).assign(seed=i) for i, p in enumerate((0.01, 0.03))])
    assert rank_detectors(seeds).p_chance["A"] == pytest.approx(0.02)
    ranking = rank_detectors(few(p=0.02, **dict.fromkeys("ABC", 0.5)))
    assert ranking.beyond_chance == [] and ranking.leader is None
    random = pd.concat([few(A=0.5, B=0.5, p=0.02), few(RandomScore=0.1)])  # is no rival
    assert rank_detectors(random).beyond_chance == ["A", "B"]


def test_a_score_clearly_below_chance_earns_a_word_about_its_sign():
    table = pd.concat([few(A=0.8), few(B=0.04, p=0.999), few(C=0.1, p=1.0), few(z=0.02, p=1.0)])
    assert ("Clearly below chance: B on x (0.04, chance 0.10). Is the sign right? A score must be "
            "higher for the more anomalous row.") in verdict(table)  # C is constant: at chance
    assert "below chance" not in verdict(few(A=0.8, B=0.04, p=0.9))


def test_verdict_over_many_sets_rests_on_the_paired_test():
    """Intervals over sets overlap widely; the pairs still tell A apart."""
    table = many(A=0.6, B=0.55, z=0.3)
    headline = summarise(table).set_index("detector")
    assert headline.low["A"] < headline.high["B"]
    said = verdict(table)
    assert said.startswith("A leads over 15 data sets: average precision 0.6")
    assert "That holds for sets of this sort." in said and "baseline, z, comes 4" in said
    against = rank_detectors(table).against
    values = rank_detectors(table).values
    wanted = wilcoxon(values["A"], values["B"]).pvalue  # at the full level: no correction
    assert against.p["B"] == pytest.approx(wanted)
    alike = verdict(many(A=0.6, B=0.599, z=0.3))
    assert alike.startswith("No winner over 15 data sets: ") and "better than " in alike


def test_six_sets_are_enough_to_name_the_better_of_two():
    assert rank_detectors(many(n_sets=6, noise=0, A=0.6, B=0.5, p=0.5)).against.p.max() < 0.05
    assert rank_detectors(many(n_sets=5, noise=0, A=0.6, B=0.5)).leader is None


def test_released_figures_are_ranked_by_the_one_metric_they_have():
    table = many(A=0.6, B=0.5, z=0.3).assign(metric="roc_auc", random=np.nan)
    table = table.drop(columns=["low", "high"])
    said = verdict(table)
    assert said.startswith("A leads over 15 data sets: roc auc 0.6") and said.endswith(
        "Whether any beats chance is not known: the table holds nothing to test it by.")


def test_a_higher_mean_from_one_set_is_not_a_lead():
    sets = [f"set {i}" for i in range(12)]
    table = pd.concat([
        cells(dict.fromkeys(sets, 0.5) | {"set 0": 0.99, "set 1": 0.98}, "few"),
        cells({name: 0.51 + i / 1000 for i, name in enumerate(sets)}, "most"),
    ])
    said = verdict(table)
    assert "few is first with average precision 0.58 (" in said
    assert "not shown to be better than most" in said


@pytest.mark.parametrize("metric, value", [("average_precision", np.nan), ("roc_auc", 0.9)])
def test_nothing_is_ranked_without_a_headline(metric, value):
    """Unlabelled rows, or a comparison by other metrics."""
    table = pd.concat([cells({"a": value, "b": value}, name, metric=of)
                       for name in "AB" for of in (metric, "recall@calibration")])
    assert summarise(table)["rank"].isna().all()
    assert verdict(table).startswith("Nothing can be ranked")
    ranking = rank_detectors(table)
    assert ranking.values.empty and ranking.smallest_p == 1
    with pytest.raises(ValueError, match="at least two ranked detectors"):
        plots.critical_difference(ranking)
    assert not triviality(table).get("trivial", pd.Series(dtype=bool)).any()


def test_verdict_wants_the_table(real):
    with pytest.raises(ValueError, match="not its summary: it lacks"):
        verdict(summarise(real))
    assert verdict(real).startswith("By VUS-PR (1 of 2 data sets): ")


def test_an_interval_does_not_hang_on_who_else_is_in_the_table():
    table = many(n_sets=4, A=0.5, B=0.6, C=0.7)
    both, alone = summarise(table), summarise(table[table.detector == "C"])
    of = [lines[lines.detector == "C"][["mean", "low", "high"]].to_numpy()
          for lines in (both, alone)]
    assert np.array_equal(*of)


# --- look-ahead -----------------------------------------------------------------------------


@pytest.fixture
def mixed():
    causal = many(A=0.6, B=0.5, c=0.4)
    return pd.concat([causal.assign(look_ahead="causal"),
                      causal.assign(look_ahead="hindsight", value=causal.value + 0.1)])


def test_causal_and_delayed_scores_are_never_ranked_together(mixed):
    for rank in (rank_detectors, summarise, triviality, by_kind):
        with pytest.raises(ValueError, match="one look-ahead, got causal, hindsight"):
            rank(mixed)
        assert rank(mixed[mixed.look_ahead == "hindsight"]) is not None
    late = mixed[mixed.look_ahead == "hindsight"]
    assert rank_detectors(late).look_ahead == "hindsight"
    assert set(summarise(late).look_ahead) == {"hindsight"}
    assert set(summarise(late.drop(columns="look_ahead")).look_ahead) == {"causal"}
    earlier = pd.concat([late.drop(columns="look_ahead"), mixed[mixed.look_ahead == "causal"]])
    assert set(summarise(earlier).look_ahead) == {"causal"}  # from before there was such a column


def test_the_verdict_keeps_them_apart_and_says_which_is_which(mixed):
    late = mixed[mixed.look_ahead == "hindsight"]
    causal = mixed[mixed.look_ahead == "causal"]
    assert verdict(mixed) == f"Causal scores: {verdict(causal)} {verdict(late)}"
    assert verdict(late).startswith("Scores with look-ahead (hindsight): A leads over 15 data sets")
    assert verdict(causal) == verdict(causal.drop(columns="look_ahead"))


def test_figures_say_how_far_scores_look_ahead(mixed):
    late = mixed[mixed.look_ahead == "hindsight"]
    assert "scores: hindsight" in plots.critical_difference(rank_detectors(late)).get_title()
    ax = plots.comparison(summarise(late), "average_precision")
    assert "scores: hindsight" in ax.get_xlabel()
    plt.close("all")


# --- calibration: small versions of benchmarks/inference.py -----------------------------------


def judged(y, scores, metric="average_precision", **facts):
    """Cells of drawn scores; names in lower case are baselines."""
    lines = [{"detector": name, "role": "baseline" if name.islower() else "detector",
              "dataset": "x", "seed": 0, "status": "ok"}
             | report(y, score, n_random=2, metrics=metric, **facts).iloc[0].to_dict()
             for name, score in scores.items()]
    return pd.DataFrame(lines)


def test_smooth_noise_is_neither_beyond_chance_nor_a_leader():
    """AR(1) scores and two long events; the same with times and without, told or found."""
    y = np.zeros(1_200, int)
    time = np.datetime64("2024-01-01", "ns") + np.arange(1_200) * np.timedelta64(1, "m")
    y[300:360] = y[800:860] = 1
    found = []
    for seed in range(12):
        noise = np.random.default_rng(seed).normal(size=(3, 1_700))
        walks = lfilter([0.14], [1, -0.99], noise)[:, 500:]
        scores = dict(zip("ABc", walks, strict=True))
        tables = [judged(y, scores, "vus_pr", **facts)
                  for facts in ({"time": time}, {}, {"series": True})[:3 if seed == 0 else 1]]
        assert len({verdict(table) for table in tables}) == 1
        ranking = rank_detectors(tables[0])
        found.append(ranking.leader is not None or bool(ranking.beyond_chance))
    assert sum(found) <= 3  # 0.6 expected at most; above 3 with probability 0.003


@pytest.mark.parametrize(("skills", "few", "many"), [
    ((2.2, 2.2), 0, 5),  # equal: 1.25 expected at most; above 5 with probability 0.001
    ((2.43, 1.9), 14, 25),  # true average precision .70 and .50, half of the noise shared
])
def test_equal_leaders_are_not_told_apart_and_unequal_ones_are(skills, few, many):
    y = (np.arange(1_000) < 50).astype(int)
    named = 0
    for seed in range(25):
        noise = np.random.default_rng(seed).normal(size=(3, 1_000))
        scores = {name: noise[i] + noise[2] + skill * 2**0.5 * y
                  for i, (name, skill) in enumerate(zip("AB", skills, strict=True))}
        named += rank_detectors(judged(y, scores)).leader is not None
    assert few <= named <= many


def test_verdict_names_what_is_not_ranked_and_reads_names_that_are_numbers():
    table = few(("x", "y"), A=0.8, B=0.6, C=0.9)
    gone = (table.detector == "C") & (table.dataset == "y")
    table.loc[gone, ["value", "status"]] = [np.nan, "timed out"]
    assert verdict(table).startswith("Not ranked, without a value on every set: C. ")
    assert "leads" in verdict(few((1,), A=0.8, B=0.3).assign(detector=[1, 2]))
