"""scikit-learn's detectors whose time grows with the square of the rows, up to a bound."""

from sklearn import neighbors, svm

from adlib.cost import Bounded


class LocalOutlierFactor(Bounded, neighbors.LocalOutlierFactor):
    """scikit-learn's."""


class OneClassSVM(Bounded, svm.OneClassSVM):
    """scikit-learn's."""
