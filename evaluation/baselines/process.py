"""Runs a library in an environment and a process of its own."""

import hashlib
import json
import selectors
import shutil
import subprocess
import tempfile
import time
import weakref
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

from evaluation.baselines.errors import BaselineFailed, EnvironmentMissing

ENVIRONMENT = Path(__file__).parents[2] / ".envs" / "references"
_SCRIPTS = Path(__file__).parent / "library"
FITTED_FORMAT: Final = 1
"""Increase it when a library's script trains another model from the same arrays and parameters."""

Arrays = Mapping[str, NDArray[np.generic]]


class LibraryProcess:
    """A running script of the `library` folder.

    When it is closed or garbage-collected, its process ends and its temporary folder is removed.
    """

    def __init__(
        self,
        script: str,
        *,
        threads: int,
        environment: Path = ENVIRONMENT,
        say: Callable[[str], None] | None = None,
    ) -> None:
        """Starts the process.

        Args:
            script: File name of the script.
            threads: Threads of the process.
            environment: The virtual environment that has the libraries.
            say: Called with lines of progress.

        Raises:
            EnvironmentMissing: The environment is not installed.
        """
        python = environment / "bin" / "python"
        if not (environment / "installed").is_file() or not python.is_file():
            raise EnvironmentMissing(
                f"als, bpr and sasrec need libraries that are not installed in {environment}: "
                "run make .envs/references/installed"
            )
        self._say = say or (lambda _: None)
        self._script = _SCRIPTS / script
        self._folder = Path(tempfile.mkdtemp(prefix="recstream-baseline-"))
        self._log = self._folder / "log"
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [python, "-u", self._script],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                cwd=self._folder,
                # PYTHONPATH is not passed on: this project's has another numpy.
                env={"PATH": "/usr/bin:/bin", "HOME": str(self._folder), **_thread_limits(threads)},
            )
        self._received = b""
        self._number = 0
        self._end = weakref.finalize(self, _end, self._process, self._folder)

    def fit(
        self,
        model: str,
        arrays: Arrays,
        parameters: Mapping[str, object],
        *,
        timeout: float,
        kept: Path | None = None,
    ) -> tuple[dict[str, object], dict[str, NDArray[np.float32]]]:
        """Trains a model, or loads it from `kept` if it was trained there before.

        Args:
            model: Name of the model in the script.
            arrays: The training rows.
            parameters: Parameters of the training.
            timeout: Seconds.
            kept: Folder of earlier trainings, by arrays, parameters and format. None: always train, and keep nothing.

        Returns:
            What training found, such as epochs, and its arrays.

        Raises:
            BaselineFailed: See `ask`.
        """
        path = None
        if kept is not None:
            kept.mkdir(parents=True, exist_ok=True)
            path = str(kept.resolve() / f"{self._key(model, arrays, parameters)}.pickle")
        return self.ask("fit", arrays, timeout=timeout, model=model, parameters=dict(parameters), kept=path)

    def _key(self, model: str, arrays: Arrays, parameters: Mapping[str, object]) -> str:
        digest = hashlib.blake2b(digest_size=12)
        digest.update(json.dumps([FITTED_FORMAT, model, dict(parameters)], sort_keys=True).encode())
        for name in sorted(arrays):
            digest.update(
                f"{name} {arrays[name].dtype} {arrays[name].shape}".encode() + arrays[name].tobytes()
            )
        return digest.hexdigest()

    def ask(
        self, do: str, arrays: Arrays, *, timeout: float, **fields: object
    ) -> tuple[dict[str, object], dict[str, NDArray[np.float32]]]:
        """Sends a request and waits for its answer.

        Args:
            do: `fit` or `encode`.
            arrays: Arrays of the request.
            timeout: Seconds.
            fields: Other fields of the request.

        Returns:
            The facts and the arrays of the answer.

        Raises:
            BaselineFailed: The library failed, or did not answer in time. The process is ended.
        """
        if not self._end.alive:
            raise BaselineFailed(f"{do} failed: its process has ended")
        self._number += 1
        path = self._folder / f"task-{self._number}.npz"
        np.savez(path, **dict(arrays))  # type: ignore[arg-type]
        task = json.dumps({"do": do, "arrays": str(path), **fields}) + "\n"
        try:
            assert self._process.stdin is not None
            self._process.stdin.write(task.encode())
            self._process.stdin.flush()
            answer = self._answer(time.monotonic() + timeout, timeout)
        except OSError as error:
            answer = {"error": f"its process has ended ({error})"}
        if "error" in answer:
            said = self._log.read_text(errors="replace").strip().splitlines()[-3:]
            self.close()
            raise BaselineFailed(
                f"{do} failed: {answer['error']}; last output: {' | '.join(said) or 'nothing'}"
            )
        with np.load(str(answer["arrays"])) as file:
            found = dict(file)
        path.unlink()
        Path(str(answer["arrays"])).unlink()
        facts = answer["done"]
        assert isinstance(facts, dict)
        return facts, found

    def close(self) -> None:
        """Ends the process. May be called twice."""
        self._end()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None
    ) -> None:
        self.close()

    def _answer(self, deadline: float, timeout: float) -> dict[str, object]:
        output = self._process.stdout
        assert output is not None
        with selectors.DefaultSelector() as selector:
            selector.register(output, selectors.EVENT_READ)
            while True:
                while b"\n" in self._received:
                    line, _, self._received = self._received.partition(b"\n")
                    answer: dict[str, object] = json.loads(line)
                    if "progress" not in answer:
                        return answer
                    self._say(str(answer["progress"]))
                if not selector.select(max(0.0, deadline - time.monotonic())):
                    return {"error": f"no answer within {timeout:g} s"}
                part = output.read1(65536)  # type: ignore[attr-defined]
                if not part:
                    return {"error": f"its process ended with status {self._process.wait(10)}"}
                self._received += part


def _thread_limits(threads: int) -> dict[str, str]:
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    return {name: str(threads) for name in names}


def _end(process: "subprocess.Popen[bytes]", folder: Path) -> None:
    process.kill()
    process.wait(10)
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            try:
                pipe.close()
            except BrokenPipeError:
                continue  # The process is gone, so what is not written yet has no reader.
    shutil.rmtree(folder, ignore_errors=True)
