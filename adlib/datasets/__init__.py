"""Labelled data: the container, generators, injectors and loaders."""

from adlib.datasets.dataset import Dataset, Splits

__all__ = ["Dataset", "Splits"]
