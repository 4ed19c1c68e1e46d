"""Chaos for the live engine, long: signals, locks, a full disk, bad data, detectors, receivers.

Each scene runs the command line in a process of its own against real servers on loopback, disturbs
it at random (by seed), and compares what the store says afterwards with an undisturbed run of the
same data: nothing that was acknowledged is lost, and every minute of blindness has an incident of
kind health. `tests/test_realtime_chaos.py` plays the same scenes once, shortly.

    python benchmarks/chaos.py --seeds 20
    python benchmarks/chaos.py --scene signals --scene "disk full" --seeds 3 --first 7
"""

import argparse
import inspect
import os
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from chaos_rig import Zygote
from chaos_scenes import SCENES
from nats_server import BINARY, NatsServer


def play(name: str, zygote: Zygote, folder: Path, server: NatsServer | None, seed: int) -> list:
    """What did not hold in a scene; None where this machine cannot play it."""
    scene = SCENES[name]
    more = {"server": server} if "server" in inspect.signature(scene).parameters else {}
    if more and server is None:
        return ["cannot be played: nats-server is not installed"]
    try:
        return scene(zygote, folder, seed=seed, **more)
    except PermissionError as error:
        return [f"cannot be played: {error}"]
    except Exception as error:
        traceback.print_exc()
        return [f"{type(error).__name__}: {error}"]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scene", action="append", choices=SCENES, help="default: all")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--keep", type=Path, help="folder for stores and logs (default: none)")
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    tally: Counter = Counter()
    with tempfile.TemporaryDirectory(prefix="adlib-chaos-") as folder:
        root = args.keep or Path(folder)
        zygote = Zygote()
        server = NatsServer(root / "nats").start() if BINARY else None
        try:
            for seed in range(args.first, args.first + args.seeds):
                for name in args.scene or SCENES:
                    began = time.monotonic()
                    place = root / f"{name.replace(' ', '_')}-{seed}"
                    faults = play(name, zygote, place, server, seed)
                    tally[name, not faults] += 1
                    print(f"{name}, seed {seed}: {'held' if not faults else 'BROKEN'} "
                          f"({time.monotonic() - began:.0f} s)", flush=True)
                    for fault in faults:
                        print(f"    {fault}", flush=True)
        finally:
            zygote.close()
            if server is not None:
                server.stop()
    print(f"\n{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
    for name in args.scene or SCENES:
        held, broken = tally[name, True], tally[name, False]
        print(f"{name:16} {held} of {held + broken} held")
    return int(any(not held for _, held in tally))


if __name__ == "__main__":
    sys.exit(main())
