"""Runs processes like a container engine, with the kernel's own means.

A process has its own root, which is read-only except for mounts, any user, no privileges, and its own network. Python
and the system libraries of this machine replace those of the base image. Needs root.
"""

import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

# Files of this machine, to load libraries, resolve names and trust certificates. Only root has a name.
_ETC = (
    "hosts",
    "resolv.conf",
    "nsswitch.conf",
    "ld.so.cache",
    "ld.so.conf",
    "ld.so.conf.d",
    "ssl",
    "pip.conf",
    "alternatives",
)
_SYSTEM = ("usr", "dev")
PYTHON = Path(sys.base_prefix)
PATH = f"{PYTHON}/bin:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"
"""The base image's PATH. Its `python3` is the one that runs this project."""
_LOOPBACK = """
import fcntl, signal, socket, struct
with socket.socket() as s:
    fcntl.ioctl(s, 0x8914, struct.pack("16sh14x", b"lo", 0x49))  # SIOCSIFFLAGS: up, running
print("up", flush=True)
signal.pause()
"""


def required() -> None:
    """Skips the test if this cannot be done. In CI it fails."""
    lacks = [tool for tool in ("unshare", "nsenter", "setpriv", "chroot") if shutil.which(tool) is None]
    problem = f"{', '.join(lacks)} are not on PATH" if lacks else "needs root" if os.geteuid() else ""
    if (
        not problem
        and subprocess.run(
            ["unshare", "--mount", "--net", "true"], capture_output=True, check=False
        ).returncode
    ):
        problem = "this machine lets nobody have mounts of their own"
    if problem and os.environ.get("CI"):
        pytest.fail(f"containers cannot be imitated: {problem}")
    if problem:
        pytest.skip(f"containers cannot be imitated: {problem}")


@dataclass(frozen=True, slots=True)
class Mount:
    """A file or folder of this machine, mounted at a path inside."""

    source: Path
    target: str
    read_only: bool = False


@dataclass(frozen=True, slots=True)
class Container:
    """How a process is run. network: the process whose network it shares; none: this machine's. programs: what the
    base image has on its PATH, by name."""

    root: Path
    env: Mapping[str, str] = field(default_factory=dict)
    workdir: str = "/"
    user: str = "0:0"
    read_only: bool = False
    mounts: Sequence[Mount] = ()
    tmpfs: Sequence[str] = ()
    network: int | None = None
    programs: Mapping[str, Path] = field(default_factory=dict)

    def command(self, argv: Sequence[str]) -> list[str]:
        """Returns the command line that runs `argv` inside."""
        uid, _, gid = self.user.partition(":")
        drop = ["setpriv", f"--reuid={uid}", f"--regid={gid or 0}", "--clear-groups", "--no-new-privs"]
        if uid != "0":
            drop += ["--inh-caps=-all", "--bounding-set=-all"]
        inside = ["env", "-i", *(f"{name}={value}" for name, value in self.env.items()), *argv]
        chroot = ["chroot", str(self.root), *drop, "sh", "-c", 'cd "$0" && exec "$@"', self.workdir, *inside]
        script = "\n".join(["set -e", *self._mounting(), "exec " + shlex.join(chroot)])
        network = ["nsenter", f"--net=/proc/{self.network}/ns/net"] if self.network else []
        return [*network, "unshare", "--mount", "--propagation", "private", "sh", "-c", script]

    def run(self, argv: Sequence[str], timeout: float = 300) -> subprocess.CompletedProcess[str]:
        """Runs it to its end."""
        return subprocess.run(
            self.command(argv), capture_output=True, text=True, timeout=timeout, check=False
        )

    @contextmanager
    def running(
        self, argv: Sequence[str], log: Path, stdin: int = subprocess.DEVNULL
    ) -> Iterator["subprocess.Popen[bytes]"]:
        """Runs it inside the block. SIGTERM ends it, and SIGKILL after twenty seconds."""
        with log.open("wb") as out:
            process = subprocess.Popen(self.command(argv), stdin=stdin, stdout=out, stderr=subprocess.STDOUT)
        try:
            yield process
        finally:
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def _mounting(self) -> Iterator[str]:
        root, quoted = self.root, shlex.quote
        _furnish(root)
        yield f"mount --bind {quoted(str(root))} {quoted(str(root))}"
        for name in _SYSTEM:
            yield f"mount --rbind /{name} {quoted(str(root / name))}"
        yield f"mount -o remount,bind,ro {quoted(str(root / 'usr'))}"
        yield f"mount -t proc proc {quoted(str(root / 'proc'))}"
        yield f"mount -t tmpfs -o mode=1777,size=512m tmpfs {quoted(str(root / 'dev/shm'))}"
        yield f"mount -t tmpfs -o mode=0755 tmpfs {quoted(str(root / 'usr/local/bin'))}"
        if not PYTHON.is_relative_to("/usr"):
            place = root / str(PYTHON).lstrip("/")
            place.mkdir(parents=True, exist_ok=True)
            yield f"mount --rbind {quoted(str(PYTHON))} {quoted(str(place))}"
        for name, program in self.programs.items():
            place = quoted(str(root / "usr/local/bin" / name))
            yield f"touch {place} && mount --bind {quoted(str(program))} {place}"
        for mount in self.mounts:
            place = root / mount.target.lstrip("/")
            if mount.source.is_dir():
                place.mkdir(parents=True, exist_ok=True)
            else:
                place.parent.mkdir(parents=True, exist_ok=True)
                place.touch()
            yield f"mount --bind {quoted(str(mount.source))} {quoted(str(place))}"
            if mount.read_only:
                yield f"mount -o remount,bind,ro {quoted(str(place))}"
        for entry in self.tmpfs:
            target, _, options = entry.partition(":")
            place = root / target.lstrip("/")
            place.mkdir(parents=True, exist_ok=True)
            yield f"mount -t tmpfs -o {quoted(options or 'mode=1777')} tmpfs {quoted(str(place))}"
        if self.read_only:
            yield f"mount -o remount,bind,ro {quoted(str(root))}"


@contextmanager
def network() -> Iterator[int]:
    """Yields the process that holds a network with only a loopback interface."""
    holder = subprocess.Popen(["unshare", "--net", sys.executable, "-c", _LOOPBACK], stdout=subprocess.PIPE)
    try:
        assert holder.stdout is not None and holder.stdout.readline() == b"up\n"
        yield holder.pid
    finally:
        holder.kill()
        holder.wait()
        holder.stdout.close()


def _furnish(root: Path) -> None:
    if (root / "etc").exists():
        return
    for name in (*_SYSTEM, "proc", "etc", "tmp", "root"):
        (root / name).mkdir(parents=True, exist_ok=True)
    (root / "tmp").chmod(0o1777)
    for path in Path("/").iterdir():  # /bin, /lib and similar, if they are links into /usr.
        if path.is_symlink() and str(path.readlink()).startswith("usr/"):
            (root / path.name).symlink_to(path.readlink())
    for name in _ETC:
        if (source := Path("/etc") / name).exists():
            subprocess.run(
                ["cp", "-aL" if source.is_file() else "-a", str(source), str(root / "etc")], check=True
            )
    (root / "etc/passwd").write_text("root:x:0:0:root:/root:/bin/sh\n")
    (root / "etc/group").write_text("root:x:0:\n")
