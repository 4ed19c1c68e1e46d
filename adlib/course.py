"""The exercises' former name: they are the package ``exercises`` beside the chapters now."""

from adlib import notebooks  # noqa: F401  makes `exercises` importable
from adlib.deprecation import moved

__getattr__ = moved(__name__, {name: f"exercises:{name}" for name in (
    "Exercise", "Grade", "Wrong", "check", "exercise", "exercises", "grade", "progress",
    "require", "solution")})
