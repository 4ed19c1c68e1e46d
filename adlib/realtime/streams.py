"""What an engine keeps of each stream: its samples, its health, and how its detectors stand."""

from adlib.realtime.config import EngineConfig
from adlib.realtime.events import stream_of
from adlib.realtime.fitted import Fitted
from adlib.realtime.health import StreamHealth
from adlib.realtime.members import Member
from adlib.realtime.watch import DriftWatch
from adlib.realtime.windows import Rows, StreamProcessor


class Stream:
    """One stream of an engine; `adlib.realtime.judge.Judge.begin` makes it ready to be judged.

    Parameters
    ----------
    config : EngineConfig
    fitted : Fitted
    entity : str, optional
        Of a fleet. None: the only stream of its engine.

    Attributes
    ----------
    name : str
        Of its verdicts and incidents.
    processor : StreamProcessor
    health : StreamHealth
    tails : ndarray of shape (k, n_members)
        Scores of the last samples, which open windows still need.
    drift : DriftWatch
    members : list of Member
        Its own where they learn from it, else those of all streams.
    refused : set of int
        Members that fail on its samples.
    """

    tails: Rows
    drift: DriftWatch
    members: list[Member]

    def __init__(self, config: EngineConfig, fitted: Fitted, entity: str | None = None):
        self.entity, self.name = entity, stream_of(config.stream, entity)
        stuck = (None if config.stuck == "never" else config.stuck if config.stuck != "auto"
                 else 2 * fitted.longest + 10)
        self.processor = StreamProcessor(
            config.window_size, config.stride, n_features=len(fitted.features), hold=config.hold,
            stuck=stuck, reorder=config.reorder if entity is None else 0,
            period=config.sampling_period, stream=self.name, features=fitted.features,
            context=fitted.context)
        self.health = StreamHealth(
            self.name, fitted.features, config.alert_config.health,
            config.alert_config.incidents, window_size=config.window_size, stride=config.stride,
            context=fitted.context, warm_up=config.warm_up, period=config.sampling_period)
        self.refused = set[int]()
