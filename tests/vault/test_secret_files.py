"""Files with the credentials of a login: what is read, and what is refused before Vault is asked."""

import os
from pathlib import Path

import pytest

from rotator.config import VaultAuth
from rotator.vault import VaultUnauthorized
from rotator.vault.login_methods import login_method

SECRET = "s.secret000001"


def auth(method: str, file: Path) -> VaultAuth:
    settings: dict[str, dict[str, object]] = {
        "approle": {"role_id": "r", "secret_id_file": file},
        "jwt": {"role": "r", "jwt_file": file},
        "kubernetes": {"role": "r", "jwt_file": file},
        "token_file": {"token_file": file},
    }
    return VaultAuth.model_validate({"method": method, **settings[method]})


METHODS = {
    "approle": ("secret_id", "secret_id_file"),
    "jwt": ("jwt", "jwt_file"),
    "kubernetes": ("jwt", "jwt_file"),
    "token_file": ("token", "token_file"),
}


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("text", [SECRET, SECRET + "\r\n", "\ufeff" + SECRET + "\n"])
def test_login_method_reads_the_line(method: str, text: str, tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_text(text)
    assert login_method(auth(method, file)).credentials()[METHODS[method][0]] == SECRET


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("kind", ["fifo", "device", "large", "missing", "lines", "blanks", "empty", "two words"])
def test_login_method_refuses_other_files_at_once(method: str, kind: str, tmp_path: Path) -> None:
    """A FIFO without a writer would block the session for ever, an endless file would fill the memory."""
    file = tmp_path / "secret"
    texts = {"lines": f"{SECRET}\n{SECRET}\n", "blanks": f" {SECRET}", "empty": "\n", "two words": f"{SECRET} x"}
    if kind == "fifo":
        os.mkfifo(file)
    elif kind == "device":
        file = Path("/dev/zero")
    elif kind == "large":
        file.write_text("x" * 100_000)
    elif kind in texts:
        file.write_text(texts[kind])
    with pytest.raises(VaultUnauthorized) as caught:
        login_method(auth(method, file)).credentials()
    message = str(caught.value)
    assert str(file) in message
    assert f"vault.auth.{METHODS[method][1]}" in message
    assert "Nothing was written" in message
    assert SECRET not in message
