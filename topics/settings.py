"""The settings of Kafka and its topics."""

import ssl
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, SecretStr, model_validator

from topics.names import Topics

SecurityProtocol = Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"]
SaslMechanism = Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"]


class KafkaSettings(BaseModel):
    """The Kafka cluster and the topics on it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    bootstrap: str = Field(
        "127.0.0.1:9092",
        min_length=1,
        description="Brokers to connect to first: host:port, separated by commas",
    )
    topic_prefix: str = Field(
        "", pattern=r"^[A-Za-z0-9._-]{0,200}$", description="Prefix of every topic's name"
    )
    partitions: int = Field(6, ge=1, le=10_000, description="Number of partitions of created topics")
    replication: int = Field(1, ge=1, le=32_767, description="Number of replicas of created topics")
    item_changes_days: float = Field(
        30,
        gt=0,
        le=36_500,
        description="How long changes of items and deletions are kept, in days. A change that arrives later than that "
        "may bring a deleted item back",
    )
    client_id: str = Field("recstream", min_length=1, description="Name of this process in Kafka's logs")
    request_timeout_ms: int = Field(
        15_000,
        ge=100,
        le=600_000,
        description="Longest wait for a broker's answer, in milliseconds",
    )
    security_protocol: SecurityProtocol = Field("PLAINTEXT", description="How connections are secured")
    sasl_mechanism: SaslMechanism = Field("PLAIN", description="How username and password are sent")
    username: str | None = Field(None, description="User name for the SASL protocols")
    password: SecretStr | None = Field(None, description="Password for the SASL protocols")
    ssl_ca_file: Path | None = Field(None, description="Certificates to trust, PEM. None: the system's")
    ssl_certificate_file: Path | None = Field(None, description="This client's certificate, PEM")
    ssl_key_file: Path | None = Field(None, description="Key of this client's certificate, PEM")

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if self.security_protocol.startswith("SASL") and (self.username is None or self.password is None):
            raise ValueError(f"{self.security_protocol} needs username and password")
        if self.ssl_key_file is not None and self.ssl_certificate_file is None:
            raise ValueError("ssl_key_file needs ssl_certificate_file")
        return self

    @property
    def topics(self) -> Topics:
        """The names of the topics."""
        return Topics(self.topic_prefix)

    def client_options(self) -> dict[str, Any]:
        """Keyword arguments for aiokafka clients. Raises OSError, such as ssl.SSLError, if a certificate cannot be
        read."""
        options: dict[str, Any] = {
            "bootstrap_servers": [server.strip() for server in self.bootstrap.split(",")],
            "client_id": self.client_id,
            "request_timeout_ms": self.request_timeout_ms,
            "security_protocol": self.security_protocol,
        }
        if self.security_protocol.endswith("SSL"):
            context = ssl.create_default_context(cafile=self.ssl_ca_file)
            if self.ssl_certificate_file is not None:
                context.load_cert_chain(self.ssl_certificate_file, self.ssl_key_file)
            options["ssl_context"] = context
        if self.security_protocol.startswith("SASL") and self.password is not None:
            options["sasl_mechanism"] = self.sasl_mechanism
            options["sasl_plain_username"] = self.username
            options["sasl_plain_password"] = self.password.get_secret_value()
        return options

    def admin_options(self) -> dict[str, str | int | float | bool]:
        """The configuration of confluent_kafka clients."""
        options: dict[str, str | int | float | bool] = {
            "bootstrap.servers": self.bootstrap,
            "client.id": self.client_id,
            "socket.timeout.ms": self.request_timeout_ms,
            "security.protocol": self.security_protocol.lower(),
            # librdkafka would write to stderr. Errors are raised as exceptions anyway.
            "log_level": 0,
        }
        if self.security_protocol.endswith("SSL"):
            files = {
                "ssl.ca.location": self.ssl_ca_file,
                "ssl.certificate.location": self.ssl_certificate_file,
                "ssl.key.location": self.ssl_key_file,
            }
            options |= {name: str(path) for name, path in files.items() if path is not None}
        if self.security_protocol.startswith("SASL") and self.password is not None:
            options["sasl.mechanism"] = self.sasl_mechanism
            options["sasl.username"] = self.username or ""
            options["sasl.password"] = self.password.get_secret_value()
        return options
