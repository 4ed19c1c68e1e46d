"""From samples to verdicts: one calibrated ensemble, each member in a thread of its own.

Every member scores samples, not windows. Scores are put on one scale, that of rows after the
training rows in time, as surprises. Their weighted mean (Fisher's combination) or the largest of
them is a sample's combined score, as ``combine`` says; the highest one in a window is calibrated
again, so that p-values keep their meaning, whoever takes part. Where features are missing or
frozen, the scales are those of rows that lack the same (`adlib.realtime.masks`).
To score samples and not windows is what makes the engine fast (with a window of 100 and a stride of
10, each sample lies in ten windows) and lets detectors of any kind sit side by side: on rows, with
a look-back of their own, or online. The highest score ranks windows better than their mean or
median where faults are short: average precision .41, .32 and .22 on the recorded telemetry
(`adlib.datasets.load_telemetry`, window 30, a VAE and the vote of three classical detectors).
"""

import logging
import time
from concurrent.futures import Future, wait
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from adlib.explain import explain
from adlib.realtime.calibration import (
    WindowCalibration,
    WindowCalibrations,
    evidence,
    window_maxima,
)
from adlib.realtime.config import EngineConfig
from adlib.realtime.counters import Counters
from adlib.realtime.events import QualityEvent, QualityKind, Verdict, severity_of
from adlib.realtime.fitted import Fitted
from adlib.realtime.masks import Imputer, Lack, Scales, Worth, before, cached, example, lacks
from adlib.realtime.members import Member, back_off
from adlib.realtime.streams import Stream
from adlib.realtime.watch import DriftWatch
from adlib.realtime.windows import Block, Blocks, Rows
from adlib.scaling import log_p_of_moves, moved, standardise
from adlib.thresholds import Scores, decide

log = logging.getLogger(__name__)

_TOP = 5  # features that a verdict names
_PASSING = 1.0  # seconds in which a detector may fail in batch after batch, and is asked each time
_LONGEST_PAUSE = 300.0  # seconds until a detector that fails is asked again
_AGAIN = 60.0  # seconds until it is asked again what its scores mean where features are out
Causes = tuple[tuple[str, float], ...]
LeftOut = tuple[tuple[str, str], ...]  # reasons and names
Peaks = tuple[tuple[int, float], ...]


class Judge:
    """Verdicts on the windows of streams; the clock is for detectors that fail, and nothing else.

    Parameters
    ----------
    config : EngineConfig
    fitted : Fitted
    metrics : Counters
    lead : Judge, optional
        Of the same fleet: its threads do the work, so that a thousand models need not as many.

    Attributes
    ----------
    members : list of Member
    clock : callable
        Seconds, by which a detector that fails is given pauses.
    """

    def __init__(self, config: EngineConfig, fitted: Fitted, metrics: Counters,
                 lead: "Judge | None" = None):
        self._config, self._fitted, self._metrics = config, fitted, metrics
        self.clock = time.monotonic
        self._ensemble = fitted.ensemble
        leads = {} if lead is None else {member.name: member for member in lead.members}
        self.members: list[Member] = [Member(name, model, leads.get(name)) for name, model in zip(
            fitted.names, fitted.ensemble.members_, strict=True)]
        imputer = Imputer(fitted.background, fitted.rows) if len(fitted.rows) else None
        whole = fitted.ensemble.surprises_of(fitted.held_out)
        self._scales = [Scales(member, imputer, before, (scale, column))
                        for member, before, scale, column in zip(
                            self.members, fitted.before, fitted.ensemble.scales_, whole.T,
                            strict=True)]
        self._imputer = imputer
        self._worth = None
        if config.features and imputer is None:
            raise ValueError("features: fit the engine again, which an earlier version saved")
        if config.features and imputer is not None:
            self._worth = Worth(config.features, fitted.features, imputer, config.window_size)
            for scales in self._scales:
                scales.looks_back = True
        if imputer is None:
            log.warning("stream %s: the engine was saved by an earlier version: samples that lack "
                        "a feature are not judged until it is fitted again", config.stream)
        # features that stood still throughout the history: see `adlib.scaling`
        self._still = np.where(fitted.scale < 0, fitted.center, np.inf)
        self._calibrations: dict[tuple, WindowCalibration] = {}
        self._columns: dict[tuple, Scores] = {}
        self._own: dict[tuple, tuple[dict[int, int], WindowCalibrations]] = {}
        self._watch = self._new_watch(slice(None))

    def _new_watch(self, rows: slice) -> DriftWatch:
        config = self._config
        return DriftWatch(config, window_maxima(
            self._held_out(self._everybody, None)[rows], config.window_size), config.stream)

    def begin(self, stream: Stream) -> None:
        """Begin with a stream; one of several has online detectors of its own."""
        stream.tails = np.empty((0, len(self.members)))
        stream.drift = (self._watch if stream.own is None else self._new_watch(stream.own)
                        ).another(stream.name)
        stream.members = [member.another() if stream.entity is not None and member.online else
                          member for member in self.members]
        for member, state in zip(stream.members, self._fitted.states.get(stream.entity or "", ()),
                                 strict=False):
            member.restore(state)

    @property
    def _everybody(self) -> tuple[int, ...]:
        return tuple(range(len(self.members)))

    def _held_out(self, who: tuple[int, ...], lack: Lack) -> Scores:
        """Combined scores by these members, of held-out rows that lack features."""
        def made() -> Scores:
            own = {j: self._scales[j].of(lack)[1] for j in who}
            nobody = np.full(len(own[who[0]]), np.nan)
            return self._ensemble.combined(np.column_stack([
                own.get(j, nobody) for j in self._everybody]), who)

        return cached(self._columns, (who, lack), made)

    def calibration(self, who: tuple[int, ...] | None = None, lack: Lack = None
                    ) -> WindowCalibration:
        """Held-out scale of the combined score of some members, made when it is first needed.

        Parameters
        ----------
        who : tuple of int, optional
            Default: all.
        lack : optional
            What the samples lack: see `adlib.realtime.masks.lacks`.
        """
        who = self._everybody if who is None else who
        if any(self._scales[j].of(lack)[0] is None for j in who):
            lack = None
        return cached(self._calibrations, (who, lack), lambda: WindowCalibration().fit(
            self._held_out(who, lack), self._config.window_size))

    def judge(self, streams: list[Stream], block: Blocks, quality: list[QualityEvent]
              ) -> list[list[Verdict]]:
        """Verdicts on the windows that the blocks of some streams complete, for each stream.

        Parameters
        ----------
        streams : list of Stream
        block : Blocks
            One of each.
        quality : list of QualityEvent
            What goes wrong on the way is added to it.
        """
        config, parts = self._config, block.parts
        which, found = self._lacks(block)
        wanted = [found[k] for k in np.unique(which).tolist()]
        S = self._scores(streams, block, wanted, quality)
        self._leave_out_unknown(S, block, which, found)
        for stream, part, a, b in zip(streams, parts, block.begins, block.begins[1:], strict=False):
            if self._worth is not None and self._imputer is not None:
                self._forgive(stream, part, S[a:b], self._worth, self._imputer)
            stream.tails = S[max(b - config.window_size + 1, a):b].copy()
        if not len(block.ends):
            return [[] for _ in parts]
        starts = block.ends - config.window_size + 1
        warm = block.seq[block.ends] - np.array([part.first for part in parts])[
            block.of] >= config.warm_up
        scored, window = ~np.isnan(S), config.window_size
        anybody = np.logical_or.reduce(scored, axis=1, keepdims=True)
        # a maximum over fewer samples is conservative
        share = np.where(warm[:, None], block.share(np.hstack([scored, anybody]), window), 0.0)
        judged, known = share[:, -1] >= 0.5, share[:, :-1] >= 0.5
        groups = [(found[k], np.flatnonzero(judged & (which == k)))
                  for k in np.unique(which[judged]).tolist()]
        of = [streams[k] for k in block.of.tolist()]
        combined, peak, log_p, of_rows = self._combined(S, starts, groups, of)
        moves = self._lift(block, starts, known, peak, log_p)
        score, flagged = decide(log_p, config.alpha)
        p = np.exp(log_p)
        causes = self._causes_of(block, peak, p)
        without = self._left_out(block, known | ~warm[:, None])
        whole = known.all(axis=1) & (which == 0)
        if not scored.all():
            known &= block.share(anybody & ~scored, window) == 0  # these left the vote for a while
        own = self._own_severities(S, starts, known, groups, of)
        peaks = self._peaks(block, starts, peak, log_p, of_rows, moves)
        verdicts, at = [], 0
        for stream, part in zip(streams, parts, strict=True):
            mine = slice(at, at := at + len(part.ends))
            quality += stream.drift.update(part, combined[mine], whole[mine])
            verdicts.append([self._verdict(stream.name, block, i, p[i], score[i], flagged[i],
                                           own[i], causes.get(i, ()), peaks.get(i, ()),
                                           without.get(i, ()))
                             for i in range(mine.start, mine.stop)])
        return verdicts

    def _leave_out_unknown(self, S: Rows, block: Blocks, which: NDArray[np.int64],
                           found: list[Lack]) -> None:
        """Take members out, in place, where nobody knows yet what their scores of a window mean."""
        for j, scales in enumerate(self._scales):
            unknown = np.array([not scales.knows(lack) for lack in found])[which]
            for k in np.unique(block.of[unknown]).tolist():
                S[block.begins[k]:block.begins[k + 1], j] = np.nan

    def _lacks(self, block: Blocks) -> tuple[NDArray[np.int64], list[Lack]]:
        """What each window lacks, as its place in a list; see `adlib.realtime.masks.lacks`."""
        size = self._config.window_size
        which, found = lacks(block.left_out, size - 1, size, block.age)
        return which[block.ends], found

    # -- scores ---------------------------------------------------------------------------------

    def _scores(self, streams: list[Stream], block: Blocks, wanted: list[Lack],
                quality: list[QualityEvent]) -> Rows:
        """Surprises of the blocks' samples by member, (n, n_members); NaN where there is none.

        Members work in parallel, each in its thread. One that fails or is late leaves the vote for
        the windows that hold these samples.
        """
        fresh = bool((block.since >= 0).any())
        lacking = {member.context: lacks(block.left_out, member.context, self._config.window_size,
                                         block.age) for member in self.members}
        jobs = self._begin(streams, block) if fresh else {}
        making = {j: self._prepared(j, block, *lacking[member.context], wanted)
                  for j, member in enumerate(self.members) if member in jobs}
        scales = [job for begun, _ in making.values() for job in begun.values()]
        done = wait([*jobs.values(), *scales], timeout=self._config.detector_timeout).done
        scores, new = self._old_scores(streams, block), block.since >= 0
        for j, member in enumerate(self.members):
            job = jobs.get(member)
            fault: BaseException | str | None = "still busy"
            if job is not None and job in done:
                member.running, fault = None, job.exception()
                if fault is None:
                    found, faults = job.result()
                    which, lack = lacking[member.context]
                    scores[new, j] = self._scales[j].measured(found[new], which[new], lack)
                    self._unknown(j, *making[j], block, quality)
                    self._back(member, block, quality)
                    self._refused(j, faults, streams, block, quality)
            elif job is not None:
                fault = f"no answer within {self._config.detector_timeout:g} s"
            if fault is not None and fresh and (job or self.clock() >= member.retry_at):
                self._failed(member, fault, block, quality)
        return scores

    def _old_scores(self, streams: list[Stream], block: Blocks) -> Rows:
        scores = np.full((len(block.seq), len(self.members)), np.nan)
        for stream, part, at in zip(streams, block.parts, block.begins, strict=False):
            old = min(len(stream.tails), part.n_old)
            scores[at + part.n_old - old:at + part.n_old] = stream.tails[len(stream.tails) - old:]
        return scores

    def _prepared(self, j: int, block: Blocks, which: NDArray[np.int64], found: list[Lack],
                  wanted: list[Lack]) -> tuple[dict[Lack, Future], list[Lack]]:
        """What a member begins to learn of samples that lack features, and what has to be known."""
        if not block.left_out.any():
            return {}, []
        some = (block.since >= 0) & ~np.logical_and.reduce(block.left_out, axis=1)
        every = list(dict.fromkeys([*(found[k] for k in np.unique(which[some]).tolist()), *wanted]))
        return self._scales[j].prepare(every, self.clock()), every

    def _unknown(self, j: int, begun: dict[Lack, Future], wanted: list[Lack], block: Blocks,
                 quality: list[QualityEvent]) -> None:
        """Say which samples a member cannot judge, since nobody knows yet what its scores mean."""
        scales, member = self._scales[j], self.members[j]
        for lack in wanted:
            if scales.knows(lack):
                scales.late.discard(lack)
                continue
            job = begun.get(lack)
            error = job.exception() if job is not None and job.done() else None
            if error is not None:
                scales.retry_at[lack] = self.clock() + _AGAIN
            if lack in scales.late:
                continue
            scales.late.add(lack)
            what = ", ".join(self._fitted.features[k] for k in np.flatnonzero(
                example(lack, 1, len(self._fitted.features))[0])) if isinstance(
                    lack, bytes) else "values here and there"
            quality.append(self._event(
                member, "detector_failed" if error else "detector_slow",
                f"samples that lack {what} are judged without it: " + (
                    f"{type(error).__name__}: {error}" if error else "the scale is not made within "
                    f"{self._config.detector_timeout:g} s"), self._config.stream, *_new(block)))

    def _begin(self, streams: list[Stream], block: Blocks) -> dict[Member, Future]:
        """Hand the new samples to all members that are not busy with earlier ones, nor paused."""
        jobs, now = {}, self.clock()
        values, alive = self._filled(block)
        for j, member in enumerate(self.members):
            if member.running is not None and member.running.done():
                # it was late: what it says now is of another batch, but it answers again
                member.running, member.retry_at = None, now
            if member.running is None and now >= member.retry_at:
                member.running = jobs[member] = member.submit(
                    self._asked, j, streams, block, alive if member.online else values)
        return jobs

    def _filled(self, block: Blocks) -> tuple[Rows, Rows]:
        """Values with their gaps filled: for members that do not learn, and for those that do."""
        values = alive = block.values
        if self._imputer is not None and block.left_out.any():
            new = block.since >= -self._fitted.context
            rows, left_out, values = values[new], block.left_out[new], values.copy()
            values[new] = self._imputer.fill(rows, left_out)
            if any(member.online for member in self.members):
                alive = alive.copy()
                alive[new] = self._imputer.fill_alive(rows, left_out, block.seq[new])
        return self._calm(values), alive

    def _asked(self, j: int, streams: list[Stream], block: Blocks, values: Rows
               ) -> tuple[Scores, dict[int, Exception]]:
        """Scores of a block's samples by a member, and the streams whose samples it refuses.

        Streams are scored together, whatever they lack; one by one where the detector learns, or
        failed on all.
        """
        member, scales, parts = self.members[j], self._scales[j], block.parts
        faults = dict[int, Exception]()
        if not member.online and len(parts) > 1:
            try:
                found = scales.scores_together(values, block.left_out, block.age, block.since)
                return found, faults
            except Exception as error:  # some stream's samples: all others are scored
                log.debug("detector %s on %s streams: %r", member.name, len(parts), error)
        scores = np.full(len(block.seq), np.nan)
        for k, (a, b) in enumerate(zip(block.begins, block.begins[1:], strict=False)):
            try:
                scores[a + parts[k].n_old:b] = scales.scores(
                    values[a:b], parts[k].left_out, parts[k].n_old, streams[k].members[j])
            except Exception as error:
                faults[k] = error
                if len(faults) == len(parts):  # of nobody
                    raise
        return scores, faults

    def _calm(self, values: Rows) -> Rows:
        """Values with features that never moved where they always were."""
        return np.where(moved(values, self._still), self._still, values)

    def _refused(self, j: int, faults: dict[int, Exception], streams: list[Stream], block: Blocks,
                 quality: list[QualityEvent]) -> None:
        """Say which streams a member refuses, and which it scores again."""
        member = self.members[j]
        for k, stream in enumerate(streams) if faults or any(s.refused for s in streams) else ():
            if (k in faults) != (j in stream.refused):
                error, part = faults.get(k), block.parts[k]
                detail = f"{type(error).__name__}: {error}" if error else "scores again"
                quality.append(self._event(member, "detector_failed" if error else "detector_back",
                                          detail, stream.name, part.seq[part.n_old:], part.time))
                stream.refused ^= {j}

    def _failed(self, member: Member, fault: BaseException | str, block: Blocks,
                quality: list[QualityEvent]) -> None:
        stream = self._config.stream
        now = self.clock()
        member.failing_since = member.failing_since if member.failures else now
        member.failures += 1
        kind: QualityKind = "detector_slow" if isinstance(fault, str) else "detector_failed"
        detail = fault if isinstance(fault, str) else f"{type(fault).__name__}: {fault}"
        # by the wall clock: batches may be 20 ms apart
        paused = (member.failures >= self._config.max_failures
                  and now - member.failing_since >= _PASSING)
        if paused:
            pause = back_off(member.pauses, 1.0, _LONGEST_PAUSE)
            member.off, member.retry_at, member.pauses = True, now + pause, member.pauses + 1
            detail += f"; off after {member.failures} failures in a row, next try in {pause:g} s"
        self._metrics.failures.labels(stream, member.name, kind).inc()
        if member.failures == 1 or paused:
            log.warning("detector %s of stream %s: %s", member.name, stream, detail)
        if member.failures == 1 or paused and member.pauses == 1:
            quality.append(self._event(member, kind, detail, stream, *_new(block)))

    def _back(self, member: Member, block: Blocks, quality: list[QualityEvent]) -> None:
        """Say that a member scores again, where it had failed."""
        if member.failures:
            detail = f"scores again after {member.failures} failures in a row"
            log.warning("detector %s of stream %s: %s", member.name, self._config.stream, detail)
            quality.append(self._event(member, "detector_back", detail, self._config.stream,
                                      *_new(block)))
        member.failures, member.pauses, member.off = 0, 0, False

    @staticmethod
    def _event(member: Member, kind: QualityKind, detail: str, stream: str,
              seq: NDArray[np.int64], time: Scores) -> QualityEvent:
        return QualityEvent(stream, kind, int(seq[0]), int(seq[-1]), float(time[-1]),
                            f"{member.name}: {detail}"[:300])

    def _forgive(self, stream: Stream, block: Block, S: Rows, worth: Worth, imputer: Imputer
                 ) -> None:
        """Lower, in place, the surprise of new samples by features that are not worth an alarm."""
        window, new = self._config.window_size, slice(block.n_old, None)
        log_p = self.calibration().log_p(self._ensemble.combined(S[new]))
        least = np.log(min(0.5, 10 * self._config.alpha_stored))  # none that could be flagged
        rows = block.n_old + np.flatnonzero(log_p <= least)
        values = imputer.fill(block.values, block.left_out)
        trivial = worth.trivial(values[rows], before(values, window)[rows]) & ~block.left_out[rows]
        rows, trivial = rows[trivial.any(axis=1)], trivial[trivial.any(axis=1)]
        if not len(rows):
            return
        for j, (member, scales) in enumerate(zip(self.members, self._scales, strict=True)):
            if member.off or member.running:
                continue
            found = self._ask(member, scales.without, values, block.left_out, block.n_old, rows,
                              trivial, stream.members[j])
            if found is not None:
                S[rows, j] = np.where(found < S[rows, j], found, S[rows, j])

    def _ask(self, member: Member, function: Any, *args: Any) -> Any:
        """What a detector says beside its scores; None where it fails, which costs no alarm."""
        job = member.submit(function, *args)
        if not wait([job], timeout=self._config.detector_timeout).done:
            member.running = job  # it is late, and out of the vote until it is back
        elif error := job.exception():
            log.debug("detector %s of stream %s: %r", member.name, self._config.stream, error)
        else:
            return job.result()
        return None

    # -- windows --------------------------------------------------------------------------------

    def _lift(self, block: Block, starts: NDArray[np.int64], known: NDArray[np.bool_],
              peak: NDArray[np.int64], log_p: Scores) -> Scores:
        """Count moves of features that stood still throughout the history, in place.

        Returns the log p-value that each sample's moves give alone, 0 where there are none.

        Whatever the detectors see of them. One feature alone warns, for as long as it stays where
        it went, and is not critical; several add up. Online detectors follow such a move, and speak
        for themselves.
        """
        away = moved(block.values, self._still) & ~self._silent(block.values, block.left_out)
        if not away.any():
            return np.zeros(len(away))
        windows = sliding_window_view(away, self._config.window_size, axis=0)[starts]
        frozen = known[:, [not member.online for member in self.members]].any(axis=1)
        which = np.flatnonzero(windows.any(axis=(1, 2)) & frozen)
        least = np.log(self._config.alpha / 5)  # critical is a tenth
        each = np.maximum(log_p_of_moves(self._fitted.scale), least)
        together = windows[which].any(axis=2) @ each
        lifted = which[together < log_p[which]]
        log_p[which] = np.minimum(log_p[which], together)
        peak[lifted] = starts[lifted] + windows[lifted].any(axis=1).argmax(axis=1)
        return np.asarray(away, np.float64) @ each

    def _silent(self, values: Rows, left_out: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Features that cannot be why a sample stands out."""
        return left_out if self._worth is None else left_out | self._worth.trivial(values)

    def _log_p(self, scores: Scores, who: tuple[int, ...], lack: Lack, of: list[Stream]) -> Scores:
        """Log p-values of scores (n,) or (n, window) of some streams.

        By all held-out rows, or by those of the entity alone: of what lacks a feature, whichever is
        higher, since its own rows are not known without the feature.
        """
        own = {i: stream.own.start for i, stream in enumerate(of) if stream.own is not None}
        if lack is not None or len(own) < len(of):
            found = self.calibration(who, lack).log_p(scores)
        else:
            found = np.empty(scores.shape)
        if own:
            (places, by), rows = self._own_calibrations(who), [*own]
            which = np.repeat([places[start] for start in own.values()], scores[0].size)
            alone = by.log_p(scores[rows].ravel(), which).reshape(scores[rows].shape)
            found[rows] = alone if lack is None else np.maximum(alone, found[rows])
        return found

    def _own_calibrations(self, who: tuple[int, ...]) -> tuple[dict[int, int], WindowCalibrations]:
        """Of all entities that are judged by rows of their own: their places, by these rows."""
        if who not in self._own:
            column, fitted = self._held_out(who, None), self._fitted
            rows = [fitted.own[entity] for entity, by in fitted.judged_by(self._config).items()
                    if by == "own rows"]
            self._own[who] = {part.start: i for i, part in enumerate(rows)}, WindowCalibrations([
                WindowCalibration().fit(column[part], self._config.window_size) for part in rows])
        return self._own[who]

    def _combined(self, S: Rows, starts: NDArray[np.int64], groups: list[tuple], of: list[Stream]
                  ) -> tuple[Scores, NDArray[np.int64], Scores, dict[int, Scores]]:
        """Of each window: combined score, sample that it belongs to, log p-value.

        And of each that is worth storing the log p-values that its samples would give alone.
        """
        combined, log_p = np.full(len(starts), np.nan), np.full(len(starts), np.nan)
        peak, of_rows = np.zeros(len(starts), np.int64), dict[int, Scores]()
        scored = ~np.isnan(S)
        patterns, whose = (scored[:1], np.zeros(len(S))) if scored.all() else np.unique(
            scored, axis=0, return_inverse=True)
        score, whose = np.full(len(S), -np.inf), whose.ravel()
        who = [tuple(np.flatnonzero(pattern).tolist()) for pattern in patterns]
        for k, some in enumerate(who):  # one, unless a detector is out
            if some:
                score[whose == k] = self._ensemble.combined(S[whose == k], some)
        scores, voters = (sliding_window_view(rows, self._config.window_size)[starts]
                          for rows in (score, whose))
        for lack, which in groups:
            each = np.full((len(which), len(who)), np.inf)
            first = np.zeros(each.shape, np.int64)
            for k, some in enumerate(who):
                if some and (voters[which] == k).any():
                    # the highest score by these has the least p-value
                    mine = np.where(voters[which] == k, scores[which], -np.inf)
                    first[:, k] = mine.argmax(axis=1)
                    each[:, k] = self._log_p(mine.max(axis=1), some, lack, [of[i] for i in which])
            log_p[which], best = each.min(axis=1), each.argmin(axis=1)
            peak[which] = starts[which] + first[np.arange(len(which)), best]
            combined[which] = score[peak[which]]
            for i in which[self._notable(log_p[which])].tolist():
                of_rows[i] = np.full(scores.shape[1], np.inf)
                for k, some in enumerate(who):
                    if some and (mine := voters[i] == k).any():
                        of_rows[i][mine] = self._log_p(scores[i:i + 1, mine], some, lack,
                                                       [of[i]])[0]
        return combined, peak, log_p, of_rows

    def _notable(self, log_p: Scores) -> NDArray[np.bool_]:
        """Windows that are worth storing."""
        return log_p <= np.log(self._config.alpha_stored)

    def _peaks(self, block: Block, starts: NDArray[np.int64], peak: NDArray[np.int64],
               log_p: Scores, of_rows: dict[int, Scores], moves: Scores
               ) -> dict[int, Peaks]:
        """Evidence in each window that is worth storing, by its place in the block."""
        found = {}
        for i in np.flatnonzero(self._notable(log_p)).tolist():
            window = slice(starts[i], starts[i] + self._config.window_size)
            rows = np.fmin(of_rows.get(i, np.nan), moves[window])
            rows = np.maximum(rows, log_p[i])
            rows[peak[i] - starts[i]] = log_p[i]  # several moves may add up
            which = evidence(rows, np.log(self._config.alpha_stored), self._fitted.context)
            found[i] = tuple(zip(block.seq[window][which].tolist(), np.exp(rows[which]).tolist(),
                                 strict=True))
        return found

    def _own_severities(self, S: Rows, starts: NDArray[np.int64], known: NDArray[np.bool_],
                        groups: list[tuple], of: list[Stream]) -> list[list[float | None]]:
        """Severity of each window by each member alone, None where it has no say."""
        own = np.full((len(starts), S.shape[1]), None, dtype=object)
        view = sliding_window_view(np.nan_to_num(S, nan=-np.inf), self._config.window_size, axis=0)
        highest = view[starts].max(axis=2)
        for lack, which in groups:
            for j in self._everybody:
                rows = which[known[which, j]]
                if len(rows):  # else it may not know what it means, and fail when asked
                    log_p = self._log_p(highest[rows, j], (j,), lack, [of[i] for i in rows])
                    own[rows, j] = decide(log_p, self._config.alpha)[0]
        return own.tolist()

    def _verdict(self, stream: str, block: Block, i: int, p: float, score: float, flagged: bool,
                 own: list[float | None], causes: Causes, peaks: Peaks, left_out: LeftOut
                 ) -> Verdict:
        end = int(block.ends[i])
        last = int(block.seq[end])
        unjudged = np.isnan(p)
        return Verdict(
            stream, last - self._config.window_size + 1, last, float(block.time[end]),
            float(p), float(score), severity_of(score), None if unjudged else bool(flagged),
            dict(zip(self._fitted.names, own, strict=True)), causes, peaks, left_out)

    def _left_out(self, block: Blocks, known: NDArray[np.bool_]) -> dict[int, LeftOut]:
        """What each window was judged without, by its place in the block.

        A feature that is missing in at least half of the samples, or frozen in the last one; a
        member that scored less than half of them, and could have scored as many.
        """
        window = self._config.window_size
        if known.all() and not block.left_out.any():  # nearly always
            return {}
        first = np.repeat([part.first for part in block.parts], np.diff(block.begins))
        past = (block.seq - first)[:, None] >= [member.context for member in self.members]
        could = block.share(past & block.valid[:, None], window) >= 0.5
        parts = [("member", self._fitted.names, could & ~known)]
        if block.left_out.any():
            lost = block.share(block.missing, window) >= 0.5
            parts += [("missing", self._fitted.features, lost),
                      ("frozen", self._fitted.features, block.frozen[block.ends])]
        found: dict[int, LeftOut] = {}
        for reason, names, flags in parts:
            for i, j in np.argwhere(flags).tolist():
                found[i] = (*found.get(i, ()), (reason, names[j]))
        return found

    # -- causes ---------------------------------------------------------------------------------

    def _causes_of(self, block: Block, peak: NDArray[np.int64], p: Scores) -> dict[int, Causes]:
        """Features behind each window that is worth storing, by its place in the block."""
        notable = np.flatnonzero(p <= self._config.alpha_stored)
        # neighbouring windows often owe their score to the same sample
        samples, which = np.unique(peak[notable], return_inverse=True)
        causes = self._causes(block.values[samples], block.left_out[samples])
        return {int(i): causes[k] for i, k in zip(notable, which, strict=True)}

    def _causes(self, rows: Rows, left_out: NDArray[np.bool_]) -> list[Causes]:
        """Features that made each sample stand out, with their shares."""
        if not len(rows):
            return []
        if self._imputer is not None:
            rows = self._imputer.fill(rows, left_out)
        fitted = self._fitted
        parts = np.abs(standardise(rows, fitted.center, fitted.scale))
        for member in self.members:
            if member.context or member.online or member.off or member.running:
                continue
            shares = self._ask(member, self._shares, member.model, rows)
            if shares is not None:  # of features that are nearly collinear there may be none
                parts = np.where(shares.any(axis=1, keepdims=True), shares, parts)
                break
        # a detector that saw the sample without its moves cannot name them
        away, silent = moved(rows, self._still), self._silent(rows, left_out)
        parts = np.where(away, np.maximum(parts, parts.max(axis=1, keepdims=True)), parts)
        parts = np.where(silent, 0.0, parts)
        total = np.maximum(parts.sum(axis=1, keepdims=True), 1e-300)
        order = np.argsort(-parts, axis=1, kind="stable")[:, :_TOP]
        return [tuple((fitted.features[k], float(share[k])) for k in best if share[k] > 0)
                for share, best in zip(parts / total, order, strict=True)]

    def _shares(self, model: Any, rows: Rows) -> Rows:
        return explain(model, rows, np.arange(len(rows)), threshold=np.inf,
                       background=self._fitted.background, counterfactual=False).shares

    # -- state ----------------------------------------------------------------------------------

    def warm(self, streams: list[Stream]) -> None:
        """Score the samples that streams keep, for the windows to come: another judge did."""
        if streams := [stream for stream in streams if len(stream.processor.kept.seq)]:
            self.judge(streams, Blocks.joined([s.processor.kept for s in streams]), [])

    def state(self, stream: Stream) -> dict[str, Any]:
        """What later verdicts on a stream depend on, beside what was fitted."""
        return {"drift": stream.drift.state(), "tails": "surprises",
                "members": [[tail, member.snapshot()] for tail, member in zip(
                    stream.tails.T, stream.members, strict=True)]}

    def restore(self, stream: Stream, state: dict[str, Any]) -> None:
        """Go on where another judge of the same fit was; ValueError where that was not one.

        Members are restored before anything else is touched, so that one that refuses its state
        leaves the tails, and with them the windows, as they were.
        """
        for member, (_, snapshot) in zip(stream.members, state["members"], strict=True):
            member.restore(snapshot)
        stream.tails = np.column_stack([
            tail if "tails" in state else scales.of_whole(tail)
            for scales, (tail, _) in zip(self._scales, state["members"], strict=True)])
        stream.drift.restore(state["drift"])


def _new(block: Blocks) -> tuple[NDArray[np.int64], Scores]:
    """Numbers and times of the new samples of the first stream that has some."""
    k = int(np.searchsorted(block.begins, np.flatnonzero(block.since >= 0)[0], side="right")) - 1
    part = block.parts[k]
    return part.seq[part.n_old:], part.time
