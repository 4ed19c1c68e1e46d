"""A model's life: versions in one folder, a refit beside the engine, the swap, the way back."""

import json

import numpy as np
import pytest

from adlib.realtime import RealTimeAnomalyDetector
from adlib.realtime.doors import versions
from adlib.realtime.doors.versions import Version

CHEAP = {"deep_config": None, "stat_config": None, "window_size": 20, "stride": 5, "alpha": 0.01,
         "drift": False, "detectors": ["PCAReconstruction"]}


def rows(n, seed, d=3):
    rng, mixing = np.random.default_rng(seed), np.random.default_rng(9).normal(size=(2, d))
    return rng.normal(size=(n, 2)) @ mixing + 0.3 * rng.normal(size=(n, d))


@pytest.fixture(scope="module")
def fitted():
    return RealTimeAnomalyDetector(CHEAP).fit(rows(4000, 0))


# ------------------------------------------------------------------ versions


def model(folder):
    (folder / "engine.json").write_text("{}")


def test_an_old_folder_is_version_1_and_versions_are_counted(tmp_path):
    model(tmp_path)
    assert versions.current(tmp_path).version == 1
    for number in (2, 3):
        record = versions.add(tmp_path, Version(0, 1.0, "drift"), model, keep=5)
        assert record.number == number
        versions.use(tmp_path, number, "Ada")
    assert versions.current(tmp_path).used == (1, 2, 3)
    assert [version.number for version in versions.listed(tmp_path)] == [1, 2, 3]


def test_rollback_goes_back_step_by_step_and_holds_what_is_fitted_later(tmp_path):
    model(tmp_path)
    with pytest.raises(ValueError, match="none to go back to"):
        versions.rollback(tmp_path)
    for number in (2, 3):
        versions.add(tmp_path, Version(0, 1.0), model, keep=5)
        versions.use(tmp_path, number)
        versions.use(tmp_path, number)  # once more is no step
    assert not versions.current(tmp_path).held
    assert [versions.rollback(tmp_path).version for _ in range(2)] == [2, 1]
    assert versions.current(tmp_path).held
    versions.use(tmp_path, 3)
    assert not versions.current(tmp_path).held


def test_what_holds_no_model_is_never_used(tmp_path):
    model(tmp_path)
    versions.add(tmp_path, Version(0, 1.0, outcome="failed", says="too short"), None, keep=5)
    with pytest.raises(ValueError, match="no model of version 2: use one of 1"):
        versions.use(tmp_path, 2)
    with pytest.raises(ValueError, match="version must be a whole number"):
        versions.use(tmp_path, "../2")
    with pytest.raises(FileNotFoundError, match="not a saved engine"):
        versions.listed(tmp_path / "elsewhere")


def test_old_versions_go_but_those_in_use_and_the_way_back_stay(tmp_path):
    model(tmp_path)
    for number in range(2, 9):
        versions.add(tmp_path, Version(0, 1.0), model, keep=2)
        if number in (2, 3):
            versions.use(tmp_path, number)
    assert [version.number for version in versions.listed(tmp_path)] == [1, 2, 3, 7, 8]
    assert versions.rollback(tmp_path).version == 2


@pytest.mark.parametrize("says", ["", "3", "[]", '{"used": [0]}', '{"version": 2}',
                                  '{"used": ["../x"]}', '{"used": '
                                  '[]}'])
def test_a_damaged_pointer_is_one_sentence_and_is_written_anew(tmp_path, says):
    model(tmp_path)
    (tmp_path / "current").write_text(says)
    with pytest.raises(ValueError, match="is damaged .* use N` writes it anew"):
        versions.current(tmp_path)
    versions.use(tmp_path, 1)
    assert versions.current(tmp_path).version == 1


def test_what_a_killed_process_left_is_cleared(tmp_path):
    model(tmp_path)
    (tmp_path / "versions" / ".x.new").mkdir(parents=True)
    versions.add(tmp_path, Version(0, 1.0), model, keep=2)
    (tmp_path / "versions" / "2" / "version.json").write_text(json.dumps({"number": "x"}))
    assert versions.add(tmp_path, Version(0, 1.0), model, keep=2).number == 3  # 2 is damaged
    assert not (tmp_path / "versions" / ".x.new").exists()


def test_one_fits_at_a_time(tmp_path):
    with versions.alone(tmp_path), pytest.raises(BlockingIOError, match="another process"), (
            versions.alone(tmp_path)):
        pass
    with versions.alone(tmp_path):
        pass
