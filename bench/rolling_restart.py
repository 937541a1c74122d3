"""How long users of open streams get no updates during a rolling restart of all servers.

    bin/bench rolling_restart [--streams 500] [--every 20] [--pre-stop 20] [--drain 10]

Starts the whole system with a small model, and two servers that are configured like those of the chart. Needs helm on
PATH. Each user likes the first item of the list at intervals, and whenever the stream breaks. A gap is the time from
the acceptance of an event to the list that includes it. The figure of a stream is its longest gap. Measures first
without a restart, then during one. Prints one JSON document.
"""

import argparse
import asyncio
import json
import os
import platform
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import uvloop

from configuration.settings import Settings
from local.stack import Stack
from tests.drills.rolling_world import Deployment, longest, viewers
from tests.drills.world import ITEMS, fill
from tests.models.tiny_bundle import build


def figures(gaps: Iterable[float]) -> dict[str, float]:
    """Returns percentiles of gaps, in milliseconds."""
    found = np.array(list(gaps)) * 1000
    p50, p99 = np.percentile(found, (50, 99))
    return {"p50_ms": round(p50), "p99_ms": round(p99), "max_ms": round(found.max())}


async def measure(arguments: argparse.Namespace, folder: Path) -> dict[str, object]:
    """Measures the same users, first while the servers run undisturbed, then while they are replaced."""
    stack = Stack(Settings(bundle=build(folder / "bundle", ITEMS)), folder / "stack")
    async with stack:
        await fill(stack)
        await stack.stop_part("server")
        values = {"preStopSeconds": arguments.pre_stop, "drainSeconds": arguments.drain}
        async with (
            Deployment.running(stack, folder / "pods", **values) as deployment,
            viewers(deployment.target, arguments.streams, arguments.every) as watched,
        ):
            await asyncio.sleep(10)  # until all users have a list
            quiet = time.monotonic()
            await asyncio.sleep(arguments.quiet)
            begun = time.monotonic()
            await deployment.roll()
            await asyncio.sleep(5)
            ended = time.monotonic()
        return {
            "streams": len(watched),
            "errors": sum(len(viewer.errors) for viewer in watched),
            "breaks": sum(len(viewer.breaks) for viewer in watched),
            "events": sum(len(viewer.gaps) for viewer in watched),
            "restart_seconds": round(ended - begun, 1),
            "left": [(pod.process.exit_code, round(pod.left_seconds or -1, 1)) for pod in deployment.gone],
            "alone": figures(longest(watched, quiet, begun)),
            "restart": figures(longest(watched, begun, ended)),
            "all_events": {
                "alone": figures(g for v in watched for at, g in v.gaps if quiet <= at < begun),
                "restart": figures(g for v in watched for at, g in v.gaps if begun <= at < ended),
            },
            "machine": f"{os.cpu_count()} cores, {platform.machine()}",
        }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--streams", type=int, default=500)
    parser.add_argument("--every", type=float, default=20, help="seconds between the events of a user")
    parser.add_argument("--quiet", type=float, default=40, help="seconds to measure before the restart")
    parser.add_argument("--pre-stop", type=int, default=20, help="the chart's server.preStopSeconds")
    parser.add_argument("--drain", type=float, default=10, help="the chart's server.drainSeconds")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        print(json.dumps(uvloop.run(measure(arguments, Path(folder)))))


if __name__ == "__main__":
    main()
