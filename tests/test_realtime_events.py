"""Records of the live engine: what goes to JSON comes back."""

import json
import math

import numpy as np
import pytest

from adlib.realtime.events import (
    Incident,
    IncidentEvent,
    QualityEvent,
    Silence,
    Verdict,
    severity_of,
)

INCIDENT = Incident("rig|combined|7", "rig", 7, 42, 7.0, 42.0, None, "warning", 0.8, 3,
                    (("temperature", 0.7), ("pressure", 0.2)), "open", False)
RECORDS = [
    Verdict("rig", 0, 99, 99.0, 0.01, 0.86, "warning", True, {"VAE": 0.9, "Voting": None},
            (("temperature", 0.7),)),
    QualityEvent("rig", "gap", 100, 109, 109.0, "10 samples missing"),
    INCIDENT,
    IncidentEvent("escalate", INCIDENT, 42.0, True, 4),
    Silence("night", 3600.0, "rig*", "warning", "temp*"),
]


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: type(record).__name__)
def test_json_round_trip(record):
    text = json.dumps(record.to_dict(), allow_nan=False)
    assert type(record).from_dict(json.loads(text)) == record


def test_numpy_values_and_nan_become_plain_json():
    verdict = Verdict("rig", np.int64(0), np.int32(9), np.float32(9), np.float64("nan"), math.nan,
                      "info", None, {"VAE": np.float32(0.5), "KNN": math.inf}, (("x", math.nan),))
    plain = json.loads(json.dumps(verdict.to_dict(), allow_nan=False))
    assert plain["p_value"] is None and plain["score"] is None and plain["is_anomaly"] is None
    assert plain["detectors"] == {"VAE": 0.5, "KNN": None} and plain["end"] == 9
    again = Verdict.from_dict(plain)
    assert math.isnan(again.p_value) and math.isnan(again.score)
    assert math.isnan(again.top_features[0][1])


def test_event_id_names_incident_kind_and_step():
    assert IncidentEvent("repeat", INCIDENT, 0.0, True, 4).id == "rig|combined|7|repeat|4"


@pytest.mark.parametrize(("score", "name"), [
    (0.0, "info"), (0.7, "info"), (0.7001, "warning"), (0.9, "warning"), (0.9001, "critical"),
    (1.0, "critical"), (math.nan, "info")])
def test_severity_cuts_are_strict(score, name):
    assert severity_of(score) == name
