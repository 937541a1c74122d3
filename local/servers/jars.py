"""Kafka's jars. They are fetched once into a cache, and checked against the committed list of hashes."""

import asyncio
import hashlib
import os
import shutil
import sys
import tempfile
from pathlib import Path

from local.errors import JarsRefused, NotInstalled

# slf4j-simple, because with log4j's binding jgo applies log4j's managed versions to everything, and fetches another
# version of Kafka.
COORDINATES = "org.apache.kafka:kafka_2.13:4.4.0+org.slf4j:slf4j-simple:1.7.36"
HASHES = Path(__file__).resolve().parents[2] / "requirements" / "kafka-jars.sha256"
_FETCH_SECONDS = 300.0

# This runs in a process of its own, which can be killed if it takes too long, and which keeps jgo's settings from ours.
_FETCH = """
import shutil, sys
from pathlib import Path
import jgo
built = jgo.build(sys.argv[1], cache_dir=Path(sys.argv[2]) / "jgo")
into = Path(sys.argv[3])
for jar in [*built.path.glob("jars/*.jar"), *built.path.glob("modules/*.jar")]:
    shutil.copyfile(jar, into / jar.name)
"""


def cache_folder() -> Path:
    """Returns the folder for downloads: RECSTREAM_CACHE, or else `recstream` in the user's cache folder."""
    chosen = os.environ.get("RECSTREAM_CACHE")
    if chosen:
        return Path(chosen)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "recstream"


def expected(hashes: Path = HASHES) -> dict[str, str]:
    """Returns the sha256 of every jar by file name, from the committed `sha256sum` list. Raises NotInstalled."""
    try:
        lines = hashes.read_text().split("\n")
    except OSError as error:
        raise NotInstalled(f"the list of jars, {hashes}, cannot be read: {error}") from error
    return {name: digest for digest, name in (line.split() for line in lines if line.strip())}


def check(folder: Path, wanted: dict[str, str]) -> list[str]:
    """Returns a sentence for each jar in `folder` that is missing, unexpected, or has another hash."""
    there = {path.name: path for path in folder.glob("*.jar")}
    problems = [f"{name} is missing" for name in sorted(wanted.keys() - there.keys())]
    problems += [f"{name} is not on the list" for name in sorted(there.keys() - wanted.keys())]
    for name in sorted(wanted.keys() & there.keys()):
        found = hashlib.sha256(there[name].read_bytes()).hexdigest()
        if found != wanted[name]:
            problems.append(f"{name} has sha256 {found}, expected {wanted[name]}")
    return problems


def jar_folder(hashes: Path = HASHES, cache: Path | None = None) -> Path:
    """Returns the folder in the cache for the jars of this list. Each list has its own folder."""
    return (cache or cache_folder()) / f"kafka-{hashlib.sha256(hashes.read_bytes()).hexdigest()[:16]}"


async def kafka_jars(hashes: Path = HASHES, cache: Path | None = None) -> Path:
    """Returns the folder of the checked jars. Fetches them from Maven Central if they are not in the cache (45 MB).

    Raises:
        JarsRefused: The fetched jars differ from the list.
        NotInstalled: The jars could not be fetched.
    """
    wanted = expected(hashes)
    cache = cache or cache_folder()
    folder = jar_folder(hashes, cache)
    if folder.is_dir():
        if not await asyncio.to_thread(check, folder, wanted):
            return folder
        shutil.rmtree(folder)  # it was damaged since the last check
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="fetch-", dir=cache) as fetched:
        into = Path(fetched) / "jars"
        into.mkdir()
        await _fetch(Path(fetched), into)
        problems = check(into, wanted)
        if problems:
            raise JarsRefused(
                "the jars fetched for Kafka do not match the committed list: " + "; ".join(problems[:5])
            )
        try:
            into.rename(folder)
        except OSError:
            if check(folder, wanted):  # Another process may have been faster. Its jars must be right, too.
                raise
    return folder


async def _fetch(work: Path, into: Path) -> None:
    environment = {**os.environ, "M2_REPO": str(work / "m2"), "JGO_CACHE_DIR": str(work / "jgo")}
    fetch = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", _FETCH, COORDINATES, str(work), str(into)),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env=environment,
    )
    try:
        said, _ = await asyncio.wait_for(fetch.communicate(), _FETCH_SECONDS)
    except BaseException:
        fetch.kill()
        await fetch.wait()
        raise
    if fetch.returncode:
        last = " ".join(said.decode(errors="replace").split()[-60:])
        raise NotInstalled(f"Kafka's jars could not be fetched (is Maven Central reachable?): {last}")
