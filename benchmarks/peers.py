"""Peers in environments of their own, made on first use: their requirements contradict ours."""

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent


def environment(name: str, *installs: list[str]) -> Path:
    """Python of ``benchmarks/.venv-<name>``, created with one pip call per list of arguments."""
    folder = HERE / f".venv-{name}"
    python = folder / "bin" / "python"
    if not (folder / "installed").exists():
        print(f"making {folder.name} ...", flush=True)
        subprocess.run([sys.executable, "-m", "venv", "--clear", folder], check=True)
        for arguments in installs:
            command = [python, "-m", "pip", "install", "--quiet", *arguments]
            subprocess.run(command, check=True, stderr=subprocess.DEVNULL)
        (folder / "installed").touch()
    return python


def run(python: Path, code: str, *arguments: str, timeout: float = 1_200) -> Any:
    """Run code in a peer's environment; it prints one line of JSON last, which is returned."""
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run([python, "-c", code, *arguments], cwd=folder, timeout=timeout,
                              check=True, capture_output=True, text=True)
    return json.loads(done.stdout.splitlines()[-1])
