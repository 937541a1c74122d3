"""The generated Python code matches the .proto files."""

import filecmp
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROTOS = ROOT / "protos"


@pytest.fixture(scope="session")
def python() -> Path:
    """The Python with the oldest supported tools. It is installed if it is missing."""
    run("make", ".envs/protos/installed", cwd=ROOT)
    return ROOT / ".envs" / "protos" / "bin" / "python"


def run(*command: str | Path, cwd: Path) -> str:
    """Runs a command. If it fails, its output is the message."""
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{command}:\n{done.stdout}\n{done.stderr}"
    return done.stdout


def files(folder: Path, *patterns: str) -> set[Path]:
    """Returns the files that match, relative to the folder."""
    return {path.relative_to(folder) for pattern in patterns for path in folder.rglob(pattern)}


def assert_same(committed: Path, fresh: Path, names: set[Path], advice: str) -> None:
    """Asserts that the files are the same and have the same content."""
    _, differing, missing = filecmp.cmpfiles(committed, fresh, [str(name) for name in names], shallow=False)
    assert (differing, missing) == ([], []), advice


def test_the_python_code_is_fresh(python: Path, tmp_path: Path):
    ignore = shutil.ignore_patterns("node_modules", "dist", "__pycache__", "typescript")
    copy = shutil.copytree(PROTOS, tmp_path / "protos", ignore=ignore)
    run(copy / "generate.sh", python, cwd=copy)
    names = files(PROTOS / "recstream", "*_pb2*.py*") | files(copy / "recstream", "*_pb2*.py*")
    names = {name for name in names if name.suffix in (".py", ".pyi")}
    assert len(names) > 30
    assert_same(PROTOS / "recstream", copy / "recstream", names, "run `make protos` and commit")


def test_locks_name_no_registry():
    locks = [PROTOS / "typescript" / "package-lock.json", *(ROOT / "requirements").glob("client-*.txt")]
    assert len(locks) == 3
    for lock in locks:
        text = lock.read_text()
        assert '"resolved"' not in text
        assert "--index-url" not in text
        assert "integrity" in text or "--hash=sha256:" in text
