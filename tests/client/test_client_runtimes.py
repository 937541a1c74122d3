"""The client and the generated code run on the oldest and on the newest supported libraries."""

import json
import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("name", "grpcio", "protobuf"),
    [("oldest", "1.74.", "6.31."), ("newest", "1.", "7.")],
    ids=["oldest", "newest"],
)
def test_the_client_runs_on(name: str, grpcio: str, protobuf: str):
    made = subprocess.run(
        ["make", f".envs/client-{name}/installed"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert made.returncode == 0, made.stderr
    done = subprocess.run(
        # Warnings are errors, because a runtime that only tolerates older generated code warns.
        [
            ROOT / ".envs" / f"client-{name}" / "bin" / "python",
            "-W",
            "error",
            ROOT / "tests" / "client" / "smoke.py",
        ],
        env={
            **os.environ,
            "PYTHONPATH": f"{ROOT / 'protos'}:{ROOT}",
            "PYTHONDONTWRITEBYTECODE": "1",
        },
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout.splitlines()[-1])
    assert said["grpcio"].startswith(grpcio)
    assert said["protobuf"].startswith(protobuf)
    assert said["golden"] > 40
