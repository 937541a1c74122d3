"""The gRPC server: its limits, its keepalive and its port."""

import grpc

from server.requests.unknown_fields import CountUnknownFields
from server.settings import ServerSettings

_MANY = 100_000
_HOUR_SECONDS = 3600
_MAX_SEND_BYTES = 4 << 20


def grpc_server(settings: ServerSettings) -> grpc.aio.Server:
    """Return a gRPC server without services.

    By default gRPC refuses calls at random once 1,000 wait for a handler, and cancels those that have waited for 30
    seconds. All three limits are raised, because `Admission` refuses calls with a clear status instead.

    No message of the server comes near 4 MiB, the default limit of clients.
    """
    return grpc.aio.server(
        interceptors=[CountUnknownFields()],
        options=[
            ("grpc.so_reuseport", int(settings.reuse_port)),
            ("grpc.server.max_pending_requests", _MANY),
            ("grpc.server.max_pending_requests_hard_limit", _MANY),
            ("grpc.server_max_unrequested_time_in_server", _HOUR_SECONDS),
            ("grpc.max_receive_message_length", settings.max_request_bytes),
            ("grpc.max_send_message_length", _MAX_SEND_BYTES),
            ("grpc.keepalive_time_ms", int(settings.keepalive_seconds * 1000)),
            ("grpc.keepalive_timeout_ms", int(settings.keepalive_timeout_seconds * 1000)),
            ("grpc.keepalive_permit_without_calls", 1),
            # Its streams may end in their own time, because each of them is sent away at about the same age.
            ("grpc.max_connection_age_ms", int(settings.stream_max_age_seconds * 1000)),
            ("grpc.http2.min_ping_interval_without_data_ms", int(settings.client_ping_seconds * 1000)),
        ],
    )


def listen(server: grpc.aio.Server, settings: ServerSettings) -> int:
    """Bind the port, and return its number.

    Raises:
        OSError: The port is taken.
    """
    address = (
        f"{settings.host}:{settings.port}"
        if ":" not in settings.host
        else f"[{settings.host}]:{settings.port}"
    )
    try:
        port = server.add_insecure_port(address)
    except RuntimeError as error:
        raise OSError(f"cannot listen on {address}: {error}") from error
    if port == 0:
        raise OSError(f"cannot listen on {address}: is the port taken?")
    return port
