"""Only jars with committed hashes are run."""

import hashlib
from pathlib import Path

import pytest

from local.errors import JarsRefused
from local.servers import jars


def _list(folder: Path, **content: bytes) -> Path:
    hashes = folder / "jars.sha256"
    lines = [f"{hashlib.sha256(data).hexdigest()}  {name}.jar\n" for name, data in content.items()]
    hashes.write_text("".join(lines))
    return hashes


def test_the_committed_list_has_kafka_and_no_address() -> None:
    wanted = jars.expected()
    assert "kafka_2.13-4.4.0.jar" in wanted
    # With the wrong slf4j binding the resolver picks the client of another Kafka version.
    assert "kafka-clients-4.4.0.jar" in wanted
    assert all(len(digest) == 64 for digest in wanted.values())
    assert "://" not in jars.HASHES.read_text()


def test_changed_missing_and_unexpected_jars_are_named(tmp_path: Path) -> None:
    wanted = jars.expected(_list(tmp_path, a=b"a", b=b"b"))
    (tmp_path / "a.jar").write_bytes(b"changed")
    (tmp_path / "c.jar").write_bytes(b"c")
    problems = "; ".join(jars.check(tmp_path, wanted))
    assert "a.jar has sha256" in problems
    assert "b.jar is missing" in problems
    assert "c.jar is not on the list" in problems


async def test_cached_jars_are_checked_each_time_and_fetched_again_if_damaged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fetches = 0

    async def fetch(work: Path, into: Path) -> None:
        nonlocal fetches
        fetches += 1
        (into / "a.jar").write_bytes(b"a")

    monkeypatch.setattr(jars, "_fetch", fetch)
    hashes = _list(tmp_path, a=b"a")
    folder = await jars.kafka_jars(hashes, tmp_path / "cache")
    assert await jars.kafka_jars(hashes, tmp_path / "cache") == folder
    assert fetches == 1
    (folder / "a.jar").write_bytes(b"damaged")
    await jars.kafka_jars(hashes, tmp_path / "cache")
    assert fetches == 2
    assert (folder / "a.jar").read_bytes() == b"a"


async def test_a_fetched_jar_with_other_content_is_refused_and_not_cached(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fetch(work: Path, into: Path) -> None:
        (into / "a.jar").write_bytes(b"something else")

    monkeypatch.setattr(jars, "_fetch", fetch)
    with pytest.raises(JarsRefused, match=r"a\.jar has sha256"):
        await jars.kafka_jars(_list(tmp_path, a=b"a"), tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []
