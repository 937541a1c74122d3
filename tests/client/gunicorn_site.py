"""Runs the Django site under gunicorn, in threads of two workers."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.error import URLError

from local.servers.ports import free_port

ROOT = Path(__file__).parents[2]
WORKERS = 2
THREADS = 8


@dataclass(frozen=True)
class Site:
    """A running site."""

    url: str
    process: subprocess.Popen[str]

    def get(self, user_id: str) -> tuple[str, float]:
        """Returns the body of a page, and the seconds that the view's call took."""
        with urllib.request.urlopen(f"{self.url}/{user_id}", timeout=30) as answer:
            return answer.read().decode(), float(answer.headers["Took"])

    def end(self) -> str:
        """Ends gunicorn as an operator does. Returns what it wrote.

        Raises:
            AssertionError: It did not end in order.
        """
        self.process.terminate()
        _, err = self.process.communicate(timeout=30)
        assert self.process.returncode == 0, err
        return err


@contextmanager
def serving_site(target: str) -> Iterator[Site]:
    """Yields a site whose view calls the server at `target`."""
    port = free_port()
    command = [
        *(sys.executable, "-m", "gunicorn", "tests.client.django_site:application"),
        *("--preload", "--bind", f"127.0.0.1:{port}", "--no-control-socket"),
        *("--worker-class", "gthread", "--workers", str(WORKERS), "--threads", str(THREADS)),
    ]
    process = subprocess.Popen(
        command,
        cwd=ROOT,
        env={**os.environ, "TARGET": target, "PYTHONPATH": f"{ROOT}:{ROOT / 'protos'}"},
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        site = Site(f"http://127.0.0.1:{port}", process)
        _until_it_answers(site)
        yield site
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


def _until_it_answers(site: Site) -> None:
    deadline = time.monotonic() + 60
    while True:
        try:
            site.get("first")
            return
        except URLError:
            if site.process.poll() is not None:
                raise RuntimeError(site.process.communicate()[1]) from None
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)
