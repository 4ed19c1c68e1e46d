"""Nothing acknowledged is lost and no minute is blind in silence, whatever is done to the engine.

Scenes of `chaos_scenes`, shortly and with fixed seeds; ``benchmarks/chaos.py`` plays them at
length. They wait for what they cause, and give up only after a minute.
"""

import signal

import chaos_scenes as scenes
import pytest
from chaos_rig import CLOCKS, Zygote
from nats_server import NatsServer, needs_nats


@pytest.fixture(scope="module")
def zygote():
    mother = Zygote()
    yield mother
    mother.close()


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with NatsServer(tmp_path_factory.mktemp("nats")) as server:
        yield server


@pytest.mark.parametrize("seed", [0, 1])
def test_bad_records_of_every_kind(zygote, tmp_path, seed):
    clocks = tuple(CLOCKS)[seed::2]
    assert scenes.data(zygote, tmp_path / "rig", seed, clocks=clocks) == []


@needs_nats
@pytest.mark.parametrize("seed", [0, 1])
def test_signals_at_random_moments(zygote, server, tmp_path, seed):
    assert scenes.signals(zygote, tmp_path / "rig", server, seed, n=2000, lives=2) == []


@needs_nats
@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_while_a_batch_is_judged(zygote, server, tmp_path, how):
    assert scenes.busy_stop(zygote, tmp_path / "rig", server, int(how), how) == []


@needs_nats
def test_a_locked_store(zygote, server, tmp_path):
    assert scenes.locked(zygote, tmp_path / "rig", server) == []


@needs_nats
@pytest.mark.parametrize("how", ["tmpfs", "limit"])
def test_a_full_disk(zygote, server, tmp_path, how):
    try:
        assert scenes.disk_full(zygote, tmp_path / "rig", server, how=how) == []
    except PermissionError as error:
        pytest.skip(f"no small disk can be mounted here: {error}")


@needs_nats
def test_a_source_that_falls_silent(zygote, server, tmp_path):
    assert scenes.no_data(zygote, tmp_path / "rig", server) == []


@needs_nats
@pytest.mark.parametrize("how", ["raise", "hang"])
def test_a_detector_that_fails(zygote, server, tmp_path, how):
    assert scenes.detectors(zygote, tmp_path / "rig", server, how=how) == []


@needs_nats
def test_receivers_that_answer_anything(zygote, server, tmp_path):
    assert scenes.receivers(zygote, tmp_path / "rig", server) == []
