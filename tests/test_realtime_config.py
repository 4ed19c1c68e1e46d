"""One nested configuration: typos named with their path, secrets shown nowhere."""

import json
import pickle
import re
import traceback

import numpy as np
import pytest
import yaml
from pydantic import BaseModel, ValidationError

from adlib.realtime import EngineConfig
from adlib.realtime.config import DEFAULT_MEMBERS, ConfigError, DetectorConfig, find_class

SECRET = "https://hooks.example.org/services/T0P/S3CRET"
PASSWORD = "hunter2-S3CRET"


def nested():
    """The example, field by field."""
    return {
        "deep_config": {"input_dim": 100, "latent_dim": 20, "hidden_layers": [64, 32]},
        "stat_config": {"alpha": 0.1, "weights": [0.4, 0.3, 0.3]},
        "window_size": 100,
        "stride": 10,
        "alert_config": {
            "notification": {
                "email": {"host": "mail.example.org", "username": "me", "password": PASSWORD,
                          "from": "adlib@example.org", "to": ["ops@example.org"]},
                "slack": {"webhook_url": SECRET}},
            "storage": {"backend": "elasticsearch", "host": "localhost", "port": 9200,
                        "username": "u", "password": PASSWORD},
            "incidents": {"open_after": 2}}}


def put(config, path, value):
    """A copy with one more value."""
    config = json.loads(json.dumps(config))
    *parents, key = path.split(".")
    place = config
    for parent in parents:
        place = place[int(parent)] if isinstance(place, list) else place.setdefault(parent, {})
    place[key] = value
    return config


def refused(data):
    """The message, and that neither it nor its traceback shows a secret."""
    with pytest.raises(ConfigError) as caught:
        EngineConfig.from_any(data)
    shown = "".join(traceback.format_exception(caught.value)) + repr(caught.value)
    for name in ("S3CRET", "hunter2", "T0P"):
        assert name not in shown, shown
    return str(caught.value)


# ------------------------------------------------------------------ what is read


def test_nested_example_from_dict_yaml_and_json(tmp_path):
    data = nested()
    config = EngineConfig.from_any(data)
    assert (config.window_size, config.stride) == (100, 10)
    assert config.deep_config.input_dim == 100
    detector = config.deep_config.build(0)
    assert (detector.latent_dim, tuple(detector.hidden_layers)) == (20, (64, 32))
    voting = config.stat_config.build(0)
    assert voting.alpha == 0.1 and voting.weights == [0.4, 0.3, 0.3]
    assert config.alert_config.incidents.open_after == 2
    assert config.alert_config.storage.port == 9200
    (tmp_path / "c.yaml").write_text(yaml.safe_dump(data))
    (tmp_path / "c.json").write_text(json.dumps(data))
    assert EngineConfig.from_any(tmp_path / "c.yaml") == config
    assert EngineConfig.from_any(str(tmp_path / "c.json")) == config
    assert data == nested()  # the caller's dictionary is as it was
    with pytest.raises(ValidationError):
        config.stride = 5


def test_defaults_alone_are_a_configuration():
    config = EngineConfig.from_any({})
    assert list(config.groups()) == [
        entry.detector for entry in DEFAULT_MEMBERS] and not config.names_members
    assert EngineConfig.from_any(config) is config
    # beside others the network and the vote take part as they did
    assert list(EngineConfig.from_any({"detectors": ["KNN"]}).groups()) == [
        "deep", "statistical", "KNN"]
    assert list(EngineConfig.from_any({"stat_config": {}}).groups()) == ["deep", "statistical"]
    assert list(EngineConfig.from_any({"deep_config": {}}).groups()) == ["deep", "statistical"]


def test_alpha_and_per_are_one_budget():
    assert EngineConfig(per="1/week").changed(alpha=0.02).per is None
    assert EngineConfig(alpha=0.02).changed(per="2/day").per == "2/day"
    for bad in ({"per": "1/week", "alpha": 0.01}, {"per": "1/fortnight"}, {"per": "0/day"}):
        with pytest.raises(ConfigError, match="per"):
            EngineConfig.from_any(bad)


def test_detectors_by_name_by_module_and_with_parameters():
    config = EngineConfig.from_any({"deep_config": None, "detectors": [
        "KNN", {"detector": "RollingZScore", "parameters": {"window": 50}, "weight": 2},
        "sklearn.svm:OneClassSVM", "KNN"]})
    assert list(config.groups()) == ["statistical", "KNN", "RollingZScore", "OneClassSVM", "KNN#2"]
    built = [entry.build(3) for entry in config.detectors]
    assert built[1].window == 50 and config.detectors[1].weight == 2
    assert type(built[2].steps[-1][1]).__name__ == "OneClassSVM"
    members = EngineConfig.from_any({"stat_config": {
        "members": ["IsolationForest", {"detector": "KNN", "weight": 3}]}}).stat_config.build(1)
    assert [weight for _, weight in members.members] == [1.0, 3.0] and members.random_state == 1
    assert find_class("VAE").__name__ == "VAE"
    assert find_class("OneClassSVM").__module__ == "adlib.detectors.voting"
    for name, hint in (("IsolationForst", "did you mean 'IsolationForest'?"),
                       ("Committee", "name one of adlib's"), ("find_detector", "unknown detector"),
                       ("sklearn.svm:OneClassSvm", "did you mean 'OneClassSVM'?"),
                       ("..svm:X", "cannot be imported"), (":X", "cannot be imported")):
        with pytest.raises(ValueError, match=re.escape(hint)):
            find_class(name)


def test_environment_fills_in_secrets(monkeypatch, tmp_path):
    monkeypatch.setenv("HOOK", "S3CRET")
    data = {"alert_config": {"storage": {"path": "a.db"}, "notification": {
        "slack": {"webhook_url": "https://hooks.example.org/T0P/${HOOK}"}}}}
    path = tmp_path / "c.yaml"
    path.write_text(yaml.safe_dump(data))
    secret = EngineConfig.from_any(path).alert_config.notification.slack.webhook_url
    assert secret.get_secret_value() == "https://hooks.example.org/T0P/S3CRET"
    monkeypatch.delenv("HOOK")
    assert refused(path) == ("alert_config.notification.slack.webhook_url: the environment "
                             "variable HOOK is not set")
    monkeypatch.setenv("STRIDE", "S3CRET")  # what came from there is shown nowhere
    assert "stride" in refused({"stride": "${STRIDE}"})


# ------------------------------------------------------------------ what is refused


@pytest.mark.parametrize(("path", "value", "message"), [
    ("alert_config.notification.slack.webook_url", SECRET,
     "alert_config.notification.slack.webook_url: unknown key, did you mean 'webhook_url'?"),
    ("alert_config.notification.email.pasword", PASSWORD,
     "alert_config.notification.email.pasword: unknown key, did you mean 'password'?"),
    ("alert_config.storge", {"password": PASSWORD},
     "alert_config.storge: unknown key, did you mean 'storage'?"),
    ("windw_size", 5, "windw_size: unknown key, did you mean 'window_size'?"),
    ("deep_config.latent_dmi", 5,
     "deep_config.latent_dmi: unknown parameter of VAE, did you mean 'latent_dim'?"),
    ("stat_config.weigths", 5,
     "stat_config.weigths: unknown parameter of Voting, did you mean 'weights'?"),
    ("detectors", [{"detector": "KNN", "parameters": {"n_neighbour": 5}}],
     "detectors[0].parameters.n_neighbour: unknown parameter of KNN"),
    ("detectors", [{"detector": "KNN", "wieght": 5}],
     "detectors[0].wieght: unknown key, did you mean 'weight'?"),
    ("detectors", ["KNNN"], "detectors[0]: unknown detector 'KNNN', did you mean 'KNN'?"),
    ("detectors", ["nowhere:Thing"], "detectors[0]: detector 'nowhere:Thing' cannot be imported"),
    ("detectors", ["json:dumps"], "detectors[0]: detector 'json:dumps': json has no class 'dumps'"),
    ("deep_config.detector", "VEA", "unknown detector 'VEA', did you mean 'VAE'?"),
    ("stride", 0, "stride: Input should be greater than or equal to 1, got 0"),
    ("stride", 101, "stride: must be at most window_size=100, or samples"),
    ("alpha", 1.5, "alpha: Input should be less than 1, got 1.5"),
    ("alpha_info", 0.001, "alpha_info must be at least alpha=0.01"),
    ("window_size", "many", "window_size: Input should be a valid integer"),
    ("overflow", "explode", "overflow: Input should be 'block', 'drop_oldest' or 'drop_newest'"),
    ("stream", "a|b", "stream: String should match pattern"),
    ("sampling_period", "soon", "sampling_period: sampling_period must be a number of seconds"),
    ("sampling_period", "60", "sampling_period must have a unit, such as '5min', got '60'"),
    ("sampling_period", 10**400, "sampling_period must be a number of seconds"),
    ("alert_config.health.after", 1e300, "must be above 0 seconds and at most 291 years"),
    ("alert_config.incidents.cooldown", float("inf"), "cooldown: Input should be a finite number"),
    ("sampling_period", "99999999999d", "291 years, got '99999999999d': that is too long"),
    ("fleet", True, "fleet: must be a mapping such as `fleet: {}`, got bool"),
    ("alert_config.storage", 7, "storage: must be a mapping such as `storage: {"),
    ("feature_names", ["a", "a"], "feature_names: names must be distinct"),
    ("feature_names", ["a"], "deep_config.input_dim=100 disagrees with 1 feature_names"),
    ("deep_config.weight", -1, "deep_config.weight: Input should be greater than or equal to 0"),
    ("alert_config.storage.port", 99999, "alert_config.storage.port:"),
    ("alert_config.storage.password", [PASSWORD], "alert_config.storage.password:"),
    ("alert_config.storage", PASSWORD, "alert_config.storage:"),
    ("alert_config.notification.slack", SECRET, "alert_config.notification.slack:"),
    ("alert_config.notification.slack.webhook_url", "S3CRET-no-url",
     "alert_config.notification.slack.webhook_url:"),
    ("alert_config.notification.email.to", [SECRET], "alert_config.notification.email.to[0]:"),
    ("alert_config.notification.email.security", "none", "alert_config.notification.email:"),
    ("alert_config.incidents.open_after", 9, "open_after must be at most open_within"),
    ("alert_config", SECRET, "alert_config:"),
    ("reading.time_unti", "ms",
     "reading.time_unti: unknown parameter of reading, did you mean 'time_unit'?"),
    ("reading.time_unit", "m", "reading.time_unit: must be one of None, 's', 'ms'"),
    ("reading.label_column", True, "reading.label_column: must be a text or None, got True; if on, "
     "off, yes or no was written, put it in quotes"),
    ("reading.na_values", [False], "reading.na_values: must hold texts or numbers, got False; if"),
])
def test_faults_are_named_and_secrets_are_not(path, value, message):
    assert message in refused(put(nested(), path, value))


def test_every_fault_has_its_line():
    data = put(put(put(nested(), "stride", 0), "alphaa", 1), "window_size", "x")
    assert len(refused(data).splitlines()) == 3


def test_some_detector_must_be_left():
    assert "no detector is left" in refused({"deep_config": None, "stat_config": None})
    assert "no detector is left" in refused({"deep_config": None, "stat_config": {"weight": 0}})


def test_notification_needs_a_store():
    data = nested()
    del data["alert_config"]["storage"]
    assert "notification needs storage" in refused(data)


@pytest.mark.parametrize(("name", "text", "message"), [
    ("c.yaml", f"alert_config:\n  slack: [{SECRET}\nstride: 5", "line"),
    ("c.yaml", "- a list", "no YAML mapping"),
    ("c.yaml", SECRET, "no YAML mapping"),
    ("c.json", f'{{"slack": "{SECRET}",}}', "line 1: no JSON mapping"),
])
def test_unreadable_files_are_refused_without_quoting_them(tmp_path, name, text, message):
    (tmp_path / name).write_text(text)
    assert message in refused(tmp_path / name)
    with pytest.raises(FileNotFoundError):
        EngineConfig.from_any(tmp_path / "absent.yaml")


_LEVELS = range(1, 10)
BOMBS = {
    "aliases": "a0: &a0 [x, x]\n" + "".join(
        f"a{k}: &a{k} [{', '.join([f'*a{k - 1}'] * 10)}]\n" for k in _LEVELS),
    "merges": "m0: &m0 {x: 1}\n" + "".join(
        f"m{k}: &m{k}\n  <<: [{', '.join([f'*m{k - 1}'] * 10)}]\n" for k in _LEVELS),
    "itself": "a: &a [*a]", "its own key": "a: &a\n  b: *a"}


@pytest.mark.parametrize("text", BOMBS.values(), ids=BOMBS)
def test_a_small_file_that_stands_for_a_huge_one_is_refused(tmp_path, text):
    (tmp_path / "c.yaml").write_text(text)
    assert "more than 100,000 values" in refused(tmp_path / "c.yaml")


def test_groups_without_end_are_refused_wherever_they_come_from(tmp_path):
    itself = {"stride": 5}
    itself["detectors"] = [itself]
    assert "more than 100,000 values" in refused(itself)
    (tmp_path / "c.yaml").write_text("a: " + "[" * 3000)
    (tmp_path / "c.json").write_text('{"a": ' * 900 + "1" + "}" * 900)
    for name in ("c.yaml", "c.json"):
        assert "groups within groups without end" in refused(tmp_path / name)


@pytest.mark.parametrize(("name", "text", "key"), [
    ("c.yaml", "stride: 5\nalpha: .1\nstride: 6", "stride"),
    ("c.yaml", "stride: 5\n'stride': 6", "stride"),
    ("c.yaml", "alert_config:\n  storage: {path: a.db, path: b.db}", "path"),
    ("c.json", '{"alert_config": {"storage": {"path": "a", "path": "b"}}}', "path"),
])
def test_a_key_that_stands_twice_is_refused(tmp_path, name, text, key):
    (tmp_path / name).write_text(text)
    assert f"c{name[1:]}: the key '{key}' comes more than once" in refused(tmp_path / name)


def test_aliases_and_merges_of_usual_size_are_read(tmp_path):
    (tmp_path / "c.yaml").write_text(
        "deep_config: null\nstat_config: null\ndetectors:\n"
        "  - &knn {detector: KNN, weight: 2}\n  - {<<: *knn, weight: 3}\n  - *knn")
    assert [d.weight for d in EngineConfig.from_any(tmp_path / "c.yaml").detectors] == [2, 3, 2]


# ------------------------------------------------------------------ secrets


def test_a_fit_and_a_backtest_need_no_secret_of_a_receiver(tmp_path, monkeypatch, capsys):
    from adlib.realtime.__main__ import main

    monkeypatch.delenv("HOOK", raising=False)
    monkeypatch.delenv("WINDOW", raising=False)
    data = {"deep_config": None, "stat_config": None, "detectors": ["PCAReconstruction"],
            "window_size": 10, "alert_config": {
                "incidents": {"open_after": 1}, "storage": {"path": str(tmp_path / "a.db")},
                "notification": {"slack": {"webhook_url": "https://h.example/${HOOK}"}}}}
    (tmp_path / "c.json").write_text(json.dumps(data))
    rows = np.random.default_rng(0).normal(size=(3000, 2)).tolist()
    (tmp_path / "h.csv").write_text("a,b\n" + "\n".join(f"{a},{b}" for a, b in rows))
    config, history, model = (str(tmp_path / name) for name in ("c.json", "h.csv", "model"))
    assert main(["fit", config, history, "--out", model]) == 0
    assert main(["backtest", config, history, "--model", model, "--json"]) == 0
    assert main(["run", config, "--model", model, "--source", f"csv:{history}"]) == 2
    assert "webhook_url: the environment variable HOOK is not set" in capsys.readouterr().err
    (tmp_path / "c.json").write_text(json.dumps(data | {"window_size": "${WINDOW}"}))
    assert main(["fit", config, history, "--out", model]) == 2
    assert "window_size: the environment variable WINDOW" in capsys.readouterr().err
    # what is said on stderr is JSON where that is asked for
    assert main(["fit", config, history, "--out", model, "--log-json"]) == 2
    line = json.loads(capsys.readouterr().err)
    assert line["level"] == "ERROR" and line["message"].startswith("window_size: ")
    assert line["time"].endswith("Z") and line["logger"] == "fit"


def models(value):
    """Every model inside a model."""
    if isinstance(value, BaseModel):
        yield value
        for name in (*type(value).model_fields, *(value.model_extra or ())):
            yield from models(getattr(value, name))
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from models(item)


def test_no_repr_or_dump_shows_a_secret():
    found = list(models(EngineConfig.from_any(nested())))
    assert {"SlackConfig", "EmailConfig", "StorageConfig"} <= {type(m).__name__ for m in found}
    for model in found:
        for shown in (repr(model), str(model), repr(model.model_dump()), model.model_dump_json(),
                      repr(list(model)), f"{model!r}"):
            assert "S3CRET" not in shown and "hunter2" not in shown


def test_pydantics_own_error_shows_no_secret():
    for bad in ({"webook_url": SECRET}, {"webhook_url": "S3CRET-no-url"}):
        with pytest.raises(ValidationError) as caught:
            EngineConfig(**put(nested(), "alert_config.notification.slack", bad))
        assert "S3CRET" not in str(caught.value)


def test_configurations_can_be_sent_to_another_process():
    config = EngineConfig.from_any({"detectors": ["KNN"], "stream": "pump-7"})
    assert pickle.loads(pickle.dumps(config)) == config
    assert DetectorConfig(detector="KNN") == config.detectors[0]

def test_a_fleet_is_named_without_a_slash():
    with pytest.raises(ConfigError, match="no '/', which begins the names of its machines"):
        EngineConfig.from_any({"stream": "site/plant", "fleet": {}})
    assert EngineConfig(stream="site/plant").stream == "site/plant"
