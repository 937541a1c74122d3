"""The settings of the store."""

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator


class StoreSettings(BaseModel):
    """The connection to Valkey."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    addresses: tuple[str, ...] = Field(
        default=("127.0.0.1:6379",),
        min_length=1,
        description="host:port of the server and its replicas, or of some nodes of a cluster",
    )
    cluster: bool = Field(default=False, description="Whether the servers are a cluster")
    username: str | None = Field(default=None, description="User name, if the server needs one")
    password: SecretStr | None = Field(default=None, description="Password, unescaped")
    tls: bool = Field(default=False, description="Whether connections are encrypted")
    tls_ca_file: str | None = Field(default=None, description="Certificates to trust instead of the system's")
    database: int = Field(default=0, ge=0, description="Number of the logical database; not for a cluster")
    key_prefix: str = Field(
        default="recstream:",
        pattern=r"^[^{}]*$",
        max_length=64,
        description="Prefix of every key and channel, without braces",
    )
    request_timeout_ms: int = Field(default=500, ge=1, description="Longest wait for an answer")
    connection_timeout_ms: int = Field(default=1000, ge=1, description="Longest wait for a connection")
    reconnect_after_ms: int = Field(
        default=3000,
        ge=100,
        description="Time after which a connection on which every request fails is replaced",
    )
    probe_interval_ms: int = Field(
        default=500,
        ge=10,
        description="Interval between checks of the connection for announcements, in which a lost one is noticed",
    )

    @field_validator("addresses")
    @classmethod
    def _are_addresses(cls, addresses: tuple[str, ...]) -> tuple[str, ...]:
        for address in addresses:
            split_address(address)
        return addresses


def split_address(address: str) -> tuple[str, int]:
    """Splits `host:port` or `[v6]:port` into host and port. Raises ValueError."""
    host, _, port = address.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not host or not port.isdecimal() or not 0 < int(port) < 65_536:
        raise ValueError(f"{address!r} is not an address: write host:port, such as 127.0.0.1:6379")
    return host, int(port)
