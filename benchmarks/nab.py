"""The Numenta Anomaly Benchmark: our online detectors, and peers in environments of their own.

NAB's protocol: each stream is scored causally from its first row; 15 % of a stream (750 rows at
most) are probation; one threshold serves the whole corpus and is the best for each profile, which
makes every value here an upper bound. One set of defaults for all streams. Needs the folder ``nab``
in the folder that ADLIB_DATA names.

    ADLIB_DATA=... python benchmarks/nab.py [--peers] [--period] [--grid] [DETECTOR ...]

``--grid`` scores `OnlineEnsemble` with other parameters and constants, those of `GRID`, which was
written down before its first run: on NAB, on the univariate series of TSB-AD that are neither NAB's
nor MGAB's (their labels widened to NAB's windows), and, by VUS-PR, on TSB-AD and SKAB. Then each
category of NAB is scored with the setting and the threshold that serve best where it is left out.
``--period`` tells detectors that take one the rows in a day, from the sampling interval of the
first hundred rows. ``--peers`` adds river and PySAD as they are shipped, and with the rest period
of `OnlineEnsemble` put behind them.
"""

import argparse
import importlib.util
import json
import tempfile
import time
from pathlib import Path

import numpy as np
import peers
from results import keep, option

from adlib.base import OnlineDetector
from adlib.datasets import load_nab, load_skab, load_tsb
from adlib.detectors import all_detectors, online
from adlib.metrics import nab_corpus, nab_score, vus_pr
from adlib.metrics.benchmark import PROFILES

REST = 40  # rows
DRAWS = 1_000

# Constants by what replaces them in the module's source; parameters by name.
NO_SEASON = ("_DAY = 288", "_DAY = 0")
TRUST_1 = ("_TRUST = 1.35", "_TRUST = 1.0")
ONE_ALARM = (">= 2 * head.peak", ">= 1e9 * head.peak")
VIEWS = ("season", "record", "forecast")
#: Around what the defaults were: a horizon of 2**15 rows.
GRID: dict[str, tuple[dict, tuple[tuple[str, str], ...]]] = {
    "former defaults": ({}, ()),
    "no season assumed": ({}, (NO_SEASON,)),
    "season of 144 assumed": ({}, (("_DAY = 288", "_DAY = 144"),)),
    "no season at all": ({"period": 1}, ()),
    "forecast trusted like the others": ({}, (TRUST_1,)),
    "forecast remembers 500": ({}, (("_FORGET = 0.999", "_FORGET = 0.998"),)),
    "forecast remembers 2,000": ({}, (("_FORGET = 0.999", "_FORGET = 0.9995"),)),
    "limit: second-largest": ({}, (("    for _ in range(3):", "    for _ in range(2):"),)),
    "no second alarm": ({}, (ONE_ALARM,)),
    "second alarm at 1.5": ({}, ((">= 2 * head.peak", ">= 1.5 * head.peak"),)),
    "refractory 20": ({"refractory": 20}, ()),
    "refractory 80": ({"refractory": 80}, ()),
    "refractory 160": ({"refractory": 160}, ()),
    "memory 10": ({"memory": 10}, ()),
    "memory 100": ({"memory": 100}, ()),
    "release 100": ({"release": 100}, ()),
    "release 400": ({"release": 400}, ()),
    "no release": ({"release": None}, ()),
    "horizon 2**12": ({"horizon": 2**12}, ()),
    "horizon 2**20": ({"horizon": 2**20}, ()),
    "warm_up 50": ({"warm_up": 50}, ()),
    "warm_up 200": ({"warm_up": 200}, ()),
    "season, record": ({"views": VIEWS[:2]}, ()),
    "season, forecast": ({"views": (VIEWS[0], VIEWS[2])}, ()),
    "record, forecast": ({"views": VIEWS[1:]}, ()),
    "forecast": ({"views": VIEWS[2:]}, ()),
    "season": ({"views": VIEWS[:1]}, ()),
    "no season assumed, trusted": ({}, (NO_SEASON, TRUST_1)),
    "no season assumed, no second alarm": ({}, (NO_SEASON, ONE_ALARM)),
    "no season assumed, trusted, no second alarm": ({}, (NO_SEASON, TRUST_1, ONE_ALARM)),
}
# What came of it on the public halves at hand: NAB at its best threshold, its standard error over
# streams, at threshold 1, that best threshold; series of TSB-AD at their best threshold and at 1;
# both at one threshold, and the standard error; mean VUS-PR of the series of TSB-AD, and of SKAB.
#                                               NAB  SE at 1  cut  TSB at 1 both  SE  VUS  VUS
# former defaults                              73.5 3.8 68.6 1.14 64.7 62.9 67.2 3.7 .269 .583
# no season assumed                            68.4 4.7 64.9 1.14 64.1 61.4 64.5 4.0 .297 .639
# season of 144 assumed                        72.2 4.1 68.8 1.15 65.1 64.6 67.6 3.7 .287 .615
# no season at all                             68.7 4.4 62.7 1.15 63.7 60.6 64.3 4.3 .368 .561
# forecast trusted like the others             70.6 3.7 63.9 1.15 61.3 59.9 63.9 3.5 .276 .582
# forecast remembers 500                       73.5 3.8 68.5 1.14 65.0 63.3 67.3 3.7 .274 .580
# forecast remembers 2,000                     73.5 3.8 68.8 1.15 64.5 62.5 67.1 3.7 .270 .583
# limit: second-largest                        69.5 4.0 69.0 1.01 56.3 51.2 61.7 4.3 .289 .583
# no second alarm                              69.8 3.9 68.3 0.88 66.5 65.2 68.0 3.9 .279 .590
# second alarm at 1.5                          73.2 3.7 68.2 1.14 64.1 62.3 66.7 3.7 .267 .581
# refractory 20                                71.4 4.4 67.4 1.13 64.0 54.5 66.3 3.7 .276 .578
# refractory 80                                67.6 5.4 63.9 1.13 67.3 64.6 66.4 4.1 .264 .587
# refractory 160                               59.1 7.0 55.6 1.14 64.1 62.8 59.9 5.8 .264 .597
# memory 10                                    72.8 3.9 68.7 1.10 64.1 59.7 66.9 4.1 .282 .573
# memory 100                                   72.5 3.8 68.3 1.12 59.5 58.2 65.0 4.3 .256 .583
# release 100                                  72.2 3.9 67.8 1.09 64.1 62.4 66.8 3.7 .275 .564
# release 400                                  73.6 3.8 68.6 1.14 65.2 63.4 67.5 3.7 .269 .592
# no release                                   73.6 3.8 68.6 1.14 65.6 64.0 67.8 3.7 .268 .592
# horizon 2**12                                73.3 3.7 68.6 1.12 72.9 69.5 72.0 2.8 .280 .583
# horizon 2**20                                73.5 3.8 68.6 1.14 64.7 62.9 67.2 3.7 .269 .583
# warm_up 50                                   73.3 3.8 69.5 1.13 64.9 63.1 67.6 3.7 .266 .579
# warm_up 200                                  71.9 3.7 66.5 1.14 65.6 63.8 66.8 3.6 .273 .616
# season, record                               69.1 4.9 64.4 1.15 63.1 61.3 64.2 3.7 .234 .589
# season, forecast                             71.5 4.7 68.2 1.14 61.0 59.4 64.3 4.0 .275 .592
# record, forecast                             62.9 5.0 62.5 1.05 51.1 49.2 55.8 5.3 .332 .555
# forecast                                     53.2 7.1 52.9 1.05 45.4 45.2 48.8 5.7 .336 .561
# season                                       67.1 5.4 64.0 1.15 59.1 57.5 61.3 4.2 .235 .592
# no season assumed, trusted                   66.1 5.2 60.5 1.29 61.9 59.2 61.2 3.9 .299 .638
# no season assumed, no second alarm           66.4 4.5 64.9 0.88 66.8 64.1 66.6 4.0 .310 .648
# no season assumed, trusted, no second alarm  62.9 4.6 61.3 0.88 64.9 62.2 64.0 3.8 .309 .645
# defaults                                     73.3 3.7 68.6 1.12 72.9 69.5 72.0 2.8 .280 .583
# A horizon of 2**12 rows is the best of both, and no other setting is within its standard error: it
# is the default now. With threshold and setting chosen without the category that is scored, NAB is
# 70.8 [62.8, 77.5], and every choice is 2**12. The assumed season earns 5 points of NAB (paired
# standard error 3) and costs VUS-PR on short series: it stays, and may be replaced by ``period``.
# The settings were listed before the first run; that both corpora choose together was decided after
# it. The best setting by NAB alone, where a category is left out, gives 63.2. On NAB itself is no
# gain: the former defaults with a left-out threshold have 70.6.

RIVER = """
import json, sys, time
import numpy as np
from river import anomaly, preprocessing, compose

makers = {
    "river StandardAbsoluteDeviation": lambda: anomaly.StandardAbsoluteDeviation(),
    "river GaussianScorer": lambda: anomaly.GaussianScorer(window_size=100),
    "river HalfSpaceTrees": lambda: compose.Pipeline(
        preprocessing.MinMaxScaler(), anomaly.HalfSpaceTrees(seed=0)),
}
streams = np.load(sys.argv[1])
out, seconds = {}, {}
for name, make in makers.items():
    seconds[name] = 0.0
    for key in streams:
        values, scores, model = streams[key][:, 0].tolist(), [], make()
        began = time.process_time()
        for value in values:
            if "Trees" in name:
                row = {"x": value}
                scores.append(model.score_one(row))
                model.learn_one(row)
            else:
                try:
                    scores.append(model.score_one(None, value))
                except TypeError:  # the variance of a flat window comes out below 0
                    scores.append(0.0)
                model.learn_one(None, value)
        seconds[name] += time.process_time() - began
        out[name + "|" + key] = np.abs(np.nan_to_num(np.array(scores, dtype=float)))
np.savez(sys.argv[2], **out)
print(json.dumps(seconds))
"""

PYSAD = """
import json, sys, time, warnings
warnings.simplefilter("ignore")
import numpy as np
from pysad.models import LODA, StandardAbsoluteDeviation

makers = {"PySAD StandardAbsoluteDeviation": StandardAbsoluteDeviation, "PySAD LODA": LODA}
streams = np.load(sys.argv[1])
out, seconds = {}, {}
for name, make in makers.items():
    seconds[name] = 0.0
    for key in streams:
        np.random.seed(0)
        model, scores = make(), []
        began = time.process_time()
        for row in streams[key]:
            scores.append(float(np.ravel(model.fit_score_partial(row))[0]))
        seconds[name] += time.process_time() - began
        out[name + "|" + key] = np.nan_to_num(np.array(scores))
np.savez(sys.argv[2], **out)
print(json.dumps(seconds))
"""

ENVIRONMENTS = {"river": (RIVER, ["river"]), "pysad": (PYSAD, ["pysad"])}


def rested(scores: np.ndarray) -> np.ndarray:
    """A score counts only where it is above all of the last rows: what a rest period does."""
    padded = np.concatenate([np.full(REST, -np.inf), scores])
    before = np.lib.stride_tricks.sliding_window_view(padded, REST)[:len(scores)].max(axis=1)
    return np.where(scores > before, scores, scores.min())


def rows_a_day(time_: np.ndarray | None) -> int | None:
    """Rows in a day, from the first hundred timestamps."""
    if time_ is None:
        return None
    steps = np.diff(np.asarray(time_[:100], dtype="datetime64[s]").astype(np.int64))
    return max(1, round(86_400 / np.median(steps))) if np.median(steps) > 0 else None


def line(name: str, y: list, scores: list, streams: list, seconds: float) -> dict:
    """Print and return the three profiles, the categories and the throughput of one detector."""
    best = {profile: nab_corpus(y, scores, profile) for profile in PROFILES}
    cut, categories = best["standard"].threshold, {}
    for category in sorted({s.name.split("/")[0] for s in streams}):
        own = [i for i, s in enumerate(streams) if s.name.split("/")[0] == category]
        windows = any(y[i].any() for i in own)
        categories[category] = nab_score([y[i] for i in own], [scores[i] > cut for i in own],
                                         normalize=windows)
    found = {profile: round(value.score, 1) for profile, value in best.items()}
    us = seconds / sum(map(len, y)) * 1e6
    print(f"{name:<42}" + "".join(f"{value:>15.1f}" for value in found.values())
          + f"{us:>12.3f}", flush=True)
    return {**found, "threshold": cut, "us_per_row": us, "categories": categories}


def variant(edits: tuple[tuple[str, str], ...], folder: str) -> type[OnlineDetector]:
    """`OnlineEnsemble` with other constants: its module's source, changed and compiled."""
    if not edits:
        return online.OnlineEnsemble
    source = Path(online.__file__).read_text(encoding="utf-8")
    for old, new in edits:
        if source.count(old) != 1:
            raise ValueError(f"{old!r} stands {source.count(old)} times in {online.__file__}")
        source = source.replace(old, new)
    path = Path(folder) / f"variant_{abs(hash(edits))}.py"
    path.write_text(source, encoding="utf-8")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.OnlineEnsemble


def nab_windows(y: np.ndarray) -> np.ndarray:
    """Labels widened as NAB's are: a tenth of the series, shared by its anomalies."""
    edges = np.flatnonzero(np.diff(np.r_[0, np.asarray(y, dtype=int), 0]))
    found, width = np.zeros(len(y), dtype=int), 0.1 * len(y) / max(len(edges) // 2, 1)
    for start, stop in zip(edges[::2], edges[1::2], strict=True):
        middle = (start + stop) / 2
        found[int(max(0, min(start, middle - width / 2))):int(max(stop, middle + width / 2))] = 1
    return found


class Corpus:
    """Streams, their labels, and what a detector would score on some of them."""

    def __init__(self) -> None:
        nab, tsb = load_nab(), load_tsb(part="U")
        self.y = [np.asarray(s.y, dtype=int) for s in nab.values()]
        self.X = [s.X for s in nab.values()]
        self.category = [name.split("/")[0] for name in nab]
        self.n_nab = len(nab)
        self.labels = []
        for name, series in tsb.items():
            kind = name.split("/")[1].split("_")[1]
            if kind not in ("NAB", "MGAB"):
                self.y.append(nab_windows(series.y))
                self.labels.append(np.asarray(series.y, dtype=int))
                self.X.append(series.X)
                self.category.append(kind)
        self.skab = [(np.asarray(s.y, dtype=int), s.X) for name, s in load_skab().items()
                     if "free" not in name]
        self.of_nab = np.arange(len(self.y)) < self.n_nab
        self.least = self.sums([np.zeros(len(y)) for y in self.y], 1.0)  # no flag at all

    def best(self, scores: list, where: np.ndarray) -> tuple[float, float]:
        at = np.flatnonzero(where)
        return nab_corpus([self.y[i] for i in at], [scores[i] for i in at])

    def sums(self, scores: list, cut: float) -> np.ndarray:
        """Of each stream, unnormalised."""
        return np.array([nab_score(y, s > cut, normalize=False)
                         for y, s in zip(self.y, scores, strict=True)])

    def normal(self, sums: np.ndarray, at: np.ndarray) -> float:
        """NAB's normalised score of streams, which may come more than once."""
        return 100 * float((sums - self.least)[at].sum() / max(-2 * self.least[at].sum(), 1e-9))


def grid() -> dict:
    """Score every setting of the grid; print and return what was found."""
    corpus, results, scores = Corpus(), {}, {}
    nab, rng = np.flatnonzero(corpus.of_nab), np.random.default_rng(0)
    draws = rng.choice(nab, (DRAWS, len(nab)))
    print(f"{'setting':<45}{'NAB':>7}{'SE':>6}{'at 1':>7}{'cut':>6}{'TSB':>7}{'at 1':>7}{'both':>7}"
          f"{'SE':>6}{'TSB VUS':>9}{'SKAB VUS':>9}")
    everywhere = np.arange(len(corpus.y))
    all_draws = rng.choice(everywhere, (DRAWS, len(everywhere)))
    with tempfile.TemporaryDirectory() as folder:
        settings = GRID | {"defaults": ({"horizon": online.RECENT}, ())}
        for name, (given, edits) in settings.items():
            make = variant(edits, folder)
            given = {"horizon": 2**15} | given
            scores[name] = [make(**given).process(X) for X in corpus.X]
            own, both = (corpus.best(scores[name], where) for where in (
                corpus.of_nab, corpus.of_nab | True))
            sums, ones = corpus.sums(scores[name], own.threshold), corpus.sums(scores[name], 1.0)
            pooled = corpus.sums(scores[name], both.threshold)
            se = np.std([corpus.normal(sums, at) for at in draws])
            se_both = np.std([corpus.normal(pooled, at) for at in all_draws])
            tsb = corpus.best(scores[name], ~corpus.of_nab)
            vus = np.mean([vus_pr(y, s) for y, s in zip(
                corpus.labels, scores[name][corpus.n_nab:], strict=True)])
            skab = np.mean([vus_pr(y, make(**given).process(X)) for y, X in corpus.skab])
            at_one = [corpus.normal(ones, np.flatnonzero(where))
                      for where in (corpus.of_nab, ~corpus.of_nab)]
            results[name] = {"nab": own.score, "nab_se": se, "nab_at_1": at_one[0],
                             "cut": own.threshold, "tsb": tsb.score, "tsb_at_1": at_one[1],
                             "both": both.score, "both_se": se_both, "tsb_vus": vus, "skab": skab}
            print(f"{name:<45}{own.score:>7.1f}{se:>6.1f}{at_one[0]:>7.1f}{own.threshold:>6.2f}"
                  f"{tsb.score:>7.1f}{at_one[1]:>7.1f}{both.score:>7.1f}{se_both:>6.1f}{vus:>9.3f}"
                  f"{skab:>9.3f}", flush=True)
    left_out(corpus, scores)
    return results


def left_out(corpus: Corpus, scores: dict[str, list]) -> None:
    """Score each category of NAB with what serves best where it is left out."""
    category, at = np.array(corpus.category), np.flatnonzero(corpus.of_nab)
    print("\neach category with the threshold (and the setting) chosen without it")
    total = {name: np.zeros(len(category)) for name in [*scores, "chosen"]}
    for one in sorted(set(category[:corpus.n_nab])):
        rest, own = category != one, category == one
        found = {name: corpus.best(s, rest) for name, s in scores.items()}
        best = max(GRID, key=lambda name: found[name].score)
        for name, value in found.items():
            total[name][own] = corpus.sums(scores[name], value.threshold)[own]
        total["chosen"][own] = total[best][own]
        print(f"  {one:<24}{best:<45}threshold {found[best].threshold:.2f}")
    draws = np.random.default_rng(0).choice(at, (DRAWS, len(at)))
    for name in ("former defaults", "defaults", "chosen"):
        spread = np.quantile([corpus.normal(total[name], i) for i in draws], [0.025, 0.975])
        print(f"  {name:<24}{corpus.normal(total[name], at):.1f}  [{spread[0]:.1f}, "
              f"{spread[1]:.1f}] over streams")


def headline(y: list, scores: dict[str, list], streams: list) -> dict[str, dict]:
    """What is recorded: the standard score at the best threshold, and at one chosen elsewhere."""
    figures, n = {}, len(streams)
    category = np.array([s.name.split("/")[0] for s in streams])
    draws = np.random.default_rng(0).choice(n, (DRAWS, n))

    def sums(flags: list) -> np.ndarray:
        return np.array([nab_score(a, f, normalize=False) for a, f in zip(y, flags, strict=True)])

    least = sums([np.zeros(len(a), dtype=bool) for a in y])
    worth = -2 * least.sum() / n  # of a stream, so that the mean over streams is NAB's score

    def figure(what: str, reached: np.ndarray) -> dict:
        drawn = [100 * (reached - least)[i].sum() / (-2 * least[i].sum()) for i in draws]
        low, high = np.quantile(drawn, (0.025, 0.975))
        each = 100 * (reached - least) / worth
        return {"what": what, "better": "high", "value": each.mean(), "low": low, "high": high,
                "each": {s.name: value for s, value in zip(streams, each, strict=True)}}

    for name, found in scores.items():
        cut, out = nab_corpus(y, found).threshold, np.zeros(n)
        figures[name] = figure(f"{name}, one threshold, the best: NAB, standard",
                               sums([s > cut for s in found]))
        for one in sorted(set(category)):
            rest = np.flatnonzero(category != one)
            cut = nab_corpus([y[i] for i in rest], [found[i] for i in rest]).threshold
            own = category == one
            out[own] = sums([s > cut for s in found])[own]
        figures[f"{name}_left_out"] = figure(
            f"{name}, threshold of each category chosen on the others: NAB, standard", out)
    figures["OnlineEnsemble_left_out"]["goal"] = 70.0
    return figures


def main() -> None:
    """Print the table and write it to reports/benchmarks/nab.json."""
    parser = argparse.ArgumentParser()
    parser.add_argument("detectors", nargs="*")
    parser.add_argument("--peers", action="store_true")
    parser.add_argument("--period", action="store_true")
    parser.add_argument("--grid", action="store_true")
    option(parser)
    given = parser.parse_args()
    if given.grid:
        grid()
        return
    known = {name: cls for name, cls in all_detectors().items() if issubclass(cls, OnlineDetector)}
    streams = list(load_nab().values())
    y = [np.asarray(s.y) for s in streams]
    print(f"{len(streams)} streams, {sum(map(len, y)):,} rows\n{'detector':<42}"
          + "".join(f"{profile:>15}" for profile in PROFILES) + f"{'us a row':>12}")
    results, kept = {}, {}
    for name in given.detectors or known:
        scores, seconds = [], 0.0
        for stream in streams:
            detector = known[name]()
            if given.period and "period" in detector.get_params():
                detector.set_params(period=rows_a_day(stream.time))
            began = time.process_time()
            scores.append(detector.process(stream.X))
            seconds += time.process_time() - began
        results[name], kept[name] = line(name, y, scores, streams, seconds), scores
        if name != "OnlineEnsemble":
            results[f"{name} + rest"] = line(f"{name} + rest", y, list(map(rested, scores)),
                                             streams, seconds)
    if given.peers:
        with tempfile.TemporaryDirectory() as folder:
            data, out = Path(folder) / "streams.npz", Path(folder) / "scores.npz"
            np.savez(data, **{str(i): s.X for i, s in enumerate(streams)})
            for peer, (code, requirements) in ENVIRONMENTS.items():
                python = peers.environment(peer, requirements)
                taken = peers.run(python, code, str(data), str(out), timeout=3_600)
                found = np.load(out)
                for name, seconds in taken.items():
                    scores = [found[f"{name}|{i}"] for i in range(len(streams))]
                    results[name] = line(name, y, scores, streams, seconds)
                    results[f"{name} + rest"] = line(f"{name} + rest", y,
                                                     list(map(rested, scores)), streams, seconds)
    print("\nby category, at the corpus's standard threshold (sum where there is no window)")
    for name, found in results.items():
        print(f"{name:<42}" + "  ".join(f"{category} {value:.1f}" for category, value
                                        in found["categories"].items()))
    path = Path(__file__).resolve().parents[1] / "reports" / "benchmarks" / "nab.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"streams": len(streams), "period_given": given.period,
                                "results": results}, indent=1) + "\n", encoding="utf-8")
    if given.keep:
        keep("nab", given.keep, "", headline(y, kept, streams))


if __name__ == "__main__":
    main()
