"""Experts' answers: kept append-only beside the alerts, asked for in a panel or by plain calls."""

import math
import time
from base64 import b64encode
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import matplotlib.figure
import numpy as np
from jinja2 import Environment, PackageLoader
from numpy.typing import ArrayLike, NDArray

from adlib import plots
from adlib.arguments import instance, listed, positions, whole
from adlib.explain import explain
from adlib.feedback.learning import Reviewed, next_questions
from adlib.realtime.answers import Answer, FeedbackStore, Verdict

# names of features come from data: as text, never as markup
_PAGES = Environment(loader=PackageLoader("adlib.feedback"), autoescape=True)
_INCH = 90  # pixels of the page; a picture has twice as many, for screens that show them
_LABELS: dict[Verdict, str] = {"true": "True alarm", "false": "False alarm",
                               "known": "Known cause", "ignore": "Ignore pattern"}


def teach(model: Reviewed, answers: Sequence[Answer]) -> Reviewed:
    """Make a model follow answers, and nothing else: of any store, after a restart or a refit.

    "true" and "false" correct its ranking, "ignore" becomes a `Pattern` whose id is the target,
    "known" does neither.

    Parameters
    ----------
    model : Reviewed
        Fitted; it is changed.
    answers : sequence of Answer
        With the rows that were judged in each; one whose rows are not known teaches nothing.

    Returns
    -------
    Reviewed
        The same model.

    Raises
    ------
    ValueError
        When the rows of an answer have another width than the model.
    """
    X: list[tuple[float, ...]] = []
    y: list[float] = []
    answers = [answer for answer in listed(answers, "answers")
               if instance(answer, "answers", Answer).rows]
    width = model.n_features_in_
    if odd := [a.target for a in answers if a.verdict in ("true", "false", "ignore")
               and {len(row) for row in a.rows} != {width}]:
        raise ValueError(f"answers must hold rows of {width} features, not so that to {odd[0]!r}")
    for answer in answers:
        if answer.verdict in ("true", "false"):
            X.extend(answer.rows)
            y.extend([np.nan] * (len(answer.rows) - 1) + [float(answer.verdict == "true")])
    # in one stretch each judged row still has its own predecessors before it
    model.learn(np.reshape(X, (-1, width)), y) if X else model.learn(np.zeros((1, width)), [np.nan])
    for id in list(model.patterns_):
        model.revoke(id)
    for answer in answers:
        if answer.verdict == "ignore":
            model.ignore(answer.rows, until=answer.until, who=answer.who, note=answer.note,
                         id=answer.target)
    return model


@dataclass(frozen=True, slots=True)
class Alert:
    """A row in question.

    Attributes
    ----------
    row : int
        Its position.
    target : str
        What answers call it.
    score : float
        0 at the model's threshold now.
    is_anomaly : bool
        The flag now.
    sentence : str
        Why, in words.
    """

    row: int
    target: str
    score: float
    is_anomaly: bool
    sentence: str


class ReviewSession:
    """One alert after another, put to an expert; every answer is stored and learned at once.

    `panel` asks in JupyterLab; `next`, `answer` and `undo` do the same without one. Rows that the
    store knows an answer to are not asked again.

    Parameters
    ----------
    model : Reviewed
        Learns in place.
    X : array-like of shape (n_samples, n_features)
        In time order where the detector looks back.
    store : FeedbackStore
    rows : array-like of int, optional
        Positions in X that may be asked, such as those of incidents. Default: all.
    targets : sequence of str, optional
        Id of each row of X. Default: "row 0", "row 1", ...: X must then be the same in every
        session.
    budget : int
        Questions of this session.
    stream, who : str
        Written into each answer; answers about other streams are left alone.
    clock : callable
        Gives the time of an answer, POSIX seconds.
    **explaining
        For `adlib.explain.explain`: ``feature_names``, ``units``, ``time``, ``background``, ...

    Examples
    --------
    >>> import tempfile
    >>> from adlib.detectors import KNN
    >>> X = np.random.default_rng(0).normal(size=(900, 2))
    >>> model = Reviewed(KNN().fit(X[:500])).fit(X[500:800])
    >>> with tempfile.TemporaryDirectory() as folder, FeedbackStore(f"{folder}/a.db") as store:
    ...     session = ReviewSession(model, X[800:], store, budget=2, who="Ada")
    ...     while session.next():
    ...         session.answer("false", note="as every night")
    ...     session.progress
    (2, 2)
    """

    def __init__(self, model: Reviewed, X: ArrayLike, store: FeedbackStore, *,
                 rows: ArrayLike | None = None, targets: Sequence[str] | None = None,
                 budget: int = 20, stream: str = "", who: str = "",
                 clock: Callable[[], float] = time.time,
                 **explaining: Any):
        self.model, self.store, self.clock = model, store, clock
        self.stream, self.who = stream, who
        self.X, self.explaining = model.validate(X, reset=False), explaining
        self._described = model.describe(self.X)  # scores of a network are made once
        n = len(self.X)
        self.targets = [f"row {i}" for i in range(n)] if targets is None else listed(
            targets, "targets")
        if len(self.targets) != n:
            raise ValueError(f"targets must name each of {n} rows, got {len(self.targets)}")
        self.rows = np.arange(n) if rows is None else positions(rows, "rows", n)
        self.budget = whole(budget, "budget", 0)
        self._given: list[int] = []  # by this session, for undo
        self._current: Alert | None = None
        teach(model, store.answers(stream=stream))

    @property
    def progress(self) -> tuple[int, int]:
        """Questions answered in this session, and how many there will be."""
        return len(self._given), self.budget

    def next(self) -> Alert | None:
        """The alert in question, the same until it is answered; None when the session is over."""
        if self._current is None and len(self._given) < self.budget:
            known = {answer.target for answer in self.store.answers(stream=self.stream)}
            asked = np.array([i for i, t in enumerate(self.targets) if t in known], dtype=np.int64)
            open_ = np.setdiff1d(self.rows, asked)
            if len(open_):
                ignored = self.model.suppressed(self._described, now=self.clock())
                odds, rows = self._described
                odds = np.where(ignored, -50.0, odds)  # asked last, as there is no point
                at = np.concatenate([asked, open_])
                (pick,) = next_questions(odds[at], rows[at] / self.model.length_, 1,
                                         asked=np.arange(len(asked)))
                self._current = self._alert(int(at[pick]))
        return self._current

    def _with_past(self, row: int) -> NDArray[np.float64]:
        return self.X[max(0, row - self.model.context_):row + 1]

    def _alert(self, row: int) -> Alert:
        score = float(self.model.anomaly_score(self._with_past(row))[-1] - self.model.threshold_)
        return Alert(row, self.targets[row], score, score > 0,
                     self._explained(row).sentences()[0])

    def _explained(self, row: int) -> Any:
        return explain(self.model.detector, self.X, [row],
                       **{"background": self.model.normal_, "counterfactual": False,
                          **self.explaining})

    def answer(self, verdict: Verdict, note: str = "", *, until: float = math.inf) -> None:
        """Store what the expert says about the alert in question, and learn it.

        Parameters
        ----------
        verdict : {"true", "false", "known", "ignore"}
            See `Answer`; `undo` withdraws.
        note : str, default=""
            In the expert's words.
        until : float, default=inf
            Until when an ignored pattern stays ignored, POSIX seconds.

        Raises
        ------
        ValueError
            When no alert is open, or for an unknown verdict; nothing is stored then.
        """
        alert = self.next()
        if alert is None:
            raise ValueError(f"there is no open alert: {len(self._given)} of {self.budget} "
                             f"questions are answered")
        if verdict == "withdrawn":
            raise ValueError("to withdraw the last answer, call undo()")
        self._store(alert.row, verdict, note, until)
        self._given.append(alert.row)
        self._current = None

    def undo(self) -> Alert | None:
        """Withdraw this session's last answer, and ask for it again; None if there is none."""
        if not self._given:
            return None
        row = self._given.pop()
        self._store(row, "withdrawn", "", math.inf)
        self._current = self._alert(row)
        return self._current

    def _store(self, row: int, verdict: Verdict, note: str, until: float) -> None:
        rows = tuple(map(tuple, self._with_past(row).tolist()))
        self.store.record(Answer(self.targets[row], verdict, rows, self.who, note, self.clock(),
                                 until, self.stream))
        teach(self.model, self.store.answers(stream=self.stream))

    # -- what the expert sees -----------------------------------------------------------------

    def figure(self, alert: Alert) -> matplotlib.figure.Figure:
        """The features that raise the score most; where rows are ordered, the first over time."""
        found, ordered = self._explained(alert.row), self.model.is_ordered
        figure = matplotlib.figure.Figure(figsize=(11 if ordered else 6, 3), layout="constrained")
        axes = np.atleast_1d(figure.subplots(1, 1 + ordered))
        plots.contributions(found, k=6, ax=axes[0])
        if ordered:
            first = int(found.contributions[0].argmax())
            around = np.arange(max(0, alert.row - 100), min(len(self.X), alert.row + 30))
            axes[1].plot(around, self.X[around, first], linewidth=1)
            axes[1].axvline(alert.row, color="tab:red", linewidth=1)
            axes[1].set(xlabel="row", ylabel=found.feature_names[first])
        return figure

    def panel(self) -> Any:
        """The session as widgets: alert, figure, sentence, buttons, note, undo, progress.

        Needs ipywidgets (extra "notebooks"), and a kernel that stays: the page alone does nothing.
        """
        import ipywidgets as w

        head, progress = w.HTML(), w.IntProgress(max=self.budget, layout={"width": "99%"})
        picture = w.Image(format="png", layout={"max_width": "99%"})
        note = w.Text(placeholder="note", layout={"width": "99%"})
        buttons = {verdict: w.Button(description=text) for verdict, text in _LABELS.items()}
        back = w.Button(description="Undo", icon="undo")

        def show() -> None:
            alert, (done, _) = self.next(), self.progress
            picture.layout.display = "none" if alert is None else ""
            if alert is None:
                head.value = "<b>No open alert.</b>"
            else:
                picture.value, width = _png(self.figure(alert))
                picture.layout.width = f"{width}px"
                head.value = _PAGES.get_template("alert.html.j2").render(alert=alert)
            for button in buttons.values():
                button.disabled = alert is None
            back.disabled = not done
            progress.value, progress.description = done, f"{done} / {self.budget}"

        def clicked(verdict: Verdict) -> Callable[[Any], None]:
            def act(_: Any) -> None:
                if self.next() is not None:
                    self.answer(verdict, note.value)
                    note.value = ""
                    show()
            return act

        def undone(_: Any) -> None:
            self.undo()
            show()

        for verdict, button in buttons.items():
            button.on_click(clicked(verdict))
        back.on_click(undone)
        show()
        box = w.VBox([progress, head, picture, note, w.HBox([*buttons.values(), back])])
        return box.add_class("adlib-review")


    def picture(self) -> Any:
        """What `panel` shows now, as HTML in which nothing acts: where there is no kernel.

        Returns
        -------
        IPython.display.HTML
        """
        from IPython.display import HTML

        alert, (done, budget) = self.next(), self.progress
        image, width = (b"", 0) if alert is None else _png(self.figure(alert))
        return HTML(_PAGES.get_template("picture.html.j2").render(
            alert=alert, done=done, budget=budget, labels=[*_LABELS.values(), "Undo"],
            image=b64encode(image).decode(), width=width))


def _png(figure: matplotlib.figure.Figure) -> tuple[bytes, int]:
    """A picture, and how wide it is shown."""
    image = BytesIO()
    figure.savefig(image, format="png", dpi=2 * _INCH)
    return image.getvalue(), round(figure.get_figwidth() * _INCH)
