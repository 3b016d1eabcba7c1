"""tools/private_names.py finds private names of other modules, and no others."""

import pytest

from tools.private_names import uses


@pytest.mark.parametrize(
    "source",
    [
        "from rotator.core import _rule",
        "from rotator._core import rule",
        "import rotator._core",
        "rotation._state",
        "Rotation(account)._state",
        "rotation._state = None",
        "import audited\ndef _state(): audited._state",
        "class Faulty(Client):\n    def send(self): return self._state",
        "getattr(rotation, '_state')",
        "monkeypatch.setattr(rotation, '_state', None)",
        "monkeypatch.setattr('rotator.rotation.run._state', None)",
    ],
)
def test_uses_finds_a_private_name_of_another_module(source: str) -> None:
    [(line, _)] = uses(source)
    assert line == len(source.splitlines())


@pytest.mark.parametrize(
    "source",
    [
        "from __future__ import annotations",
        "from rotator.core import rule as _rule",
        "import os\nos._exit(0)",
        "state._replace(now=now)",
        "type(self).__name__",
        "for _ in range(3): pass",
        "class Run:\n    def __init__(self): self._state = 1\n    def copy(self, other): other._state = self._state",
        "class Run:\n    _state: int = 1\n    def __eq__(self, other): return self._state == other._state",
        "def _rule(): return _rule",
        "getattr(rotation, 'state')",
    ],
)
def test_uses_accepts_own_and_documented_names(source: str) -> None:
    assert list(uses(source)) == []
