"""The public API, name by name: what is not listed here may change without notice.

A name that is added or removed changes this list in the same commit, except for a detector and a
metric that are added: they are found by their class and by their record. One that is removed or
renamed works for one more release, with a warning (`adlib.deprecation`).
"""

from importlib import import_module

import adlib

API = {
    "adlib": """
        Dataset Detection Detector OnlineDetector TimeFeatures Windows all_detectors anomaly_score
        check_detector hindsight_score load save""",
    "adlib.base": """
        Detection Detector OnlineDetector anomaly_score""",
    "adlib.checks": """
        check_detector detector_checks""",
    "adlib.compare": """
        audit audit_table by_entity by_kind compare curves events format_tables rank_detectors
        rank_unlabelled read_results score_cell summarise triviality verdict write_report""",
    "adlib.datasets": """
        ANOMALY_KINDS Dataset KINDS card inject injector load_adbench load_csv load_nab load_odd
        load_skab load_sklearn load_telemetry load_tsb make_fraud make_intrusion make_manufacturing
        make_medical make_sensor_stream make_sine make_telemetry""",
    "adlib.detectors": """
        AutoEncoder Ensemble FirstDifference GAN KNN LSTM MaxAbsZ MovingDeviation OnlineEnsemble
        PCAReconstruction RandomFeatureAE RandomScore RobustZScore RollingZScore SeasonalZScore
        SquaredDifference SquaredZ
        Transformer VAE Voting all_detectors baselines find_detector""",
    "adlib.drift": """
        DriftMonitor""",
    "adlib.explain": """
        explain""",
    "adlib.feedback": """
        Answer FeedbackStore ReviewSession Reviewed next_questions teach""",
    "adlib.foreign": """
        wrap""",
    "adlib.hindsight": """
        hindsight_detect hindsight_score""",
    "adlib.metrics": """
        Metric affiliation_f1 affiliation_precision affiliation_recall alarm_count alarms_per_day
        all_metrics average_precision best_f1 composite_f1 confusion_matrix detection_delay event_f1
        event_precision event_recall f1 false_positive_rate hit_rate nab_corpus nab_score
        net_benefit operating_points point_adjusted_f1 point_adjusted_precision
        point_adjusted_recall precision precision_at_capacity range_f1 range_precision
        range_recall recall report roc_auc
        sensitivity_at_specificity ucr_score value_at_capacity vus vus_pr vus_roc""",
    "adlib.notebooks": """
        ParameterError record report_folder setup""",
    "adlib.persist": """
        load save""",
    "adlib.plots": """
        comparison critical_difference curves histogram losses scores series""",
    "adlib.realtime": """
        Channel EngineConfig Incident IncidentEvent NotificationService Outcome
        RealTimeAnomalyDetector Sample Source Verdict check_channel check_source replay source""",
    "adlib.thresholds": """
        Calibration CalibrationWarning Conformal ExchangeabilityTest Fixed OnlineFDR POT Quantile
        SPOT Sigma Threshold Tracking benjamini_hochberg effective_size severity""",
    "adlib.training": """
        DeepDetector ReconstructionDetector TrainingWarning mlp seeded train""",
    "adlib.windows": """
        TimeFeatures Windows windows""",
}


def test_the_public_names_are_those_listed():
    modules = {"adlib": set(adlib.__all__) - set(adlib._MODULES) - {"__version__"}}
    modules |= {f"adlib.{name}": set(import_module(f"adlib.{name}").__all__)
                for name in adlib._MODULES}
    listed = {module: set(names.split()) for module, names in API.items()}
    listed["adlib.detectors"] |= adlib.all_detectors().keys()
    listed["adlib.metrics"] |= adlib.metrics.all_metrics().keys() & modules["adlib.metrics"]
    added = [f"{module}.{name}" for module in modules
             for name in sorted(modules[module] - listed.get(module, set()))]
    removed = [f"{module}.{name}" for module in listed
               for name in sorted(listed[module] - modules.get(module, set()))]
    assert not added and not removed, (
        f"public names added: {', '.join(added) or 'none'}; removed: "
        f"{', '.join(removed) or 'none'}. Change __all__, or API in this file")


def test_every_name_exists_and_says_what_it_is():
    for module, names in API.items():
        for name in names.split():
            found = getattr(import_module(module), name)
            assert not callable(found) or (found.__doc__ or "").strip(), f"{module}.{name}"


def test_all_detectors_are_public():
    classes = adlib.detectors.all_detectors() | adlib.detectors.baselines()
    functions = {"all_detectors", "baselines", "find_detector"}
    assert set(adlib.detectors.__all__) == classes.keys() | functions


def test_the_api_stays_small():
    homes = {(getattr(found, "__module__", module), name) for module, names in API.items()
             for name in names.split() for found in [getattr(import_module(module), name)]}
    assert len(homes) <= 168
