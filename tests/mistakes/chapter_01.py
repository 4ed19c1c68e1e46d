"""Mistakes that the checks of chapter 01 must tell from an answer."""

import numpy as np

from exercises.chapter_01 import places, replay, too_many

# -- 01.1: a kind of your own


@replay.mistake("returns the change")
def _():
    return lambda event: event.x[np.arange(event.start, event.stop) - event.period] - event.values


@replay.mistake("looks forward")
def _():
    return lambda event: event.seasonal(np.arange(event.start, event.stop) + event.period)


@replay.mistake("repeats the rows just before the event")
def _():
    return lambda event: event.x[event.start - event.length : event.start]


@replay.mistake("is one row late")
def _():
    return lambda event: event.x[np.arange(event.start, event.stop) - event.period - 1]


# -- 01.2: places for events


@places.mistake("one after another")
def _():
    def place(n_rows, n_events, length, rng):
        starts, free = [], 0
        for left in range(n_events, 0, -1):
            starts.append(rng.integers(free, n_rows - left * length + 1))
            free = starts[-1] + length
        return np.array(starts)

    return place


@places.mistake("each by itself")
def _():
    return lambda n_rows, n_events, length, rng: rng.integers(0, n_rows - length + 1, n_events)


@places.mistake("a slot for each event")
def _():
    def place(n_rows, n_events, length, rng):
        slot = n_rows // n_events
        return slot * np.arange(n_events) + rng.integers(0, slot - length + 1, n_events)

    return place


@places.mistake("drops what overlaps")
def _():
    def place(n_rows, n_events, length, rng):
        starts = np.sort(rng.integers(0, n_rows - length + 1, n_events))
        return starts[np.append(True, np.diff(starts) >= length)]

    return place


@places.mistake("random gaps, shared out one by one")
def _():
    def place(n_rows, n_events, length, rng):
        spare = n_rows - n_events * length
        gaps = np.bincount(rng.integers(0, n_events + 1, spare), minlength=n_events + 1)
        return np.cumsum(gaps[:n_events]) + length * np.arange(n_events)

    return place


# -- 01.3: how much contamination is too much


@too_many.mistake("as many as may lie above it")
def _():
    return 19


@too_many.mistake("half of the rows")
def _():
    return 200
