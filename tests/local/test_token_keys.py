"""The key that `recstream up` makes for its server."""

from pathlib import Path

from configuration.settings import Settings, environment_of
from local.stack import Stack
from local.token_keys import stored_token_keys
from server.settings import ServerSettings
from server.tokens.keys import parse_keys


def test_a_key_is_made_once_and_only_its_owner_can_read_it(tmp_path: Path) -> None:
    file = tmp_path / "token-keys"
    (tmp_path / "token-keys.new").write_text("left by a crash")
    made = stored_token_keys(file)
    assert file.stat().st_mode & 0o777 == 0o600
    assert stored_token_keys(file) == made != stored_token_keys(tmp_path / "another")
    (key,) = parse_keys(made.get_secret_value())
    assert len(key.secret) == 32 and ServerSettings(token_keys=made).token_keys == made


def test_the_server_gets_the_key_of_the_folder_or_that_of_the_settings(
    tmp_path: Path,
) -> None:
    given = "7:c2VjcmV0IHNlY3JldCBzZWNyZXQ="
    for settings, expected in (
        (Settings(), None),
        (Settings(server=ServerSettings(token_keys=given)), given),  # type: ignore[arg-type]
    ):
        stack = Stack(settings, tmp_path, kafka="k:1", valkey="v:1", triton="t:1")
        found = stack._services()["server"]._settings["RECSTREAM_SERVER__TOKEN_KEYS"]
        assert found == (expected or (tmp_path / "token-keys").read_text().strip())
        assert "RECSTREAM_SERVER__TOKEN_KEYS" not in environment_of(stack.settings) or expected
