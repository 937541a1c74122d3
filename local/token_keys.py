"""The key that this machine's server seals tokens with: made once, and kept in the data folder."""

import base64
import os
import secrets
from pathlib import Path
from typing import Final

from pydantic import SecretStr

_BYTES: Final = 32


def stored_token_keys(file: Path) -> SecretStr:
    """Return the keys in a file. If it does not exist, write it with a new key. Only its owner can read it.

    Tokens so stay valid when the server is started again. To change the key, put a new one with another number before
    it, separated by a comma.
    """
    try:
        return SecretStr(file.read_text("ascii").strip())
    except FileNotFoundError:
        keys = f"1:{base64.b64encode(secrets.token_bytes(_BYTES)).decode()}"
    draft = file.with_suffix(".new")
    draft.unlink(missing_ok=True)
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as opened:
        opened.write(keys + "\n")
    draft.rename(file)
    return SecretStr(keys)
