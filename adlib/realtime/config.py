"""One nested configuration for the live engine, from a dictionary, a YAML or a JSON file."""

import inspect
from collections.abc import Iterable, Mapping
from dataclasses import fields
from typing import Annotated, Any, Literal, Self

from pydantic import (
    ConfigDict,
    Field,
    ValidationInfo,
    field_validator,
    model_serializer,
    model_validator,
)
from sklearn.base import BaseEstimator
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from adlib import detectors
from adlib.base import Detector
from adlib.foreign import wrap
from adlib.imports import nearest
from adlib.reading.options import Reading, visible
from adlib.realtime.doors.heartbeat import HeartbeatConfig
from adlib.realtime.health import HealthConfig
from adlib.realtime.incidents import IncidentConfig
from adlib.realtime.notify import NotificationConfig
from adlib.realtime.settings import ConfigError, Seconds, Settings
from adlib.realtime.store import StorageConfig
from adlib.signs import family
from adlib.thresholds import allowed_incidents

Share = Annotated[float, Field(gt=0, lt=1)]
Count = Annotated[int, Field(ge=1)]
_CLASSICAL = {"IsolationForest": "sklearn.ensemble", "EllipticEnvelope": "sklearn.covariance",
              "OneClassSVM": "adlib.detectors.voting"}
#: Groups that only a run needs: `Settings.from_any` may spare them.
SENDING = ("alert_config.notification", "alert_config.heartbeat")


__all__ = ["AlertConfig", "ConfigError", "DeepConfig", "DetectorConfig", "EngineConfig",
           "FleetConfig", "ReadingConfig", "StatConfig", "find_class"]


def find_class(name: str) -> type:
    """A detector class by name, or anywhere: ``"package.module:Class"``, ``"file.py:Class"``.

    Raises
    ------
    ValueError
        When there is none of this name; the message names the nearest.

    Examples
    --------
    >>> find_class("KNN").__name__, find_class("sklearn.svm:OneClassSVM").__name__
    ('KNN', 'OneClassSVM')
    """
    if name in _CLASSICAL:
        name = f"{_CLASSICAL[name]}:{name}"
    elif ":" not in name and name not in detectors.__all__:
        raise ValueError(f"unknown detector {name!r}"
                         f"{nearest(name, [*detectors.__all__, *_CLASSICAL])}; name one of "
                         f"adlib's, 'package.module:Class' or 'file.py:Class'")
    try:
        return detectors.find_detector(name)
    except ImportError as error:
        raise ValueError(f"detector {name!r} cannot be imported: {error}") from None
    except ValueError as error:
        raise ValueError(f"detector {error}") from None


def _check_parameters(name: str, given: Iterable[str], own: Iterable[str] = ()) -> None:
    known = [*inspect.signature(find_class(name)).parameters]
    for key in given:
        if key not in known:
            raise ValueError(f"{key}: unknown parameter of {name}"
                             f"{nearest(key, [*known, *own])}")


class DetectorConfig(Settings):
    """A detector by name, and its parameters. Plain text is a name alone.

    Members run without ``smoothing``: an engine judges the highest score of a window.
    """

    detector: str = Field(description="One of adlib's, 'package.module:Class' or "
                          "'file.py:Class'.")
    parameters: dict[str, Any] = {}
    weight: float = Field(1.0, ge=0, description="In the combination, relative to the others.")
    sign: Literal["high", "low"] | None = Field(
        None, description="Anomalous end of its score; given where its library is not known.")

    @model_validator(mode="before")
    @classmethod
    def _name_alone(cls, value: Any) -> Any:
        return {"detector": value} if isinstance(value, str) else value

    @model_validator(mode="after")
    def _known(self) -> Self:
        _check_parameters(self.detector, self.parameters)
        return self

    @model_serializer(mode="wrap")
    def _as_before(self, usual: Any) -> dict[str, Any]:
        """Without a sign that is not given: earlier versions knew none."""
        return {key: value for key, value in usual(self).items() if key != "sign" or value}

    def build(self, random_state: int | None) -> BaseEstimator:
        """A new detector; one of another library stands behind a StandardScaler."""
        return _build(self.detector, self.parameters, random_state, self.sign)


def _build(name: str, parameters: Mapping[str, Any], random_state: int | None,
           sign: str | None = None) -> BaseEstimator:
    cls = find_class(name)
    plain = {key: tuple(v) if isinstance(v, list) and key != "members" else v
             for key, v in parameters.items()}
    if "random_state" in inspect.signature(cls).parameters:
        plain = {"random_state": random_state, **plain}
    model: Any = cls(**plain)
    if isinstance(model, Detector):
        return model
    try:
        wrapped = wrap(make_pipeline(StandardScaler(), model), sign=sign)
    except TypeError as error:
        raise ValueError(f"detector {name!r}: {error}") from None
    if wrapped.is_stateful:
        raise ValueError(f"detector {name!r} keeps what it learns in a form that no checkpoint "
                         f"holds: name an online detector of adlib")
    return wrapped.model if family(model) == "sklearn" and sign is None else wrapped


class _GroupConfig(Settings):
    """A detector whose parameters stand beside these keys."""

    model_config = ConfigDict(extra="allow")

    detector: str
    weight: float = Field(1.0, ge=0, description="In the combination, relative to the others.")

    @model_validator(mode="after")
    def _known(self) -> Self:
        _check_parameters(self.detector, self.model_extra or {}, type(self).model_fields)
        return self

    def build(self, random_state: int | None) -> BaseEstimator:
        """A new detector."""
        return _build(self.detector, self.model_extra or {}, random_state)


class DeepConfig(_GroupConfig):
    """The deep group: any parameter of the detector (a VAE by default) may stand here.

    Examples
    --------
    >>> DeepConfig(latent_dim=20, hidden_layers=[64, 32]).build(0)
    VAE(hidden_layers=(64, 32), latent_dim=20, random_state=0)
    """

    detector: str = "VAE"
    input_dim: Count | None = Field(None, description="Number of features; default: the data's.")


class StatConfig(_GroupConfig):
    """The statistical group: any parameter of `adlib.detectors.Voting` may stand here."""

    detector: str = "Voting"
    alpha: Share = Field(0.05, description="Rate per row of the vote's own flags.")
    members: tuple[DetectorConfig, ...] | None = Field(
        None, description="Default: IsolationForest, EllipticEnvelope, OneClassSVM.")
    weights: tuple[float, ...] | None = None

    def build(self, random_state: int | None) -> BaseEstimator:
        """A new detector; members get their weights and seeds from it."""
        extra = {"alpha": self.alpha, "calibration": "split", **(self.model_extra or {})}
        if self.members is not None:
            extra["members"] = [(m.build(None), m.weight) for m in self.members]
        if self.weights is not None:
            extra["weights"] = list(self.weights)
        _check_parameters(self.detector, extra)
        model = _build(self.detector, extra, random_state)
        return model.set_params(weights=extra["weights"]) if "weights" in extra else model


class ReadingConfig(Settings):
    """How tables and messages are read: the options of `adlib.reading.options.Reading`.

    Missing values are kept, and ``hold`` of the engine repairs them.

    Examples
    --------
    >>> ReadingConfig(time_unit="ms", na_values=[-999]).options().missing
    'keep'
    """

    model_config = ConfigDict(extra="allow")

    @classmethod
    def key_types(cls) -> dict[str, Any]:
        return dict.fromkeys((field.name for field in fields(Reading)), str)

    @model_validator(mode="after")
    def _known(self) -> Self:
        for key in self.given:
            if key not in self.key_types():
                raise ValueError(f"{key}: unknown parameter of reading"
                                 f"{nearest(key, self.key_types())}")
        try:
            self.options()
        except ValueError as error:  # begins with the option's name, which is a part of the path
            raise ValueError(str(error).replace(" ", ": ", 1)) from None
        return self

    @property
    def given(self) -> dict[str, Any]:
        """Those that were set."""
        return self.model_extra or {}

    def options(self) -> Reading:
        """All of them."""
        return Reading(**{"missing": "keep", **self.given})


class FeatureRule(Settings):
    """Which deviations of a feature are worth an alarm."""

    only: Literal["up", "down"] | None = Field(
        None, description="Above or below what the other features suggest; default: both.")
    least: float = Field(0.0, ge=0, description="Smallest difference from what the other features "
                         "suggest, in the feature's unit.")


class RefitConfig(Settings):
    """When a new model is fitted beside the running one, on which rows, and who decides.

    Examples
    --------
    >>> RefitConfig(every="30d", swap="ask").on_drift / 86_400
    7.0
    """

    every: Seconds | None = Field(None, description="Time after the last rows of a model after "
                                  "which a new one is fitted, such as '30d'; null: never.")
    on_drift: Seconds | None = Field(
        7 * 86_400.0, description="After a drift a new one is fitted on what came since its begin "
        "alone, once that has lasted so long: as long as it takes until all that is normal has "
        "been seen, such as a week; null: never.")
    history: Seconds = Field(90 * 86_400.0, description="How far back fitted rows reach.")
    keep: Count = Field(5, description="Versions that stay beside the first one and those in use.")
    swap: Literal["auto", "ask"] = Field(
        "auto", description="Whether a better model takes over, or waits for `model use`.")


class AlertConfig(Settings):
    """From flagged windows to people: incidents, channels, and where all of it is kept."""

    incidents: IncidentConfig = IncidentConfig()
    notification: NotificationConfig | None = None
    storage: StorageConfig | None = Field(None, description="None: nothing is kept.")
    health: HealthConfig = HealthConfig()
    heartbeat: HeartbeatConfig | None = Field(None, description="A ping while all is well.")

    @model_validator(mode="after")
    def _stored(self) -> Self:
        if self.notification is not None and self.storage is None:
            raise ValueError("notification needs storage: messages are sent from the alert store")
        return self


class FleetConfig(Settings):
    """Many machines, patients or accounts in one stream, each judged by itself.

    Examples
    --------
    >>> FleetConfig(forget="1d").forget
    86400.0
    """

    model: Literal["shared", "own"] = Field(
        "shared", description="One model for all, or one for each entity whose history allows it.")
    silent: Literal["auto"] | Seconds = Field(
        "auto", description="Time without a row after which an entity is reported as silent.")
    max_entities: Count = Field(10_000, description="Entities that are kept apart, at most.")
    together: Count = Field(8, description="Entities that report trouble one by one; where more do "
                            "within a minute, or a window, it is one incident of the fleet.")
    forget: Seconds | None = Field(604_800.0, description="The state of an entity that was not "
                                   "seen for so long is dropped; null: never.")


#: Keys that say which detectors take part.
MEMBER_KEYS = ("deep_config", "stat_config", "detectors")
#: Chosen by a rule that was written down first: benchmarks/alert_quality.py.
DEFAULT_MEMBERS = (
    DetectorConfig(detector="PCAReconstruction"),
    DetectorConfig(detector="LinearForecast", parameters={"smoothing": None}))


class EngineConfig(Settings):
    """Everything that `RealTimeAnomalyDetector` needs to know.

    Examples
    --------
    >>> config = EngineConfig.from_any({"deep_config": {"latent_dim": 20}, "window_size": 100})
    >>> config.stride, config.deep_config.model_extra
    (10, {'latent_dim': 20})
    >>> [entry.detector for entry in EngineConfig().detectors]
    ['PCAReconstruction', 'LinearForecast']
    >>> EngineConfig.from_any({"deep_config": {"latent_dmi": 20}})
    Traceback (most recent call last):
    ...
    adlib.realtime.settings.ConfigError: deep_config.latent_dmi: unknown parameter of VAE, did you mean 'latent_dim'?
    """  # noqa: E501

    stream: str = Field("stream", pattern=r"^[^|\s\p{C}]+$", max_length=500,
                        description="Name; part of every id. Printable, without blanks.")
    deep_config: DeepConfig | None = Field(
        None, description="Default: a VAE where stat_config or detectors are named, else none.")
    stat_config: StatConfig | None = Field(
        None, description="Default: a vote where deep_config or detectors are named, else none.")
    detectors: tuple[DetectorConfig, ...] = Field(
        (), description="Further ones, also online. Default: where none of the three keys stands, "
        "PCAReconstruction and LinearForecast.")
    combine: Literal["weighted", "max"] | None = Field(
        None, description="What counts of the detectors' surprises: their weighted mean, or the "
        "highest. Default: max where no key says which detectors take part, else weighted.")
    window_size: Count = Field(100, description="Samples per window.")
    stride: Count = Field(10, description="Samples from one window to the next.",
                          validate_default=True)
    alpha: Share = Field(0.01, description="Share of normal windows that may be flagged. Where it "
                         "does not stand: that, or the least that the history can show.")
    per: str | None = Field(None, description="Budget of reported incidents in place of alpha, "
                            "such as '1/week'; estimated on the held-out part of the history. Of a "
                            "fleet: of all entities of the history together.")
    extrapolate: bool = Field(False, description="Take an alpha beyond what the history can show.")
    alpha_info: Share | None = Field(None, description="Windows up to this p-value are stored; "
                                     "default 3 alpha, with per alpha.")
    calibration_share: Share = Field(0.4, description="Last part of the history, for calibration.")
    sampling_period: Seconds = Field(1.0, description="Between samples that bring no time.")
    feature_names: tuple[str, ...] | None = None
    hold: int = Field(0, ge=0, description="Samples in a row that a missing value is repaired for.")
    stuck: Count | Literal["auto", "never"] = Field(
        "auto", description="Samples a feature may stay the same before it is left out as frozen; "
        "auto: ten more than twice its longest run in the history, ten times where it rests more "
        "often than it moves.")
    reorder: int = Field(0, ge=0, description="Samples that wait for missing predecessors.")
    warm_up: int = Field(0, ge=0, description="First samples, whose windows raise no alert.")
    queue_size: Count = Field(10_000, description="Samples that may wait to be judged.")
    overflow: Literal["block", "drop_oldest", "drop_newest"] = "block"
    batch_windows: Count = Field(320, description="Windows judged at once, at most.")
    batch_seconds: float = Field(0.02, ge=0, description="Seconds a sample waits for company.")
    detector_timeout: float = Field(10.0, gt=0, description="Seconds until a detector leaves the "
                                    "vote for a batch.")
    max_failures: Count = Field(5, description="Failed batches in a row after which a detector is "
                                "asked again only after pauses: 1 s, 2 s, up to 5 minutes.")
    drift: bool = Field(True, description="Watch the combined score for drift.")
    random_state: int | None = 0
    reading: ReadingConfig = ReadingConfig()
    refit: RefitConfig | None = Field(None, description="Fit new models beside the one that runs; "
                                      "needs alert_config.storage, where judged rows are kept.")
    features: dict[str, FeatureRule] = Field({}, description="By feature, what is no news of it.")
    fleet: FleetConfig | None = Field(None, description="Several entities, named in each row "
                                      "(`reading.entity_column`); null: one.")
    alert_config: AlertConfig = AlertConfig()

    @field_validator("stride")
    @classmethod
    def _within(cls, stride: int, info: ValidationInfo) -> int:
        window = info.data.get("window_size", stride)
        if stride > window:
            raise ValueError(f"must be at most window_size={window}, or samples between two "
                             f"windows are never judged")
        return stride

    @field_validator("feature_names")
    @classmethod
    def _distinct(cls, names: tuple[str, ...] | None) -> tuple[str, ...] | None:
        if names is not None and len(set(names)) < len(names):
            raise ValueError("names must be distinct")
        return names

    @field_validator("per")
    @classmethod
    def _a_budget(cls, per: str | None) -> str | None:
        if per is not None:
            allowed_incidents(per, 1.0, 1)
        return per

    @model_validator(mode="after")
    def _members(self) -> Self:
        """What takes part where it does not stand: these, or beside others those of before."""
        usual: dict[str, Any] = {"deep_config": DeepConfig, "stat_config": StatConfig,
                                 "combine": lambda: "weighted"}
        if not self.names_members:
            usual = {"detectors": lambda: DEFAULT_MEMBERS, "combine": lambda: "max"}
        self.__dict__.update({key: make() for key, make in usual.items()
                              if key not in self.model_fields_set  # torch only where used
                              or key == "combine" and self.combine is None})
        return self

    @property
    def names_members(self) -> bool:
        """Whether any key stands that says which detectors take part."""
        return not self.model_fields_set.isdisjoint(MEMBER_KEYS)

    def plain(self) -> dict[str, Any]:
        """As JSON has it, without alerts, which may hold secrets: for a file or a process."""
        left = {"alert_config", "alpha" if self.per else "per"}
        return self.model_dump(mode="json", exclude=left)

    def changed(self, **changes: Any) -> Self:
        """This configuration with other values; ``alpha`` and ``per`` replace each other."""
        dropped = "per" if "alpha" in changes else "alpha" if (
            self.per or changes.get("per")) else None
        return self.model_validate({**{name: getattr(self, name) for name in self.model_fields_set
                                       if name != dropped}, **changes})

    @model_validator(mode="after")
    def _one_budget(self) -> Self:
        if self.per is not None and "alpha" in self.model_fields_set:
            raise ValueError("per and alpha are two budgets: give one")
        if self.per is None and self.alpha_info is not None and self.alpha_info < self.alpha:
            raise ValueError(f"alpha_info must be at least alpha={self.alpha:g}, got "
                             f"{self.alpha_info:g}")
        return self

    @model_validator(mode="after")
    def _agree(self) -> Self:
        if not any(group.weight > 0 for group in self.groups().values()):
            raise ValueError("no detector is left: give deep_config, stat_config or detectors a "
                             "weight above 0")
        if self.fleet is not None and "/" in self.stream:
            raise ValueError(f"stream: the name of a fleet holds no '/', which begins the names of "
                             f"its machines, got {self.stream!r}")
        wanted = self.reading.options().feature_columns
        if wanted and self.feature_names and wanted != tuple(map(visible, self.feature_names)):
            raise ValueError("feature_names and reading.feature_columns name different columns; "
                             "one of them will do")
        width = self.deep_config.input_dim if self.deep_config else None
        if width and self.feature_names and width != len(self.feature_names):
            raise ValueError(f"deep_config.input_dim={width} disagrees with "
                             f"{len(self.feature_names)} feature_names")
        return self

    @property
    def alpha_stored(self) -> float:
        """Windows up to this p-value are stored, with the features behind them."""
        return max(self.alpha_info or (1 if self.per else 3) * self.alpha, self.alpha)

    def groups(self) -> dict[str, DeepConfig | StatConfig | DetectorConfig]:
        """Detectors by name: "deep", "statistical", then the further ones by their class."""
        found: dict[str, Any] = {"deep": self.deep_config, "statistical": self.stat_config}
        for entry in self.detectors:
            base = entry.detector.rpartition(":")[2]
            number = sum(name.split("#")[0] == base for name in found)
            found[f"{base}#{number + 1}" if number else base] = entry
        return {name: group for name, group in found.items() if group is not None}
