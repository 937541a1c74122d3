"""The images' health check, `probe.py server|ingest|triton`: exits with status 0 if that process is ready.

The port is a setting: from the environment, from the file that RECSTREAM_CONFIG names, or the default. The check does
not see a port that `--set` sets on the command line of another process.
"""

import os
import sys
from http.client import HTTPConnection, HTTPException

_HOST = "127.0.0.1"
_SECONDS = 4.0
SERVER_PORT = 50051
INGEST_PORT = 9100
TRITON_HTTP_PORT = 8000


def main(role: str) -> str:
    """Returns what is wrong. Empty: the process is ready."""
    if role == "server":
        return grpc_health(_port("server", "port", SERVER_PORT))
    if role == "ingest":
        return http(_port("ingest", "health_port", INGEST_PORT), "/readyz")
    if role == "triton":
        return http(TRITON_HTTP_PORT, "/v2/health/ready")
    return f"{role}: expected server, ingest or triton"


def http(port: int, path: str) -> str:
    """Returns the answer of an HTTP endpoint. Empty: status 200."""
    connection = HTTPConnection(_HOST, port, timeout=_SECONDS)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        said = answer.read(2000).decode(errors="replace").strip()
    except (OSError, HTTPException) as error:
        return f"{_HOST}:{port}{path}: {error}"
    finally:
        connection.close()
    return "" if answer.status == 200 else f"{_HOST}:{port}{path}: {answer.status} {said}"


def grpc_health(port: int) -> str:
    """Returns the answer of grpc.health.v1 for the whole server. Empty: SERVING."""
    import grpc  # the checks of ingest and Triton do not need it
    from grpc_health.v1 import health_pb2, health_pb2_grpc

    with grpc.insecure_channel(f"{_HOST}:{port}") as channel:
        try:
            answer = health_pb2_grpc.HealthStub(channel).Check(
                health_pb2.HealthCheckRequest(), timeout=_SECONDS
            )
        except grpc.RpcError as error:
            return f"{_HOST}:{port}: {error.code().name}: {error.details()}"
    if answer.status == health_pb2.HealthCheckResponse.SERVING:
        return ""
    return f"{_HOST}:{port}: {health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status)}"


def _port(room: str, name: str, default: int) -> int:
    if os.environ.get("RECSTREAM_CONFIG"):
        root = os.path.dirname(os.path.abspath(__file__))
        sys.path[:0] = [root, os.path.join(root, "protos")]
        from configuration.settings import load_settings

        return int(getattr(getattr(load_settings(), room), name))
    return int(os.environ.get(f"RECSTREAM_{room}__{name}".upper()) or default)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1] if len(sys.argv) == 2 else "") or 0)
