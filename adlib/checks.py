"""The conformance suite: what every detector promises, as one call.

Each check takes an unfitted detector, fits copies of it, and raises `AssertionError` with a
sentence that says what was broken. The suite holds for detectors of adlib and for yours alike.
"""

import copy
import random
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.utils.estimator_checks import check_estimator

from adlib.arguments import listed
from adlib.base import Detector, OnlineDetector
from adlib.missing import MissingWarning
from adlib.persist import load, save
from adlib.thresholds import CalibrationWarning

__all__ = ["check_detector", "detector_checks"]

SKLEARN_WINDOW = 4  # rows: half of scikit-learn's shortest test data is left for training
RTOL = 1e-5  # float32 networks in batches of different size agree no better
Check = Callable[[Detector], None]
Array = NDArray[np.float64]


def check_detector(detector: Detector | type[Detector], *, skip: Iterable[str] = ()) -> list[str]:
    """Run every conformance check on a detector.

    Parameters
    ----------
    detector : Detector or subclass
        An unfitted instance, or a class that builds without arguments. It is not changed.
    skip : iterable of str
        Names of checks that the detector does not claim, as `detector_checks` gives them.

    Returns
    -------
    list of str
        Names of the checks that passed.

    Raises
    ------
    AssertionError
        At the first broken promise, and for nothing else that is the detector's doing: an error
        that it raises where it may not is named in the sentence.
    TypeError, ValueError
        When ``detector`` is no `adlib.Detector`, or ``skip`` names a check that does not exist.

    Examples
    --------
    >>> from adlib.detectors import MaxAbsZ
    >>> "sign" in check_detector(MaxAbsZ)
    True
    """
    passed = []
    for name, check in detector_checks(detector, skip=skip):
        check()
        passed.append(name)
    return passed


def detector_checks(detector: Detector | type[Detector], *, skip: Iterable[str] = ()
                    ) -> Iterator[tuple[str, Callable[[], None]]]:
    """Name and call of each check, for ``pytest.mark.parametrize``.

    Parameters
    ----------
    detector : Detector or type
        An instance, or a class that builds without arguments.
    skip : iterable of str, default=()
        Names of checks to leave out.

    Yields
    ------
    str, callable
        The name, and the check without arguments; it raises AssertionError.

    Raises
    ------
    TypeError
        When ``detector`` is no `adlib.Detector`.
    ValueError
        When ``skip`` names a check that does not exist.
    """
    prototype: Any = detector() if isinstance(detector, type) else detector
    if not isinstance(prototype, Detector):
        raise TypeError(f"detector must be an adlib.Detector, got {type(prototype).__name__}")
    skip = listed(skip, "skip")
    checks = _CHECKS | (_ONLINE_CHECKS if isinstance(prototype, OnlineDetector) else {})
    if unknown := set(skip) - set(checks):
        raise ValueError(f"skip names unknown checks {sorted(unknown)}; there are {list(checks)}")
    for name, check in checks.items():
        if name not in skip:
            yield name, partial(_run, name, check, prototype)


def _run(name: str, check: Check, prototype: Detector) -> None:
    try:
        detector = clone(prototype)
        detector.check_params()  # a constructor that forgets its parent, before all else
        if "random_state" in detector.get_params() and detector.random_state is None:
            detector.set_params(random_state=0)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", CalibrationWarning)  # few rows, on purpose
            check(detector)
    except AssertionError:
        raise
    except Exception as error:
        raise AssertionError(f"{name}: {type(error).__name__}: {error}") from error


# -- data and comparisons -----------------------------------------------------------------------


def _normal(detector: Detector, n: int = 240, seed: int = 0) -> Array:
    """Three correlated features with mild autocorrelation; more rows for longer windows."""
    # a memory of its own choice reaches over up to half of the rows that train, a window a quarter
    memory = detector.smoothing == "auto"
    n += 360 if memory else 60 if _is_auto(detector) else 6 * detector.context_
    rng = np.random.default_rng(seed)
    latent = np.convolve(rng.normal(size=n + 4), np.ones(5) / 5, mode="valid")[:, None]
    return latent * [2.0, -1.0, 0.5] + rng.normal(size=(n, 3)) * [0.3, 0.2, 0.4] + [1.0, 20.0, -5.0]


def _is_auto(detector: Detector) -> bool:
    """Whether fit chooses how far it looks back: at most a quarter of its rows."""
    return "auto" in (detector.window, detector.smoothing)


def _same(a: Array, b: Array, promise: str, *, exact: bool = False) -> None:
    rtol = 0.0 if exact else RTOL
    assert a.shape == b.shape, f"{promise}: shapes {a.shape} and {b.shape} differ"
    sizes = np.abs(b[np.isfinite(b)])  # a refused threshold is infinite on both sides
    scale = max(float(np.median(sizes)) if len(sizes) else 0.0, 1e-12)
    with np.errstate(invalid="ignore"):
        worst = int(np.abs(a - b).argmax()) if len(a) else 0
    assert np.allclose(a, b, rtol=rtol, atol=rtol * scale), (
        f"{promise}: row {worst} scores {a[worst]:.6g} and {b[worst]:.6g}")


@contextmanager
def _refuses(errors: type[Exception] | tuple[type[Exception], ...], what: str) -> Iterator[None]:
    try:
        yield
    except errors as error:
        assert str(error).strip(), f"{what} must be refused with a sentence, got an empty message"
    except Exception as error:
        raise AssertionError(f"{what} must raise {errors}, raised {error!r}") from error
    else:
        raise AssertionError(f"{what} must be refused, was accepted")


@contextmanager
def _temporary_files_removed() -> Iterator[None]:
    """scikit-learn keeps memory-mapped files until the process exits; a killed one leaves them."""
    before = tempfile.tempdir
    with tempfile.TemporaryDirectory() as folder:
        tempfile.tempdir = folder
        try:
            yield
        finally:
            tempfile.tempdir = before


# -- every detector -----------------------------------------------------------------------------


def check_sklearn(detector: Detector) -> None:
    """scikit-learn's own suite; only its two row-order checks are waived where order matters.

    With window > 1, and of stateful detectors, which continue a stream, a score uses the rows
    before it: shuffled rows (``check_methods_sample_order_invariance``) and subsets
    (``check_methods_subset_invariance``) score otherwise, as they should. scikit-learn's own tag
    for that, ``non_deterministic``, would be untrue and waive more.

    Its tests have as few as ten rows: longer windows, those of members and steps too, are shortened
    to `SKLEARN_WINDOW` rows and smoothing is left out. A detector that still looks back further
    cannot be tested by them.
    """
    for least in ({"smoothing": None}, {"window": SKLEARN_WINDOW}):
        if "smoothing" in least or detector.context_ >= SKLEARN_WINDOW:
            detector.set_params(**{name: least[name.rpartition("__")[2]]
                                   for name in detector.get_params()
                                   if name.rpartition("__")[2] in least})
    if detector.context_ >= SKLEARN_WINDOW:
        return
    waived = dict.fromkeys(("check_methods_sample_order_invariance",
                            "check_methods_subset_invariance"), "a score uses the rows before it")
    looks_back = detector.context_ or detector.is_stateful
    with warnings.catch_warnings(), _temporary_files_removed():
        warnings.simplefilter("ignore")
        check_estimator(detector, on_skip=None,
                        expected_failed_checks=waived if looks_back else {})


def check_shapes(detector: Detector) -> None:
    """One finite float64 score per row; the derived views agree with it."""
    X = _normal(detector)
    detector.alpha = 0.2  # few rows: a smaller budget would have no finite cut
    detector.fit(X)
    score = detector.anomaly_score(X)
    assert isinstance(score, np.ndarray) and score.dtype == np.float64, "scores must be float64"
    assert score.shape == (len(X),), f"one score per row: {score.shape} for {len(X)} rows"
    assert np.isfinite(score).all(), "scores must be finite"
    found = detector.detect(X)
    assert found.is_anomaly.dtype == bool, "is_anomaly must be boolean"
    _same(found.score, score, "detect and anomaly_score", exact=True)
    flagged = score > detector.threshold_
    assert (found.is_anomaly == flagged).all(), "anomalous means score > threshold_"
    assert (detector.predict(X) == np.where(flagged, -1, 1)).all(), "predict is -1 for anomalies"
    _same(detector.score_samples(X), -score, "score_samples is the negative score", exact=True)
    _same(detector.decision_function(X), detector.threshold_ - score, "decision_function",
          exact=True)
    tail, severity = detector.tail_score(X), detector.severity(X)
    assert ((tail >= 0) & (tail < 1)).all(), "tail_score lies in [0, 1)"
    assert ((severity >= 0) & (severity <= 1)).all(), "severity lies in [0, 1]"
    order = np.argsort(score, kind="stable")
    for name, values in (("tail_score", tail), ("severity", severity)):
        assert (np.diff(values[order]) >= -1e-12).all(), f"{name} must rise with the score"
    assert ((severity > 0.7) == flagged).all(), "severity is above 0.7 exactly where detect flags"


def check_sign(detector: Detector) -> None:
    """Rows far outside score higher than normal ones."""
    X = _normal(detector, seed=1)
    context = detector.fit(_normal(detector)).context_
    at = np.arange(context + 20, len(X), 2 * context + 30)  # most windows hold none of them
    X[at] += 40 * np.where(np.arange(len(at)) % 2, 1.0, -1.0)[:, None]
    score = detector.anomaly_score(X)
    apart = np.min(np.abs(np.arange(len(X))[:, None] - at), axis=1)
    usual = np.median(score[apart > context])
    assert (score[at] > usual).all(), (
        f"higher must be more anomalous: far rows score {score[at].min():g} at least, the median "
        f"normal row {usual:g}")


def check_same_seed(detector: Detector) -> None:
    """The same seed gives the same scores and threshold, and scoring twice the same numbers."""
    X = _normal(detector)
    one, two = clone(detector).fit(X), clone(detector).fit(X)
    first = one.anomaly_score(X)
    _same(one.anomaly_score(X), first, "scoring twice", exact=True)
    _same(two.anomaly_score(X), first, "fitting twice with one seed", exact=True)
    assert one.threshold_ == two.threshold_, "fitting twice gives two thresholds"


def check_refit(detector: Detector) -> None:
    """A second fit forgets the first; one that fails leaves things as they were."""
    X, Y = _normal(detector), _normal(detector, 200, seed=2)[:, :2]
    again = clone(detector).fit(X).fit(Y)
    fresh = clone(detector).fit(Y)
    score = fresh.anomaly_score(Y)
    _same(again.anomaly_score(Y), score, "refit and fresh fit", exact=True)
    assert again.threshold_ == fresh.threshold_, "refit and fresh fit differ in the threshold"
    failed = clone(detector)
    for model in (failed, fresh):
        with _refuses(ValueError, "fit on one row"):
            model.fit(X[:1])
    with _refuses(NotFittedError, "anomaly_score after a fit that failed"):
        failed.anomaly_score(X)
    _same(fresh.anomaly_score(Y), score, "a failed fit changed the earlier one", exact=True)


def check_held_out(detector: Detector) -> None:
    """What calibrates is what later rows score, and none of them was trained on."""
    if isinstance(detector, OnlineDetector):
        return  # each of its scores precedes learning; the base takes them as they come
    X, new = _normal(detector, 300), _normal(detector, seed=5)
    kept = len(X) // 5
    apart = clone(detector)
    detector.calibration, apart.calibration = "split", None
    detector.fit(X)
    apart.fit(X[:-kept]).calibrate(X[-kept:])
    _same(detector.calibration_.scores_, apart.calibration_.scores_,
          "the calibration scores are not those of the last fifth of the rows, scored as later "
          "rows are")
    _same(detector.anomaly_score(new), apart.anomaly_score(new), "training saw calibration rows")


def check_own_memory(detector: Detector) -> None:
    """Nothing of the caller's arrays, and of other instances, lives on in a fitted detector."""
    X, new = _normal(detector), _normal(detector, 100, seed=3)
    detector.fit(X)
    if isinstance(detector, OnlineDetector):
        streamed = new.copy()
        detector.process(streamed)
        streamed[:] = 1e6
    score = detector.anomaly_score(new)
    X[:] = 1e6
    _same(detector.anomaly_score(new), score, "changing the training array changed scores",
          exact=True)
    clone(detector).fit(_normal(detector, seed=7) * 5 - 3)
    _same(detector.anomaly_score(new), score, "fitting another instance changed scores",
          exact=True)


def check_past_only(detector: Detector) -> None:
    """Rows to come never change the score of rows that were."""
    X, later = _normal(detector), _normal(detector, 100, seed=3)
    score = detector.fit(X).anomaly_score(later)
    for t in (1, 20, 60, len(later) - 1):
        wild = later.copy()
        wild[t:] = 1e3
        # to the last bit: as many rows are summed in the same order, whatever they hold
        _same(detector.anomaly_score(wild)[:t], score[:t],
              f"rows from {t} on changed scores of rows before", exact=True)
        _same(detector.anomaly_score(later[:t]), score[:t],
              f"leaving out rows from {t} on changed scores of rows before")


def check_rows(detector: Detector) -> None:
    """A row scores the same in any batch: alone at window=1, with its predecessors at window=L.

    Of a stateful detector that is promised of the frozen score alone.
    """
    X, later = _normal(detector), _normal(detector, 90, seed=4)
    later[10] = 1e3  # a batch must not be normalised by what it holds
    detector.fit(X)
    score, context = detector.frozen_score(later), detector.context_
    # the row after the wild one has left the window shows who looks back further than it says
    for t in (context, context + 11, context + 41, len(later) - 1):
        alone = detector.frozen_score(later[t - context:t + 1])[-1:]
        _same(alone, score[t:t + 1], f"row {t} scored with its {context} predecessors only")
    if context == 0:
        order = np.random.default_rng(0).permutation(len(later))
        _same(detector.frozen_score(later[order]), score[order], "shuffled rows")
    if not detector.is_stateful:
        _same(detector.anomaly_score(later), score, "frozen_score and anomaly_score", exact=True)


def check_untouched(detector: Detector) -> None:
    """Inputs, parameters, fitted state and global random state stay as they were."""
    X = _normal(detector)
    kept, params = X.copy(), {k: repr(v) for k, v in detector.get_params().items()}
    random.seed(5)
    np.random.seed(5)  # noqa: NPY002 - the global state is what is watched
    before = _global_states()
    torch = sys.modules.get("torch")
    torch_before = torch.random.get_rng_state().tolist() if torch else None
    X.flags.writeable = False
    try:
        detector.fit(X, np.zeros(len(X)))  # type: ignore[arg-type]  # y is None, or ignored
    except ValueError as error:
        if "read-only" not in str(error):
            raise
        raise AssertionError("fit changes X in place, and X is the caller's: copy it") from error
    if "random_state" in detector.get_params():
        clone(detector).set_params(random_state=None).fit(X).anomaly_score(X)
    state = copy.deepcopy(vars(detector))
    detector.anomaly_score(X)
    detector.detect(X)
    assert np.array_equal(X, kept), "the caller's array was changed"
    assert {k: repr(v) for k, v in detector.get_params().items()} == params, "parameters changed"
    assert _alike(vars(detector), state), "scoring changed the detector"
    assert _global_states() == before, "the global random state was changed"
    if torch:
        assert torch.random.get_rng_state().tolist() == torch_before, "torch's random state changed"


def _global_states() -> tuple[Any, ...]:
    generator: Any = np.random.get_state()  # noqa: NPY002
    return random.getstate(), generator[1].tolist()


def _alike(a: Any, b: Any) -> bool:
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(_alike(a[k], b[k]) for k in a)
    if isinstance(a, np.ndarray):
        return np.array_equal(a, b)
    return a == b if isinstance(a, (int, float, str, tuple, type(None))) else True


def check_labels_ignored(detector: Detector) -> None:
    """``y`` is never read."""
    X = _normal(detector)
    labels = (np.arange(len(X)) % 7 == 0).astype(int)
    without, with_y = clone(detector).fit(X), clone(detector).fit(X, labels)
    _same(with_y.anomaly_score(X), without.anomaly_score(X), "fit read y", exact=True)
    assert with_y.threshold_ == without.threshold_, "fit read y for its threshold"
    flags = clone(detector).fit_predict(X, labels)
    assert np.array_equal(flags, without.predict(X)), "fit_predict read y"


def check_input_types(detector: Detector) -> None:
    """Lists, integers, float32, Fortran order and DataFrames score as float64 arrays do."""
    import pandas as pd

    X = np.round(_normal(detector) * 4)  # exact in every type
    want = clone(detector).fit(X).anomaly_score(X)
    for name, form in {"a list": X.tolist(), "int64": X.astype(np.int64),
                       "float32": X.astype(np.float32), "Fortran order": np.asfortranarray(X),
                       "a DataFrame": pd.DataFrame(X, columns=["a", "b", "c"])}.items():
        _same(clone(detector).fit(form).anomaly_score(form), want, f"{name} and float64")


def check_bad_input(detector: Detector) -> None:
    """NaN, inf, strings, wrong widths and shapes are refused; unfitted use says so."""
    X = _normal(detector)
    for method in ("anomaly_score", "detect", "predict", "tail_score", "severity", "calibrate",
                   "score_samples", "decision_function"):
        with _refuses(NotFittedError, f"{method} before fit"):
            getattr(clone(detector), method)(X)
    assert not hasattr(detector, "threshold_"), "no threshold may exist before fit"
    detector.fit(X)
    fifth = np.arange(len(X))[:, None] == 5
    masked = np.ma.masked_array(X, np.broadcast_to(fifth, X.shape))
    bad = {"NaN": np.where(fifth, np.nan, X), "inf": np.where(fifth, np.inf, X),
           "an empty array": X[:0], "one dimension": X[:, 0], "strings": X.astype(str),
           "dates": X.astype("datetime64[s]"), "masked values": masked}
    for name, rows in bad.items():
        with _refuses((ValueError, TypeError), f"fit on {name}"):
            clone(detector).fit(rows)
        with _refuses((ValueError, TypeError), f"scoring {name}"):
            detector.anomaly_score(rows)
    with _refuses(ValueError, "scoring rows of another width"):
        detector.anomaly_score(X[:, :2])
    with _refuses(ValueError, "fit on one row"):
        clone(detector).fit(X[:1])
    one = detector.anomaly_score(X[:1])
    assert one.shape == (1,) and np.isfinite(one).all(), "one row must get one finite score"
    for name, value in (("alpha", 1.5), ("window", 0), ("calibration", "maybe"),
                        ("threshold", "high")):
        wrong = clone(detector)
        setattr(wrong, name, value)
        with _refuses(ValueError, f"{name}={value!r}"):
            wrong.fit(X)


def check_odd_data(detector: Detector) -> None:
    """Constant columns, constant data, duplicates, huge and tiny values give finite scores."""
    X = _normal(detector)
    constant, huge = X.copy(), X.copy()
    constant[:, 1] = 7.0
    huge[100] = 1e12
    odd = {"a constant column": constant, "constant data": np.full_like(X, 3.0),
           "duplicates": np.repeat(X[:len(X) // 6], 6, axis=0), "one huge row": huge,
           "huge values": X * 1e9, "tiny values": X * 1e-9}
    for name, rows in odd.items():
        fitted = clone(detector).fit(rows)
        for new in (rows, rows + 1.0):
            assert np.isfinite(fitted.anomaly_score(new)).all(), f"{name}: scores are not finite"
    fitted = clone(detector).fit(X)
    for size in (1e12, 1e155, 1e300):
        new = X.copy()
        new[len(new) // 2:, 0] = size
        try:
            with np.errstate(all="ignore"):
                score = fitted.anomaly_score(new)
        except ValueError as error:  # squares overflow: to refuse is honest, NaN is not
            assert size > 1e100 and str(error), f"a value of {size:g} is refused: {error}"
            continue
        assert np.isfinite(score).all(), f"a value of {size:g}: scores are not finite"


def check_missing(detector: Detector) -> None:
    """Gaps are filled from training rows; a row that is mostly missing is flagged; inf is not."""
    X, new = _normal(detector), _normal(detector, 90, seed=3)
    X[::7, 1], new[-5, 0], new[-9] = np.nan, np.nan, np.nan
    detector.missing, detector.alpha = "impute", 0.2
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", MissingWarning)
        score = detector.fit(X).anomaly_score(new)
        found = detector.detect(new)
    assert np.isnan(X[0, 1]) and np.isnan(new[-9]).all(), "the caller's array was filled"
    _same(found.score, score, "detect and anomaly_score", exact=True)
    by_hand = detector.anomaly_score(np.where(np.isnan(new), detector.fill_, new))
    whole = np.arange(len(new)) != len(new) - 9
    _same(score[whole], by_hand[whole], "gaps and the same values filled in before")
    assert found.is_anomaly[-9] or not np.isfinite(detector.threshold_), (
        "a row without values must be flagged")
    with _refuses(ValueError, "inf with missing='impute'"):
        detector.anomaly_score(np.where(np.isnan(new), np.inf, new))


def check_calibration(detector: Detector) -> None:
    """The budget is kept on fresh normal rows, roughly; a smaller one raises the threshold."""
    rng = np.random.default_rng(0)
    X, fresh = rng.normal(size=(1_200, 3)), rng.normal(size=(4_000, 3))
    detector.alpha, detector.threshold = 0.1, None
    context = detector.context_
    if context > 100:
        return  # too few rows for such windows
    detector.fit(X)
    score = detector.anomaly_score(fresh)[context:]
    rate = (score > detector.threshold_).mean()
    # a fifth of 1,200 rows is kept: four standard deviations of the beta-binomial law, and more
    # where windows make neighbouring scores alike
    slack = 4 * np.sqrt(0.09 / 240 * (1 + context))
    assert abs(rate - 0.1) <= slack, f"alpha=0.1 flags {rate:.3f} of normal rows +- {slack:.3f}"
    loose, later = clone(detector), clone(detector)
    loose.alpha, loose.threshold, later.threshold, later.calibration = 0.3, None, None, None
    low = loose.fit(X).threshold_
    assert low <= detector.threshold_, "a larger budget must not raise the threshold"
    later.fit(X)
    with _refuses(NotFittedError, "detect without calibration"):
        later.detect(X)
    later.calibrate(fresh)
    assert np.isfinite(later.threshold_), "calibrate must set a threshold"


def check_save_load(detector: Detector) -> None:
    """A detector read back scores and decides as the one that was saved."""
    X = _normal(detector)
    detector.fit(X)
    with tempfile.TemporaryDirectory() as folder:
        again = load(save(detector, Path(folder) / "model"), classes=[type(detector)])
    _same(again.anomaly_score(X), detector.anomaly_score(X), "after save and load", exact=True)
    assert again.threshold_ == detector.threshold_, "the threshold changed in save and load"
    _same(again.severity(X), detector.severity(X), "severity after save and load", exact=True)


def check_contributions(detector: Detector) -> None:
    """Contributions, where there are any, have the shape of X and are finite."""
    X = _normal(detector)
    try:
        parts = detector.fit(X).contributions(X)
    except NotImplementedError as error:
        assert str(error).strip(), "NotImplementedError needs a sentence"
        return
    assert parts.shape == X.shape, f"contributions have shape {parts.shape} for X {X.shape}"
    assert np.isfinite(parts).all(), "contributions must be finite"
    X[-1, 1] += 40 * X[:, 1].std()
    last = detector.contributions(X)[-1]
    assert last.argmax() == 1, (
        f"the shifted feature contributes most, got {last}; where a score saturates, leave "
        f"_contributions out: adlib.explain then replaces features")


def check_smoothing(detector: Detector) -> None:
    """With smoothing, and window="auto": the past only, rows, files, rate; refused online."""
    if not {"window", "smoothing"} <= detector.get_params().keys():
        return
    rows = 2 if detector.window == "auto" else detector.window
    for setting in ({"window": rows, "smoothing": 2.5}, {"window": "auto", "smoothing": None}):
        changed = clone(detector).set_params(alpha=0.2, **setting)
        if isinstance(detector, OnlineDetector) or (detector.is_stateful and changed.smoothing):
            with _refuses(ValueError, f"an online detector with {setting}"):
                changed.fit(_normal(detector))
            continue
        checks = [check_past_only, check_rows, check_save_load]
        for check in checks if _is_auto(changed) else [*checks, check_held_out, check_calibration]:
            check(clone(changed))


# -- online detectors ---------------------------------------------------------------------------


def check_stream(detector: OnlineDetector) -> None:
    """One call, chunks, a row loop and score-then-learn give identical scores.

    So does ``anomaly_score``, which leaves the state; ``calibrate`` moves it as ``process`` does.
    """
    X, stream = _normal(detector), _normal(detector, 333, seed=6)
    stream[100] = 1e6  # a spike must not poison what follows in one of the ways only
    stream[200:] += 5.0
    detector.fit(X)
    state = detector.anomaly_score(X)
    whole = copy.deepcopy(detector).process(stream)
    assert whole.shape == (len(stream),) and np.isfinite(whole).all(), "process: finite, one a row"
    chunked, rowwise, pairs = (copy.deepcopy(detector) for _ in range(3))
    chunks = [chunked.process(stream[i:i + 50]) for i in range(0, len(stream), 50)]
    _same(np.concatenate(chunks), whole, "chunks and one call", exact=True)
    by_row = np.array([rowwise.process_one(x) for x in stream])
    _same(by_row, whole, "rows and one call", exact=True)
    scores = []
    for x in stream:
        scores.append(pairs.score_one(x))
        pairs.learn_one(x)
    _same(np.array(scores), whole, "score_one + learn_one and one call", exact=True)
    _same(rowwise.anomaly_score(X), chunked.anomaly_score(X), "states after rows and chunks",
          exact=True)
    _same(detector.anomaly_score(stream), whole, "anomaly_score and process on a copy", exact=True)
    _same(detector.frozen_score(stream), np.array([detector.score_one(x) for x in stream]),
          "frozen_score and score_one", exact=False)
    with _refuses((ValueError, TypeError), "calibrate on NaN"):
        detector.calibrate(np.full_like(stream, np.nan))
    _same(detector.anomaly_score(X), state, "a copy's stream changed the original", exact=True)
    later = copy.deepcopy(detector).calibrate(stream)
    _same(later.anomaly_score(X), rowwise.anomaly_score(X), "calibrate moves the state", exact=True)
    _same(np.asarray(later.calibration_.scores_), np.sort(whole), "calibrate keeps the scores")
    _same(copy.deepcopy(detector).process(stream[:150]), whole[:150],
          "rows to come changed past scores", exact=True)


def check_cold_start(detector: OnlineDetector) -> None:
    """An unfitted detector starts from nothing, in one call or row by row."""
    stream = _normal(detector)
    whole = clone(detector).process(stream)
    rowwise = clone(detector)
    _same(np.array([rowwise.process_one(x) for x in stream]), whole, "cold start", exact=True)
    assert np.isfinite(whole).all(), "cold start: scores must be finite"


_CHECKS: dict[str, Check] = {
    "untouched": check_untouched, "shapes": check_shapes, "sign": check_sign,
    "same_seed": check_same_seed, "refit": check_refit, "past_only": check_past_only,
    "rows": check_rows, "labels_ignored": check_labels_ignored,
    "input_types": check_input_types, "bad_input": check_bad_input, "odd_data": check_odd_data,
    "missing": check_missing, "held_out": check_held_out, "own_memory": check_own_memory,
    "calibration": check_calibration, "save_load": check_save_load,
    "contributions": check_contributions, "smoothing": check_smoothing,
    "sklearn": check_sklearn,  # last: where a promise of ours is broken, ours says it plainer
}
_ONLINE_CHECKS: dict[str, Check] = {"stream": check_stream, "cold_start": check_cold_start}
