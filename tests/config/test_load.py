"""Which configuration is read, how its text is encoded, and files that it names."""

import os
from pathlib import Path

import pytest
import structlog

from rotator.config import (
    find_file,
    load,
    warn_of_open_files,
)
from rotator.errors import ConfigError
from tests.config.config_file import GOOD, VAULT, A, ConfigFile


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_load_reads_text_with_a_byte_order_mark(config_file: ConfigFile, encoding: str) -> None:
    config_file.file.write_bytes(GOOD.replace("\n", "\r\n").encode(encoding))
    assert load(config_file.file) == config_file.load(GOOD)


def test_load_refuses_utf16_without_a_byte_order_mark(config_file: ConfigFile) -> None:
    config_file.file.write_bytes(GOOD.encode("utf-16-le"))
    with pytest.raises(ConfigError, match="is not valid TOML"):
        load(config_file.file)


def test_load_refuses_a_missing_file(config_file: ConfigFile) -> None:
    with pytest.raises(ConfigError) as caught:
        load(config_file.file)
    next_step = "Name the configuration file: --config FILE, or ROTATOR_CONFIG."
    assert str(caught.value) == f"{config_file.file} cannot be read: No such file or directory. {next_step}"
    assert caught.value.exit_code == 2


def test_load_refuses_a_binary_file(config_file: ConfigFile) -> None:
    config_file.file.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="is not valid TOML"):
        load(config_file.file)


def test_load_refuses_a_number_of_many_digits(config_file: ConfigFile) -> None:
    """Python reads no number of more than 4300 digits."""
    assert config_file.refusal(GOOD + f"every = {'1' * 5000}\n") == " contains a number of too many digits."


@pytest.mark.parametrize("key", ["audit.file", "vault.auth.token_file", "vault.ca_cert"])
def test_load_refuses_a_file_name_with_nul(config_file: ConfigFile, key: str) -> None:
    section, _, name = key.rpartition(".")
    base = VAULT if section == "vault" else f"{VAULT}[{section}]\n"
    refusal = config_file.refusal(f'{base}{name} = "a\\u0000b"\n{A}')
    assert refusal == f"{key}: contains a NUL character, and no name of a file does."


def test_load_refuses_a_folder(config_file: ConfigFile, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read: Is a directory"):
        load(tmp_path)


def test_find_file_prefers_option_then_variable_then_folder(config_file: ConfigFile) -> None:
    with pytest.raises(ConfigError, match="There is no configuration") as caught:
        find_file(None)
    assert "config.example.toml" in str(caught.value)
    config_file.file.write_text(GOOD)
    assert find_file(None).resolve() == config_file.file
    config_file.monkeypatch.setenv("ROTATOR_CONFIG", "/elsewhere.toml")
    assert find_file(None) == Path("/elsewhere.toml")
    assert find_file(Path("option.toml")) == Path("option.toml")


def test_load_refuses_a_fifo_as_token_file(config_file: ConfigFile, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "token")
    auth = "[vault.auth]\nmethod = 'token_file'\ntoken_file = 'token'\n"
    assert config_file.refusal(VAULT + auth + A) == "token is not a regular file."


def test_warn_of_open_files_names_each_file(config_file: ConfigFile, tmp_path: Path) -> None:
    for name, mode in (("audit", 0o666), ("token", 0o646), ("id", 0o644)):
        (tmp_path / name).touch()
        (tmp_path / name).chmod(mode)
    auth = "[vault.auth]\ntoken_file = 'token'\nsecret_id_file = 'id'\n[audit]\nfile = 'audit'\n"
    with structlog.testing.capture_logs() as logs:
        warn_of_open_files(config_file.load(VAULT + auth + A))
    assert [log["file"] for log in logs] == ["audit", "token", "id"]
