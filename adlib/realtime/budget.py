"""A budget of incidents, such as one a week: which share of flagged windows keeps it."""

from scipy.stats import chi2


def poisson_limit(count: int, confidence: float = 0.95) -> float:
    """Highest expected count that so many events, or fewer, leave open: Poisson's upper limit.

    Parameters
    ----------
    count : int
    confidence : float

    Returns
    -------
    float

    Examples
    --------
    >>> [round(poisson_limit(k), 2) for k in (0, 1, 2)]
    [3.0, 4.74, 6.3]
    """
    return float(chi2.ppf(confidence, 2 * count + 2) / 2)
