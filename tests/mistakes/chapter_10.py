"""Mistakes that the checks of chapter 10 must tell from an answer."""

import numpy as np

from exercises.chapter_10 import a_share_from_asked_rows, the_broken_channel, the_fewest_changes


@the_broken_channel.mistake("the largest value")
def _():
    return lambda score, row, X: int(np.abs(row).argmax())


@the_broken_channel.mistake("the largest z")
def _():
    return lambda score, row, X: int(np.abs((row - X.mean(axis=0)) / X.std(axis=0)).argmax())


@the_broken_channel.mistake("occlusion by the mean")
def _():
    def blame(score, row, X):
        occluded = np.where(np.eye(len(row), dtype=bool), X.mean(axis=0), row)
        return int(score(occluded).argmin())

    return blame


@the_broken_channel.mistake("the channel whose replacement makes it worst")
def _():
    def blame(score, row, X):
        occluded = np.where(np.eye(len(row), dtype=bool), X.mean(axis=0), row)
        return int(score(occluded).argmax())

    return blame


@a_share_from_asked_rows.mistake("the share among the asked")
def _():
    return lambda verdicts, chance, n_rows: np.mean(verdicts)


@a_share_from_asked_rows.mistake("weights the wrong way round")
def _():
    return lambda verdicts, chance, n_rows: np.sum(verdicts * chance) / np.sum(chance)


@a_share_from_asked_rows.mistake("as if nobody else were anomalous")
def _():
    return lambda verdicts, chance, n_rows: np.sum(verdicts) / n_rows


@a_share_from_asked_rows.mistake("one mean chance for all")
def _():
    return lambda verdicts, chance, n_rows: np.sum(verdicts) / np.mean(chance) / n_rows


@the_fewest_changes.mistake("everything as expected")
def _():
    return lambda score, cut, row, expected: range(len(row))


@the_fewest_changes.mistake("only the column that helps most")
def _():
    def remedy(score, cut, row, expected):
        alone = np.where(np.eye(len(row), dtype=bool), expected, row)
        return [score(alone).argmin()]

    return remedy


@the_fewest_changes.mistake("every column that differs")
def _():
    return lambda score, cut, row, expected: np.flatnonzero(row != expected)


@the_fewest_changes.mistake("one after the other, the largest step first")
def _():
    def remedy(score, cut, row, expected):
        changed, which = row.copy(), []
        for j in np.argsort(-np.abs(row - expected)):
            if score(changed[None])[0] <= cut:
                break
            changed[j] = expected[j]
            which.append(j)
        return which

    return remedy
