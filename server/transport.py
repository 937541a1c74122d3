"""The gRPC server itself: its limits, its keepalive, its port."""

import grpc

from server.settings import ServerSettings

_MANY = 100_000
_MAX_SEND_BYTES = 4 << 20


def grpc_server(settings: ServerSettings) -> grpc.aio.Server:
    """A server without services.

    gRPC by itself turns calls away at random once 1,000 wait for a handler; admission does that here, with a clear
    status, so both of its limits are out of the way. No message of ours comes near 4 MiB, what clients take unless
    told otherwise.
    """
    return grpc.aio.server(
        options=[
            ("grpc.so_reuseport", int(settings.reuse_port)),
            ("grpc.server.max_pending_requests", _MANY),
            ("grpc.server.max_pending_requests_hard_limit", _MANY),
            ("grpc.max_receive_message_length", settings.max_request_bytes),
            ("grpc.max_send_message_length", _MAX_SEND_BYTES),
            ("grpc.keepalive_time_ms", int(settings.keepalive_seconds * 1000)),
            ("grpc.keepalive_timeout_ms", int(settings.keepalive_timeout_seconds * 1000)),
            ("grpc.keepalive_permit_without_calls", 1),
            ("grpc.http2.min_ping_interval_without_data_ms", int(settings.client_ping_seconds * 1000)),
        ]
    )


def listen(server: grpc.aio.Server, settings: ServerSettings) -> int:
    """Takes the port, and returns which one it is. Raises OSError where it is not to be had."""
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
