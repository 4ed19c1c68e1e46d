"""Windows keep every row and look only back."""

import numpy as np
import pytest

from adlib.windows import Windows, windows


def test_by_hand():
    X = np.array([[1.0, 10.0], [2.0, 20.0], [3.0, 30.0]])
    assert windows(X, 2).tolist() == [[[1, 10], [1, 10]], [[1, 10], [2, 20]], [[2, 20], [3, 30]]]
    flat = Windows(2).fit_transform(X)
    assert flat.tolist() == [[1, 10, 1, 10], [1, 10, 2, 20], [2, 20, 3, 30]]


def test_length_one_is_the_row_itself():
    X = np.random.default_rng(0).normal(size=(7, 3))
    assert (Windows(1).fit_transform(X) == X).all()


def test_future_rows_do_not_reach_back():
    X = np.random.default_rng(0).normal(size=(30, 2))
    changed = X.copy()
    changed[20:] = 99
    assert (Windows(5).fit_transform(X)[:20] == Windows(5).fit_transform(changed)[:20]).all()


def test_view_is_cheap_and_transform_is_a_copy():
    X = np.zeros((100_000, 4))
    view = windows(X, 1_000)  # 3.2 GB if it were built
    assert view.shape == (100_000, 1_000, 4) and not view.flags.writeable
    small = np.zeros((10, 2))
    Windows(3).fit_transform(small)[:] = 5
    assert (small == 0).all()


def test_size_guard():
    with pytest.raises(ValueError, match="windows of 1000 rows for 100000 rows x 4 features"):
        Windows(1_000).fit_transform(np.zeros((100_000, 4)))


def test_names_and_errors():
    names = Windows(2).fit(np.zeros((4, 2))).get_feature_names_out(["a", "b"])
    assert names.tolist() == ["a[t-1]", "b[t-1]", "a[t]", "b[t]"]
    for length in (0, 2.5, True):
        with pytest.raises(ValueError, match="length must be a whole number"):
            Windows(length).fit(np.zeros((4, 2)))
    with pytest.raises(ValueError, match="shape"):
        windows(np.zeros(4), 2)
    assert windows(np.empty((0, 2)), 3).shape == (0, 3, 2)


def test_sklearn_contract():
    from sklearn.utils.estimator_checks import check_estimator

    order = dict.fromkeys(("check_methods_sample_order_invariance",
                           "check_methods_subset_invariance"), "a window holds the rows before it")
    check_estimator(Windows(3), expected_failed_checks=order, on_skip=None)
