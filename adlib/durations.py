"""Time between rows, however a user writes it, in seconds."""

import re
from typing import Any

_LONGEST = 9.2e9  # seconds, 291 years: no duration in use is longer, and sums with dates are dates


def seconds(interval: Any, name: str = "interval") -> float:
    """Read a duration: a number of seconds, text with a unit, or any timedelta.

    Parameters
    ----------
    interval : float, str, datetime.timedelta, numpy.timedelta64 or pandas.Timedelta
        Text needs its unit ("60s", "5min", "1h").
    name : str
        What to call the argument in an error.

    Raises
    ------
    ValueError
        When it cannot be read, is not above 0, or is longer than 291 years.

    Examples
    --------
    >>> seconds("5min"), seconds("1w"), seconds(0.5)
    (300.0, 604800.0, 0.5)
    """
    wanted = (f"{name} must be a number of seconds or a duration such as '5min', "
              f"got {interval!r:.80}")
    try:
        value = float(interval) if isinstance(interval, (int, float)) else None
        if isinstance(interval, str):
            import pandas as pd

            if interval.strip().replace(".", "").isdigit():  # seconds, minutes?
                wanted = f"{name} must have a unit, such as '5min', got {interval!r:.80}"
                raise ValueError(wanted)

            unit = r"(?<=[\d\s])[dw](?![a-z])"  # pandas wants D and W
            plain = re.sub(unit, lambda found: found[0].upper(), interval)
            value = pd.Timedelta(plain).total_seconds()
        elif hasattr(interval, "total_seconds"):
            value = interval.total_seconds()
        elif hasattr(interval, "astype"):  # a numpy number or timedelta64
            kind = interval.dtype.kind
            value = float(interval.astype("timedelta64[ns]").astype(float) * 1e-9 if kind == "m"
                          else interval)
    except (OverflowError, TypeError, ValueError) as error:
        value = None
        if "OutOfBounds" in type(error).__name__:  # of pandas
            value = _LONGEST + 1
    if value is None or isinstance(interval, bool):
        raise ValueError(wanted)
    if not 0 < value <= _LONGEST:
        raise ValueError(f"{name} must be above 0 seconds and at most 291 years, got "
                         f"{interval!r:.80}{': that is too long' if value > 0 else ''}")
    return value
