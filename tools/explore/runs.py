"""The real interpreter, stopped right before each request that it sends."""

import inspect
import marshal
from collections.abc import Mapping
from contextlib import AbstractContextManager, ExitStack
from copy import copy
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Self, TypeVar
from unittest.mock import patch

from pydantic import SecretStr

import rotator
from rotator.core.protocol import Journal, Step
from rotator.documents import journal as documents
from rotator.documents import published
from rotator.errors import RotatorError
from rotator.provider import Balance, Credentials, SecretInfo
from rotator.rotation import Operator, Outcome, Result, Rotation, creation, state
from rotator.vault import Document
from testkit.model import START, Clock, ModelVault
from tools.explore.states import TICK, Request

T = TypeVar("T")
_ROTATOR = Path(rotator.__file__).parent


class Suspended(BaseException):
    """A run has come to a request that it has no answer to yet. Not an error that it could handle."""


class Run(Rotation):
    """The real interpreter, which also tells what it was about to do when it was stopped.

    Attributes:
        at_hand: The step that it does; None while it looks at Vault.
        adopts: The value and the id that it adopts before everything else; all of that is one step.
    """

    at_hand: Step | None = None
    adopts: tuple[str, str | None] | None = None
    _adopting = False

    def decide(self) -> Step:
        """Return the next step."""
        self.at_hand = super().decide()
        return self.at_hand

    def step(self) -> Outcome | None:
        """Do one thing."""
        if self.adopts is None:
            return super().step()
        (value, id_), self.adopts, self._adopting = self.adopts, None, True
        try:
            Operator(self).adopt(SecretStr(value), id_, replace_working=True)
        except RotatorError as error:
            return Outcome(self.account.name, Result.FAILED, reason=error.code.value, error=str(error))
        finally:
            self._adopting = False
        return None

    def snapshot(self) -> Self:
        """Return a copy that continues on its own."""
        return _copied(self, {})

    def run(self) -> Outcome:
        """Do whatever there is to do; for an adoption that comes later, step by step."""
        return Outcome(self.account.name, Result.OK) if self._adopting else super().run()


def _copied(part: T, copies: dict[int, Any]) -> T:
    """Copy a run with its parts and their collections; the parts share only what is immutable."""
    if isinstance(part, (dict, set)):
        return copy(part)
    kind = type(part)
    if not _COPIED[kind]:
        return part
    if id(part) not in copies:
        copies[id(part)] = copied = kind.__new__(kind)
        values = vars(part).items()
        vars(copied).update({name: _copied(of, copies) if _COPIED[type(of)] else of for name, of in values})
    found: T = copies[id(part)]
    return found


class _Copied(dict[type, bool]):
    """Whether an object of a class can change while a run continues; asked for millions of times."""

    def __missing__(self, kind: type) -> bool:
        self[kind] = issubclass(kind, (dict, set)) or kind is Run or kind.__module__.startswith("rotator.rotation.")
        return self[kind]


_COPIED = _Copied()


class Versions(ModelVault):
    """A Vault whose versions tell one from another by their numbers alone."""

    def __init__(self, clock: Clock | None = None, *, tells_time: bool = True) -> None:
        super().__init__(clock or Clock())
        self._tells_time = tells_time
        self._equal: dict[bytes, dict[str, Any]] = {}

    def peek(self, path: str, version: int | None = None) -> Document:
        """What stands there. It is not copied: nobody changes it, and equal journals are parsed once."""
        document = super().peek(path, version)
        if not self._tells_time:
            document = replace(document, read_at=None)
        return document if document.data is None else replace(document, data=self.versions[path][document.version - 1])

    def write(self, path: str, data: Mapping[str, Any], cas: int) -> int:
        """Write a version. Equal ones are one object, by whose id what was computed before is found."""
        version = super().write(path, data, cas)
        versions = self.versions[path]
        versions[-1] = self._equal.setdefault(marshal.dumps(versions[-1], 2), versions[-1])
        return version

    def _created(self, version: dict[str, Any]) -> datetime:
        return START


class Desk:
    """What a run sees of the world: it repeats what was told before, and stops the run at what is new."""

    def __init__(self) -> None:
        self.told: list[Any] = []
        self.at = 0
        self.now = START
        self.chosen = 0
        self.pending: Request | None = None
        self.looks_at_frames = False
        self.frames: tuple[tuple[str, int, dict[str, Any]], ...] = ()

    def patched(self) -> AbstractContextManager[Any]:
        """New values and names come from here meanwhile."""
        with ExitStack() as stack:
            named = SimpleNamespace(token_hex=self.name)
            stack.enter_context(patch.multiple(creation, generate=self.generate, secrets=named, register_secret=_keep))
            stack.enter_context(patch.object(published, "register_secret", _keep))
            stack.enter_context(patch.object(documents, "parse_journal", _parse))
            stack.enter_context(patch.object(state, "render_journal", _render))
            return stack.pop_all()

    def _again(self) -> bool:
        self.at += 1
        return self.at <= len(self.told)

    def _ask(self, name: str, *args: Any) -> Any:
        if not self._again():
            looks = (told for told in reversed(self.told) if isinstance(told, datetime))
            self.pending = Request(name, args, next(looks, self.now))
            self.frames = _frames() if self.looks_at_frames else ()
            raise Suspended
        answer = self.told[self.at - 1]
        if answer.error is not None:
            raise _copy_of(answer.error)
        return answer.value

    def clock(self) -> datetime:
        if not self._again():
            self.told.append(self.now)
        at: datetime = self.told[self.at - 1]
        return at

    def generate(self, recipe: object) -> SecretStr:
        if not self._again():
            self.chosen += 1
            self.told.append(SecretStr(f"Candidate{self.chosen:03}"))
        value: SecretStr = self.told[self.at - 1]
        return value

    def name(self, size: int) -> str:
        """A rotation's id."""
        if not self._again():
            self.told.append(f"rotation-{self.chosen}")
        name: str = self.told[self.at - 1]
        return name

    def wait(self, delay: timedelta) -> bool:
        """Until the next tick after that; an instant that the interpreter lets pass on purpose is none."""
        ticks = -(-(delay - timedelta(milliseconds=5)) // TICK)
        return bool(self._ask("wait", self.now + ticks * TICK)) if ticks > 0 else False

    def list_secrets(self, auth: Credentials, api_key: str) -> tuple[SecretInfo, ...]:
        infos: tuple[SecretInfo, ...] = self._ask("list_secrets", auth, api_key)
        return infos

    def create_secret(self, auth: Credentials, api_key: str, secret: SecretStr) -> SecretInfo:
        info: SecretInfo = self._ask("create_secret", auth, api_key, secret)
        return info

    def revoke_secret(self, auth: Credentials, api_key: str, secret_id: str) -> str:
        self._ask("revoke_secret", auth, api_key, secret_id)
        return ""

    def get_balance(self, auth: Credentials) -> Balance:
        raise AssertionError("nobody wants the balance")

    def read(self, path: str, version: int | None = None) -> Document:
        document: Document = self._ask("read", path, version)
        return document

    def write(self, path: str, data: Mapping[str, Any], cas: int) -> int:
        version: int = self._ask("write", path, data, cas)
        return version

    def keep_versions(self, path: str, count: int) -> bool:
        return False


def _frames() -> tuple[tuple[str, int, dict[str, Any]], ...]:
    """Return the functions of rotator that are being executed."""
    found, frame = [], inspect.currentframe()
    while frame is not None:
        if Path(frame.f_code.co_filename).is_relative_to(_ROTATOR):
            found.append((frame.f_code.co_qualname, frame.f_lasti, dict(frame.f_locals)))
        frame = frame.f_back
    return tuple(found)


class Silence:
    """Nobody reads the logs of millions of runs."""

    def bind(self, **_: Any) -> "Silence":
        return self

    def info(self, *_: Any, **__: Any) -> None: ...

    debug = warning = error = info


# --- journals: each is parsed and rendered once, as it stands in very many states -------------------------------

_MOST = 100_000
_PARSED: dict[int, tuple[Mapping[str, Any], Journal]] = {}
_RENDERED: dict[Journal, dict[str, Any]] = {}
_PARSE, _RENDER = documents.parse_journal, documents.render_journal


def _keep(secret: SecretStr, *, passing: bool) -> SecretStr:
    return secret


def plain(value: Any) -> Any:
    """Return a value as Vault stores it."""
    return value.get_secret_value() if isinstance(value, SecretStr) else value


def parsed(data: Mapping[str, Any]) -> Journal:
    """Return a version of the journal."""
    if id(data) not in _PARSED:
        if len(_PARSED) > _MOST:
            _PARSED.clear()
        _PARSED[id(data)] = data, _PARSE(Document(1, {key: plain(value) for key, value in data.items()}))
    return _PARSED[id(data)][1]


def _parse(document: Document) -> Journal:
    return _PARSE(document) if document.data is None else parsed(document.data)


def _render(journal: Journal) -> dict[str, Any]:
    if journal not in _RENDERED:
        if len(_RENDERED) > _MOST:
            _RENDERED.clear()
        _RENDERED[journal] = _RENDER(journal)
    return _RENDERED[journal]


def _copy_of(error: Exception) -> Exception:
    """The same error for one repetition of a step: a run adds to it what it left unchanged, and what to do."""
    same = type(error).__new__(type(error), *error.args)
    same.__dict__.update(error.__dict__)
    return same
