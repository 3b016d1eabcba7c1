"""A configuration file for one test, and the parts of configurations."""

import re
from dataclasses import dataclass
from pathlib import Path

import pytest

from rotator.config import (
    Settings,
    load,
)
from rotator.errors import ConfigError

CANARY = "hvs.CanaryThatNobodyMayPrint01"
VAULT = '[vault]\naddress = "http://127.0.0.1:8200"\n'
DEFAULTS = "[defaults]\n"


def account(name: str, *lines: str, key: str = "", path: str = "") -> str:
    said = [f'name = "{name}"', f'api_key = "{key or "key" + name}"', f'path = "{path or "apps/" + name}"', *lines]
    return "\n".join(["[[accounts]]", *said, ""])


A, B = account("a"), account("b")
GOOD = VAULT + A + B


@dataclass
class ConfigFile:
    """A configuration file, and an environment that contains VAULT_TOKEN only."""

    file: Path
    monkeypatch: pytest.MonkeyPatch

    def load(self, text: str, **environment: str) -> Settings:
        self.file.write_text(text)
        for name, value in environment.items():
            self.monkeypatch.setenv(name, value)
        return load(self.file)

    def refusal(self, text: str, **environment: str) -> str:
        """What is said about a bad configuration, after the file's name: one line, whole, and without a secret."""
        with pytest.raises(ConfigError) as caught:
            self.load(text, **environment)
        message = str(caught.value)
        assert caught.value.exit_code == 2
        assert CANARY not in message
        assert caught.value.__cause__ is None
        assert caught.value.__context__ is None or caught.value.__suppress_context__, "a traceback would show more"
        lines = message.splitlines()
        assert len(lines) == 1, f"one mistake, {len(lines)} lines:\n{message}"
        assert message.isprintable()
        if not message.startswith(str(self.file)):
            return message
        return re.sub(r"^(:[0-9]+)?: ", "", message.removeprefix(str(self.file)))
