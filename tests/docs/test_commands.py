"""Every command of the documentation runs, or is listed in commands.toml with the reason why it does not."""

import re
import sys
import tomllib
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest

from rotator.demo import OpenBao
from rotator.emulator import Emulator, Profile, running
from testkit.cluster import Cluster
from tests.cli.harness import Here, here
from tests.docs.commands import ROOT, Command, commands, pages
from tests.docs.playground import (
    WRAPPED,
    Playground,
    Situation,
    with_refused_secret,
    with_rotated_audit_log,
    with_unknown_secret,
    without_adoption,
)

__all__ = ["here"]
TABLES = tomllib.loads((Path(__file__).parent / "commands.toml").read_text())
COMMANDS = [command for page in pages() for command in commands(page)]
SHOWN = [command for command in COMMANDS if not command.inline]
SITUATIONS: dict[str, Situation] = {
    "README.md": without_adoption,
    "docs/production.md": without_adoption,
    "docs/runbooks/RotatorAccountAmbiguous.md": with_unknown_secret,
    "docs/runbooks/RotatorCredentialsRefused.md": with_refused_secret,
    "docs/security.md": with_rotated_audit_log,
}
_NAMESPACES = count(1)


def listed(table: str, text: str) -> str | None:
    """The longest key of a table that a command begins with. A key with $ at its end is the whole command."""
    keys = (key for key in TABLES[table] if begins(text, key))
    return max(keys, key=len, default=None)


def bare(text: str) -> str:
    """A command without the `kubectl exec` or `docker compose exec` around it."""
    return WRAPPED.sub("", text)


def begins(text: str, key: str) -> bool:
    return text == key[:-1] if key.endswith("$") else bool(re.match(re.escape(key) + r"(?![\w-])", text))


def is_name(command: Command) -> bool:
    """Whether a sentence only names a program's subcommand, such as `kubectl scale`, and says no command to type."""
    return command.inline and bool(re.fullmatch(r"[a-z]+ [a-z-]+", command.text))


def is_run(command: Command) -> bool:
    return not any(listed(table, bare(command.text)) for table in ("not_run", "elsewhere"))


def typed(text: str) -> str:
    """The command that runs here for a command of a page."""
    if short := listed("short", text):
        return str(TABLES["short"][short]).replace("{rest}", text.removeprefix(short))
    answer = listed("answers", bare(text))
    return f"{text} {TABLES['answers'][answer]}" if answer else text


def in_sentences() -> list[Command]:
    """The commands in sentences and tables, each once, without those that a block shows as well."""
    shown = {command.text for command in SHOWN}
    once = {command.text: command for command in COMMANDS if command.inline and command.text not in shown}
    return [command for command in once.values() if is_run(command) and not is_name_elsewhere(command)]


def is_name_elsewhere(command: Command) -> bool:
    """Whether a sentence names the beginning of a command that a block shows in full."""
    return any(f"{shown.text} ".startswith(f"{command.text} ") for shown in SHOWN)


@pytest.fixture
def cluster(bao: OpenBao, tmp_path: Path) -> Iterator[Cluster]:
    """A namespace of OpenBao whose KV mount has the name that the documentation uses."""
    emulator = Emulator([], profile=Profile(auto_reload=True))
    namespace = f"docs{next(_NAMESPACES)}"
    with running(emulator) as url:
        made = Cluster(bao, emulator, url, tmp_path, mount=f"{namespace}/secret")
        made.base = {
            "vault": {"mount": "secret", "namespace": namespace},
            "account_api": {"api_url": url, "rest_url": url, "timeout": "20s", "consistency_window": "50ms"},
        }
        made.vault("POST", f"sys/namespaces/{namespace}", {})
        made.vault("POST", f"{namespace}/sys/mounts/secret", {"type": "kv", "options": {"version": "2"}})
        made.await_mount()
        yield made
        if made.outputs:
            made.assert_nothing_leaked()


@pytest.fixture
def playground(cluster: Cluster, here: Here, monkeypatch: pytest.MonkeyPatch) -> Playground:
    monkeypatch.chdir(cluster.folder)
    made = Playground(cluster, here, cluster.mount.partition("/")[0], TABLES["placeholders"])
    made.set_up()
    return made


def run_all(playground: Playground, chosen: list[Command]) -> None:
    failures = []
    codes = {page: {text: list(each) for text, each in of.items()} for page, of in TABLES["exit_codes"].items()}
    for command in chosen:
        left = codes.get(command.page, {}).get(command.text)
        expected = left.pop(0) if left else 0
        code, output = playground.run(typed(command.text))
        if code != expected:
            failures.append(f"{command}\n  ended with {code}, not {expected}:\n{output[-4000:]}")
    assert not failures, "\n\n".join(failures)


@pytest.mark.parametrize("page", sorted({command.page for command in SHOWN if is_run(command)}))
def test_page_shows_commands_that_run(page: str, playground: Playground) -> None:
    if situation := SITUATIONS.get(page):
        situation(playground)
    run_all(playground, [command for command in SHOWN if command.page == page and is_run(command)])


def test_sentences_name_commands_that_run(playground: Playground) -> None:
    run_all(playground, in_sentences())


def test_unrunnable_commands_stay_under_a_tenth(capsys: pytest.CaptureFixture[str]) -> None:
    texts = {command.text: command for command in COMMANDS}
    names = [text for text, command in texts.items() if listed("not_run", bare(text)) and is_name(command)]
    for name in names:
        del texts[name]
    not_run = [command for text, command in texts.items() if listed("not_run", bare(text))]
    elsewhere = [text for text in texts if listed("elsewhere", text)]
    short = [
        text for text, command in texts.items() if is_run(command) and listed("short", text) and typed(text) != text
    ]
    with capsys.disabled():
        sys.stdout.write(
            f"\n{len(texts)} commands in {len(pages())} pages: {len(texts) - len(not_run) - len(short)} run as written "
            f"({len(elsewhere)} of them in other tests), {len(short)} in a short form, {len(not_run)} not run\n"
        )
    assert 10 * len(not_run) <= len(texts), "\n".join(map(str, not_run))


@pytest.mark.parametrize("table", ["not_run", "elsewhere", "short", "answers"])
def test_each_row_applies_to_a_command(table: str) -> None:
    used = {listed(table, bare(command.text)) for command in COMMANDS}
    assert sorted(TABLES[table].keys() - used) == []


def test_tests_that_run_commands_elsewhere_exist() -> None:
    for name in set(TABLES["elsewhere"].values()):
        file, _, test = name.partition("::")
        assert not test or f"def {test}(" in (ROOT / file).read_text(), name
        assert (ROOT / file).exists(), name
