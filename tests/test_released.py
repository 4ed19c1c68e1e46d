"""Tables that peers release: read into compare's form, ranked, and audited."""

import numpy as np
import pandas as pd
import pytest

from adlib.compare import audit_table, rank_detectors, read_results, verdict

SOURCES = np.repeat(["NAB", "SMD", "UCR", "MSL", "YAHOO"], 4)
TSB = [f"{i:03}_{source}_id_{i}_Sensor_tr_500_1st_900.csv" for i, source in enumerate(SOURCES)]


def figures(seed, lead=0.0, by_source=0.0, n=20, k=4):
    """Exchangeable detectors on sets of their own difficulty; A may lead, or depend on sources."""
    rng = np.random.default_rng(seed)
    sets = rng.uniform(0.55, 0.75, (n, 1))
    values = sets + 0.05 * rng.normal(size=(n, k))
    values[:, 0] += lead + by_source * rng.normal(size=5).repeat(4)[:n]
    return pd.DataFrame(values.clip(0, 1), columns=[*"ABCDEF"[:k]])


def test_tsb_ads_merged_table_is_read(tmp_path):
    frame = figures(0).assign(ts_len=4_000, anomaly_ratio=0.01, num_anomaly=2, seq_anomaly=1)
    frame.insert(0, "file", TSB)
    path = tmp_path / "uni_mergedTable_VUS-PR.csv"
    frame.to_csv(path, index=False)
    table = read_results(path, baselines=["D"])
    assert set(table.detector) == {*"ABCD"} and set(table.metric) == {"vus_pr"}
    assert table[table.role == "baseline"].detector.unique().tolist() == ["D"]
    assert table.source.nunique() == 5 and table.random.isna().all()
    wide = table.pivot(index="dataset", columns="detector", values="value")
    np.testing.assert_array_equal(wide.loc[TSB, "A"], frame.A)
    assert rank_detectors(table).values.shape == (20, 4)


@pytest.mark.parametrize("metric, random", [("roc_auc", 0.5), ("average_precision", 0.1),
                                            ("vus_pr", np.nan)])
def test_pyods_table_is_read_and_its_chance_where_it_is_known(metric, random):
    frame = figures(0, n=3)
    frame.insert(0, "Outlier Perc", [10.0, 10.0, 10.0])
    frame.insert(0, "# Dimensions", [1, 2, 3])
    frame.insert(0, "Data", ["cardio", "glass", "satimage-2"])
    table = read_results(frame, metric=metric)
    assert table.dataset.unique().tolist() == ["cardio", "glass", "satimage-2"]
    np.testing.assert_allclose(table.random, random)


def test_adbenchs_rows_of_seeds_are_read(tmp_path):
    rows = [f"('{name}', 0.0, {seed})" for name in ("Pima_22", "wine") for seed in (1, 2)]
    frame = figures(0, n=4).set_index(pd.Index(rows))
    frame.loc["('Pima_22', 0.01, 1)"] = np.nan
    frame.to_csv(tmp_path / "AUCROC_DB.csv")
    table = read_results(tmp_path / "AUCROC_DB.csv")
    assert table.groupby("dataset", sort=False).seed.unique().map(list).to_dict() == {
        "Pima_22": [1, 2], "wine": [1, 2]}
    assert set(table.metric) == {"roc_auc"} and (table.status == "ok").all()


def test_detectors_in_rows_and_metrics_in_columns_are_read():
    frame = figures(0, n=3)
    turned = frame.T.set_axis(["x", "y", "z"], axis=1).rename_axis("method").reset_index()
    plain = frame.assign(set=["x", "y", "z"])
    columns = ["detector", "dataset", "value"]

    def seen(table):
        return table[columns].sort_values(columns, ignore_index=True)

    told = read_results(plain, metric="f1")
    pd.testing.assert_frame_equal(seen(read_results(turned, metric="f1")), seen(told))
    tall = plain.melt("set", var_name="Model", value_name="AUC-ROC")
    long = read_results(tall.assign(f1=0.5))
    assert set(long.metric) == {"roc_auc", "f1"}
    pd.testing.assert_frame_equal(seen(long[long.metric == "roc_auc"]), seen(told))
    both = read_results({"vus_pr": plain, "roc_auc": plain})
    assert both.metric.value_counts().to_dict() == {"vus_pr": 12, "roc_auc": 12}


@pytest.mark.parametrize("frame, how, message", [
    (figures(0).assign(set=TSB), {}, "metric must be given"),
    (figures(0).assign(set=TSB, odd=9.0), {"metric": "f1"}, r"those of \['odd'\] do not"),
    (figures(0), {"metric": "f1"}, "source must hold a column of names"),
    (figures(0).assign(set=TSB), {"metric": "f1", "detectors": ["Z"]}, r"no columns \['Z'\]"),
    (figures(0).assign(set=TSB), {"metric": "f1", "groups": "Y"}, r"no columns \['Y'\]"),
])
def test_mistakes_are_told(frame, how, message):
    with pytest.raises(ValueError, match=message):
        read_results(frame, **how)


# --- what speaks against a table -----------------------------------------------------------------


def told(frame, names=TSB, metric="roc_auc", **how):
    return audit_table(read_results(frame.assign(set=names[: len(frame)]), metric=metric, **how))


def test_a_table_with_a_leader_passes_and_one_without_names_none():
    """Of 300 tables with a lead of .1 "leader" failed in none, of 300 without it in all."""
    assert all(told(figures(seed, lead=0.1)).ok for seed in range(5))
    assert sum("leader" in told(figures(seed)).failed for seed in range(10)) >= 9
    assert "A leads over 20 data sets" in verdict(
        read_results(figures(0, lead=0.1).assign(set=TSB), metric="roc_auc"))


def test_a_baseline_that_leads_is_named():
    found = told(figures(0, lead=0.1), baselines=["A"])
    assert found.of("error") == ("baselines",) and found["baselines"].value == 0.7
    assert told(figures(0, lead=0.1), baselines=["B"])["baselines"].status == "passed"
    assert told(figures(0))["baselines"].status == "not checked"


def test_a_lead_of_few_sources_is_told():
    """Sets of one source share their difference: over sets a leader is named too often."""
    found = []
    for seed in range(6):
        table = told(figures(seed, lead=0.06, by_source=0.2))
        found += [table["sources"]] if table["leader"].status == "passed" else []
    assert any(f.status == "failed" for f in found)
    assert [*found[0].evidence] == sorted(set(SOURCES))


def test_gaps_copies_mixtures_and_chance_are_told():
    frame = figures(0, lead=0.1).assign(E=0.0, F=lambda d: d.B)
    found = told(frame)["same figures"]
    assert found.status == "failed" and found.evidence == {
        "one_figure": {"E": 0.0}, "equal": [["B", "F"]]}
    gap = frame.copy()
    gap.loc[3, "A"] = np.nan
    found = told(gap)
    assert found["missing cells"].evidence == {"A": 1.0} and "A" not in found["leader"].sentence
    assert "cut the table" in told(gap.where(np.eye(20, 6) == 0))["leader"].sentence
    assert told(figures(0, lead=0.1), metric="vus_pr")["chance"].status == "not checked"
    assert told(figures(0) - 0.3)["chance"].severity == "error"
    one, two = (read_results(figures(0).assign(set=names), metric=metric) for names, metric in
                ((TSB, "vus_pr"), ([*map(str, range(20))], "average_precision")))
    assert "mixed metrics" in audit_table(pd.concat([one, two])).failed
    few = told(figures(0, n=3))
    assert few["number of sets"].severity == "note" and few["leader"].status == "not checked"
