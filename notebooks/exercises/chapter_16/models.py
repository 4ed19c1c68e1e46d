"""Patients 1 to 3: how a model is configured, calibrated and scaled."""

from copy import deepcopy

import numpy as np

from adlib.metrics import average_precision
from exercises import Wrong, exercise, require


@exercise("16.1")
def changed_configuration(answer):
    """A configuration is read, never changed."""
    config = {"input_dim": 100, "hidden_layers": [64, 16, 32], "latent_dim": 8}
    before = deepcopy(config)
    first = [list(sizes) for sizes in answer(config)]
    second = [list(sizes) for sizes in answer(config)]
    require(first == second, f"Two networks from one configuration: the first has the encoder "
                             f"{first[0]}, the second {second[0]}.")
    require(config == before, f"hidden_layers was {before['hidden_layers']} before the call and is "
                              f"{config['hidden_layers']} after it.")
    encoder, decoder = first
    wanted = [100, *before["hidden_layers"], 8]
    require(encoder == wanted, f"The encoder is {encoder}, asked for was {wanted}.")
    require(decoder == encoder[::-1], f"The decoder {decoder} does not mirror {encoder}.")
    return "Two networks from one configuration are equal, and the configuration is as it was."


@changed_configuration.solution
def _():
    def layer_sizes(config):
        encoder = [config["input_dim"], *config["hidden_layers"], config["latent_dim"]]
        return encoder, encoder[::-1]

    return layer_sizes


@changed_configuration.mistake("copies the dictionary, not the list in it")
def _():
    def layer_sizes(config):
        config = dict(config)
        hidden = config["hidden_layers"]
        encoder = [config["input_dim"], *hidden, config["latent_dim"]]
        hidden.reverse()
        return encoder, [config["latent_dim"], *hidden, config["input_dim"]]

    return layer_sizes


@changed_configuration.mistake("sorts instead of mirroring")
def _():
    def layer_sizes(config):
        hidden = config["hidden_layers"]
        encoder = [config["input_dim"], *hidden, config["latent_dim"]]
        return encoder, [config["latent_dim"], *sorted(hidden), config["input_dim"]]

    return layer_sizes


@exercise("16.2")
def threshold_before_fit(answer):
    """A threshold belongs to a trained model; before that there is none."""
    rng = np.random.default_rng(2)
    scale = np.array([3.0, 8.0, 5.0])
    train, fresh = (rng.normal(size=(2000, 3)) * scale + [20, 1013, 50] for _ in range(2))
    detector = answer(3)
    try:
        early = np.mean(detector.detect(fresh))
    except Exception:  # any refusal will do
        early = None
    detector.fit(train)
    alarms = np.mean(detector.detect(fresh))
    found = np.mean(detector.detect(fresh + 10 * scale))
    require(0.03 < alarms < 0.07, f"Fitted on normal rows with alpha=0.05, it flags {alarms:.0%} "
                                  "of new normal rows.")
    require(found > 0.95, f"A batch of rows that are all ten sd off: {found:.0%} are flagged.")
    require(early is None, "Asked before fit, it judges without a word, and flags "
                           f"{early or 0:.0%} of normal rows.")
    return f"{alarms:.1%} of new normal rows are flagged, and before fit it refuses to judge."


@threshold_before_fit.solution
def _():
    from sklearn.exceptions import NotFittedError

    class DistanceDetector:
        def __init__(self, n_features, alpha=0.05):
            self.n_features, self.alpha = n_features, alpha

        def fit(self, rows):
            earlier, later = np.array_split(rows, [len(rows) * 4 // 5])
            self.centre = earlier.mean(axis=0)
            self.threshold = np.quantile(self.score(later), 1 - self.alpha)
            return self

        def score(self, rows):
            if not hasattr(self, "centre"):
                raise NotFittedError("call fit first")
            return np.linalg.norm(rows - self.centre, axis=1)

        def detect(self, rows):
            return self.score(rows) > self.threshold

    return DistanceDetector


def _distance_detector(first_threshold):
    class DistanceDetector:
        def __init__(self, n_features, alpha=0.05):
            self.alpha, self.centre = alpha, np.zeros(n_features)
            self.threshold = first_threshold

        def fit(self, rows):
            self.centre = rows.mean(axis=0)
            self.threshold = np.quantile(self.score(rows), 1 - self.alpha)
            return self

        def score(self, rows):
            return np.linalg.norm(rows - self.centre, axis=1)

        def detect(self, rows):
            return self.score(rows) > self.threshold

    return DistanceDetector


@threshold_before_fit.mistake("computes it in fit, and begins with a made-up one")
def _():
    return _distance_detector(3.0)


@threshold_before_fit.mistake("computes it in fit, and finds everything normal until then")
def _():
    return _distance_detector(np.inf)


@threshold_before_fit.mistake("takes it from the rows that are being judged")
def _():
    class DistanceDetector(_distance_detector(0.0)):
        def detect(self, rows):
            score = self.score(rows)
            return score > np.quantile(score, 1 - self.alpha)

    return DistanceDetector


@exercise("16.3")
def scaler_without_fit(answer):
    """Scaling is learned from the training rows, once, with the rest of the model."""
    from sklearn.exceptions import NotFittedError

    rng = np.random.default_rng(3)
    pascal, celsius, volt = 101_300 + 800 * rng.normal(size=(3, 620))  # one shape, three units
    rows = np.column_stack([pascal, celsius / 300 - 317, volt / 2e5])
    rows[:, 1:] = rng.permuted(rows[:, 1:], axis=0)
    train, test = rows[:400].copy(), rows[400:].copy()
    y = np.repeat([0, 1], [200, 20])
    test[y == 1, 2] += 8 * train[:, 2].std()
    try:
        score = answer().fit(train.copy()).score(test)
    except NotFittedError:
        raise Wrong("fit is done, and the first batch ends in NotFittedError.") from None
    model = answer().fit(train)
    few = model.score(test[-25:])
    require(np.allclose(few, score[-25:], rtol=1e-6),
            f"The same row scores {score[-1]:.2f} in a batch of 220 and {few[-1]:.2f} in one "
            "of 25.")
    quality = average_precision(y, score)
    require(quality > 0.9, f"Faults of eight sd, in the channel with the smallest numbers: average "
                           f"precision {quality:.2f}, where chance has {y.mean():.2f}.")
    units = [1e-3, 1.0, 1e3]
    changed = answer().fit(train * units).score(test * units)
    require(np.allclose(changed, score, rtol=1e-4),
            "Pascal or kilopascal, volt or millivolt: the scores are not the same.")
    return f"Average precision {quality:.2f}, whatever the batch and whatever the units."


@scaler_without_fit.solution
def _():
    from sklearn.neighbors import NearestNeighbors
    from sklearn.preprocessing import RobustScaler

    class NeighbourDistance:
        def fit(self, rows):
            self.scaler = RobustScaler().fit(rows)
            self.neighbours = NearestNeighbors(n_neighbors=5).fit(self.scaler.transform(rows))
            return self

        def score(self, rows):
            distance, _ = self.neighbours.kneighbors(self.scaler.transform(rows))
            return distance.mean(axis=1)

    return NeighbourDistance


def _neighbour_distance(before_fit, before_score):
    from sklearn.neighbors import NearestNeighbors
    from sklearn.preprocessing import RobustScaler

    class NeighbourDistance:
        def fit(self, rows):
            self.scaler = RobustScaler().fit(rows)
            self.neighbours = NearestNeighbors(n_neighbors=5)
            self.neighbours.fit(before_fit(self.scaler, rows))
            return self

        def score(self, rows):
            distance, _ = self.neighbours.kneighbors(before_score(self.scaler, rows))
            return distance.mean(axis=1)

    return NeighbourDistance


@scaler_without_fit.mistake("fits the scaler anew on every batch")
def _():
    fit_transform = lambda scaler, rows: scaler.fit_transform(rows)  # noqa: E731
    return _neighbour_distance(fit_transform, fit_transform)


@scaler_without_fit.mistake("scales what is judged, not what it is compared with")
def _():
    return _neighbour_distance(lambda _, rows: rows, lambda scaler, rows: scaler.transform(rows))


@scaler_without_fit.mistake("leaves the scaler out")
def _():
    return _neighbour_distance(lambda _, rows: rows, lambda _, rows: rows)
