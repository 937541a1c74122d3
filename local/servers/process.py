"""A child process that logs to a file. It ends when this process ends, and every wait has a limit."""

import asyncio
import contextlib
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path

from local.errors import NotInstalled, StartFailed

_POLL_SECONDS = 0.02
_LOG_LIMIT = 64 * 1024 * 1024
# The shell checks that the parent still lives. If the parent ended before setpriv ran, the kernel would never kill the
# child.
_OURS = ("/bin/sh", "-c", '[ "$PPID" = "$1" ] && shift && exec "$@"', "sh")


class Process:
    """A server as a child of this process.

    It runs in a session of its own. So Ctrl-C reaches only this process, which stops its children in order. When the
    thread that started the child ends, even by kill -9, the kernel kills the child. So start it from the main thread.
    It belongs to no event loop: one may start it, and another may stop it.
    """

    def __init__(self, name: str, log: Path) -> None:
        self.name = name
        self.log = log
        self._child: subprocess.Popen[bytes] | None = None

    @property
    def running(self) -> bool:
        """Whether the process runs."""
        return self._child is not None and self._child.poll() is None

    @property
    def pid(self) -> int | None:
        """The process id. None before the start."""
        return self._child.pid if self._child is not None else None

    @property
    def exit_code(self) -> int | None:
        """The exit status, or minus the number of the signal that ended the process. None before its end."""
        return None if self._child is None else self._child.poll()

    def spawn(
        self, command: Sequence[str | Path], environment: Mapping[str, str], folder: Path | None = None
    ) -> None:
        """Starts the process. It appends to the log. A log of more than 64 MiB is first renamed to `<log>.old`.

        Raises:
            StartFailed: The process runs already.
            NotInstalled: `setpriv` is missing.
        """
        if self.running:
            raise StartFailed(f"{self.name} is running already (process {self.pid})")
        self.log.parent.mkdir(parents=True, exist_ok=True)
        if self.log.exists() and self.log.stat().st_size > _LOG_LIMIT:
            self.log.replace(self.log.with_name(self.log.name + ".old"))
        # Not preexec_fn: Python code between fork and exec can deadlock once grpc has started threads.
        setpriv = shutil.which("setpriv", path="/usr/bin:/bin:" + os.environ.get("PATH", ""))
        if setpriv is None:
            raise NotInstalled("setpriv is missing: apt-get install util-linux")
        with self.log.open("ab") as log:
            self._child = subprocess.Popen(
                [setpriv, "--pdeathsig", "KILL", "--", *_OURS, str(os.getpid()), *map(str, command)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=dict(environment),
                cwd=folder,
                start_new_session=True,
            )

    async def ready(self, answers: Callable[[], Awaitable[bool]], seconds: float) -> None:
        """Waits until `answers()` is true. After `seconds` kills the process and raises StartFailed."""
        started = time.monotonic()
        try:
            while True:
                if not self.running:
                    raise StartFailed(
                        self._failure(f"ended with status {self.exit_code} before it was ready")
                    )
                try:
                    if await asyncio.wait_for(answers(), 2.0):
                        return
                except (OSError, EOFError, TimeoutError):
                    pass  # not listening yet
                if time.monotonic() - started > seconds:
                    raise StartFailed(self._failure(f"did not answer within {seconds:g} seconds"))
                await asyncio.sleep(_POLL_SECONDS)
        except BaseException:
            self.kill()  # Also if the caller is cancelled, so that no half-started process stays.
            raise

    async def wait(self, seconds: float | None = None) -> int | None:
        """Waits for the end of the process. Returns its exit status, or None if it still runs after `seconds`."""
        started = time.monotonic()
        while self.running:
            if seconds is not None and time.monotonic() - started > seconds:
                return None
            await asyncio.sleep(_POLL_SECONDS)
        return self.exit_code

    async def stop(self, seconds: float = 15.0) -> None:
        """Sends SIGTERM. After at most `seconds` sends SIGKILL to the process and its process group."""
        if self.running and self._child is not None:
            self._child.terminate()
            try:
                await self.wait(seconds)
            finally:
                self.kill()
        self.kill()

    def kill(self) -> None:
        """Sends SIGKILL to the process and its process group, and waits for its end, if it was started."""
        if self._child is None:
            return
        with contextlib.suppress(ProcessLookupError, PermissionError):  # it has ended
            os.killpg(self._child.pid, signal.SIGKILL)
        self._child.wait(10)

    def tail(self, lines: int = 20) -> str:
        """Returns the last lines of the log."""
        try:
            with self.log.open("rb") as log:
                log.seek(max(0, self.log.stat().st_size - 16_384))
                text = log.read().decode(errors="replace")
        except OSError:
            return ""
        return "\n".join(text.splitlines()[-lines:])

    def _failure(self, what: str) -> str:
        return f"{self.name} {what}. The end of its log, {self.log}:\n{self.tail()}"
