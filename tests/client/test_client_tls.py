"""TLS: the channel trusts the given authorities, and presents its own certificate if the server asks for one."""

import shutil
import subprocess
from pathlib import Path

import grpc
import grpc.aio
import pytest

from recstream.client import Backoff, Client, Unavailable, tls
from recstream.v1 import recommendation_service_pb2_grpc
from recstream.v1.recommendation_service_pb2 import RecommendRequest, RecommendResponse
from tests.client.scripted_server import slate


@pytest.fixture
def certificate(tmp_path: Path) -> tuple[Path, Path]:
    """Returns a self-signed certificate for localhost, and its key."""
    if shutil.which("openssl") is None:
        pytest.skip("the openssl command, which makes the test's certificate, is not there")
    pem, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    subprocess.run(
        [
            *(
                "openssl",
                "req",
                "-x509",
                "-newkey",
                "ec",
                "-pkeyopt",
                "ec_paramgen_curve:prime256v1",
                "-nodes",
            ),
            *("-keyout", key, "-out", pem, "-days", "2", "-subj", "/CN=localhost"),
            *("-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"),
        ],
        check=True,
        capture_output=True,
    )
    return pem, key


class Lists(recommendation_service_pb2_grpc.RecommendationServiceServicer):
    """Answers one list."""

    async def Recommend(self, request: RecommendRequest, context: object) -> RecommendResponse:
        return RecommendResponse(slate=slate("a"))


@pytest.mark.parametrize("mutual", [False, True], ids=["server's certificate", "both certificates"])
async def test_tls(certificate: tuple[Path, Path], mutual: bool):
    pem, key = certificate
    server = grpc.aio.server()
    recommendation_service_pb2_grpc.add_RecommendationServiceServicer_to_server(Lists(), server)
    pair = (key.read_bytes(), pem.read_bytes())
    credentials = grpc.ssl_server_credentials([pair], pem.read_bytes() if mutual else None, mutual)
    port = server.add_secure_port("127.0.0.1:0", credentials)
    await server.start()
    quick = Backoff(0.01, 0.02)
    try:
        trusting = tls(pem, certificate=pem, key=key) if mutual else tls(pem.read_bytes())
        async with Client(f"127.0.0.1:{port}", credentials=trusting) as client:
            assert (await client.recommend("ann")).item_ids == ("a",)
        for wrong in (tls(), None):
            async with Client(f"127.0.0.1:{port}", credentials=wrong, retries=0, backoff=quick) as client:
                with pytest.raises(Unavailable):
                    await client.recommend("ann", timeout=5)
    finally:
        await server.stop(None)
