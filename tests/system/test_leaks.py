"""No text that leaves the process repeats a secret, whatever Vault, the provider or a proxy answers.

A real daemon and real commands speak to a real OpenBao and the emulator through proxies that repeat what they were
sent. Every place where rotator shows text is searched by value.
"""

import base64
import json
import re
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from html import unescape
from typing import Any
from urllib.parse import quote, unquote

import pytest

from rotator.core.generator import Recipe, generate
from rotator.emulator import Account
from testkit.cluster import Cluster, Running, eventually
from testkit.proxy import FORWARD, Action, Answer, Call, FaultProxy

JSON = (("Content-Type", "application/json"),)
PROBLEM = (("Content-Type", "application/problem+json"),)
HTML = (("Content-Type", "text/html"),)
Echo = Callable[[Call], Answer]

# --- what a hostile server repeats -------------------------------------------------------------------------------


def sent(call: Call) -> list[str]:
    """The values in a request: headers one by one, and the body."""
    named = [f"{name}: {value}" for name, value in call.headers.items() if name in ("X-Vault-Token", "Authorization")]
    return [*named, *([call.body.decode()] if call.body else [])]


def decoded(call: Call) -> list[str]:
    """The same; of Basic credentials what they mean."""
    return [
        base64.b64decode(text.split()[-1]).decode() if text.startswith("Authorization") else text for text in sent(call)
    ]


SPELLINGS: dict[str, Callable[[str], str]] = {
    "plain": lambda text: text,
    "base64": lambda text: base64.b64encode(text.encode()).decode(),
    "percent": lambda text: "".join(f"%{byte:02x}" for byte in text.encode()),
    "JSON": lambda text: "".join(f"\\u{ord(sign):04x}" for sign in text),
    "line breaks": "\n".join,
    "zero-width": "\u200b".join,
}


def spelled(call: Call, text: str) -> str:
    """A text in one of the spellings: each in its turn."""
    return list(SPELLINGS.values())[call.index % len(SPELLINGS)](text)


def errors(status: int) -> Echo:
    """Vault's own form of an error."""
    return lambda call: Answer(
        status,
        json.dumps({"errors": ["1 error occurred:", *(spelled(call, text) for text in sent(call))]}).encode(),
        JSON,
    )


def cut(call: Call) -> Answer:
    """The last thing is a value without its end."""
    return Answer(500, json.dumps({"errors": [text[:-6] for text in sent(call)]}).encode(), JSON)


def page(status: int, headers: tuple[tuple[str, str], ...] = HTML) -> Echo:
    return lambda call: Answer(status, f"<html><h1>{'<br>'.join(sent(call))}</h1></html>".encode(), headers)


def redirect(call: Call) -> Answer:
    """To where no server is, with the values in the URL."""
    where = quote("&".join(sent(call)))
    return Answer(307, where.encode(), (("Location", f"http://127.0.0.1:9/{where}"), *HTML))


def problem(status: int, headers: tuple[tuple[str, str], ...] = PROBLEM) -> Echo:
    """The provider's own form of an error."""

    def answer(call: Call) -> Answer:
        said = " ".join(spelled(call, text) for text in decoded(call))
        wrong = [{"name": said, "reason": said}]
        body = {"type": said, "title": said, "detail": said, "instance": said, "invalid_parameters": wrong}
        return Answer(status, json.dumps(body | {"error-code-label": said}).encode(), headers)

    return answer


def in_turn(*echoes: Echo) -> Echo:
    """One after the other, each in every spelling."""
    return lambda call: echoes[call.index // len(SPELLINGS) % len(echoes)](call)


VAULT: dict[str, Echo] = {
    "503": errors(503),
    "refusals": in_turn(errors(400), errors(403), errors(404), errors(429), errors(500), cut),
    "pages": in_turn(page(503), page(403), page(404), page(200), page(200, JSON), redirect),
}
PROVIDER: dict[str, Echo] = {
    "403": problem(403),
    "problems": in_turn(problem(400), problem(401), problem(500), problem(200), problem(404)),
    "pages": in_turn(page(502), page(403), page(200), problem(403, HTML), redirect),
}

# --- the places ---------------------------------------------------------------------------------------------------


COMMANDS = (
    ["status"],
    ["status", "--json"],
    ["plan"],
    ["plan", "--json"],
    ["check"],
    ["rotate-now", "a", "--force"],
    ["rotate-now", "a", "b", "--json"],
    ["account", "secrets", "list", "a"],
)


@dataclass
class Scene:
    """Two accounts, and proxies before both servers.

    Attributes:
        echo: What answers the requests that `hostile` is true of.
        shown: Everything that was shown anywhere, by its place.
    """

    cluster: Cluster
    vault: FaultProxy
    provider: FaultProxy
    echo: Echo = field(default=lambda call: Answer(500))
    at_vault: Callable[[Call], bool] = lambda call: False
    at_provider: Callable[[Call], bool] = lambda call: False
    shown: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.vault.on_request = lambda call: self.decide(call, self.at_vault)
        self.provider.on_request = lambda call: self.decide(call, self.at_provider)

    def decide(self, call: Call, hostile: Callable[[Call], bool]) -> Action | Answer:
        if call.method == "POST" and call.path.endswith("/secrets"):
            self.cluster.remember(json.loads(call.body)["secret"])
        return self.echo(call) if hostile(call) else FORWARD

    @property
    def environment(self) -> dict[str, str]:
        return {
            "ROTATOR_VAULT__ADDRESS": self.vault.address,
            "ROTATOR_VAULT__TIMEOUT": "10s",
            "ROTATOR_ACCOUNT_API__API_URL": self.provider.address,
            "ROTATOR_ACCOUNT_API__REST_URL": self.provider.address,
        }

    def command(self, *args: str) -> None:
        done = self.cluster.run(*args, env=self.environment)
        self.shown[f"rotator {' '.join(args)}"] = f"{done.out}\n{done.err}"

    def commands(self) -> None:
        with ThreadPoolExecutor(3) as pool:
            list(pool.map(lambda args: self.command(*args), COMMANDS))

    def pages(self, daemon: Running, when: str) -> None:
        for path in ("/", "/readyz", "/healthz", "/metrics", "/api/status"):
            self.shown[f"{path} {when}"] = daemon.get(path).text

    def documents(self) -> None:
        for name in ("a", "b"):
            journal = self.cluster.journal(name)
            self.shown[f"the journal of {name}"] = json.dumps([journal.get("last_error"), journal.get("ambiguity")])
        self.shown["the audit log"] = (self.cluster.folder / "audit.jsonl").read_text()

    def assert_no_secret(self) -> None:
        secrets = {*self.cluster.known_secrets}
        for api_key in self.cluster.emulator.api_keys:
            secrets |= {value.get_secret_value() for value in self.cluster.emulator.live(api_key).values()}
        for place, text in self.shown.items():
            for secret in secrets:
                assert not leaks(text, secret), f"{place}:\n{text}"


def leaks(text: str, secret: str) -> bool:
    """Whether half of a secret can be read from a text, however it is spelled there. It shares no code with rotator."""
    readings = {text, unquote(text), unescape(text), re.sub(r"\\+u([0-9a-f]{4})", _character, text)}
    readings |= {
        re.sub(r"[\s\u00ad\u200b-\u200f\ufeff]+", "", re.sub(r"\\+[nrt]", "", reading)) for reading in readings
    }
    for word in re.findall(r"[A-Za-z0-9+/_-]{12,}", text):
        for offset in range(4):
            part = word[offset:].replace("-", "+").replace("_", "/")
            part = part[: len(part) // 4 * 4]
            readings.add(base64.b64decode(part).decode("latin-1"))
    halves = {secret[: len(secret) // 2 + 1], secret[len(secret) // 2 :]}
    return any(half in reading for reading in readings for half in halves)


def _character(escape: re.Match[str]) -> str:
    return chr(int(escape[1], 16))


@pytest.fixture
def scene(cluster: Cluster) -> Iterator[Scene]:
    entries = []
    for name in ("a", "b"):
        first, api_key = generate(Recipe()), f"key{name}"
        cluster.emulator.open_account(Account(api_key, first))
        cluster.remember(first.get_secret_value())
        cluster.put(f"apps/{name}", {"api_secret": first.get_secret_value()})
        entries.append({"name": name, "api_key": api_key, "path": f"apps/{name}"})
    cluster.configure(entries, audit={"file": str(cluster.folder / "audit.jsonl")}, daemon={"resync_interval": "2s"})
    with FaultProxy(cluster.bao.address).running() as vault, FaultProxy(cluster.api_url).running() as provider:
        yield Scene(cluster, vault, provider)


def publishes(call: Call) -> bool:
    return call.method in ("POST", "PUT") and "/data/apps/" in call.path


def everything(call: Call) -> bool:
    return True


@pytest.mark.timeout(300)
@pytest.mark.parametrize("echo", VAULT.values(), ids=VAULT)
def test_secret_repeated_by_vault_is_shown_nowhere(scene: Scene, echo: Echo) -> None:
    scene.echo = echo
    with scene.cluster.daemon(env=scene.environment) as daemon:
        daemon.wait_until_ready()
        daemon.wait_for("account.adopted", account="a")
        daemon.wait_for("account.adopted", account="b")
        scene.pages(daemon, "before")
        scene.at_vault = publishes  # a candidate is made, and its publishing write is repeated
        scene.command("rotate-now", "a", "b", "--json")
        scene.pages(daemon, "while writes fail")
        scene.at_vault = everything
        scene.commands()
        eventually(lambda: bool(daemon.find("vault.unavailable")), what=lambda: daemon)
        scene.pages(daemon, "while everything fails")
        scene.at_vault = lambda call: False
        eventually(lambda: daemon.get("/readyz").status_code == 200, what=lambda: daemon)
        scene.pages(daemon, "afterwards")
        scene.command("status", "--json")
        scene.documents()
    scene.shown["the daemon's log"] = "\n".join(map(json.dumps, daemon.events))
    scene.assert_no_secret()


@pytest.mark.timeout(300)
@pytest.mark.parametrize("echo", PROVIDER.values(), ids=PROVIDER)
def test_secret_repeated_by_the_provider_is_shown_nowhere(scene: Scene, echo: Echo) -> None:
    scene.echo = echo
    scene.command("rotate-now", "a", "b", "--json")
    scene.at_provider = lambda call: call.method == "POST"
    scene.command("rotate-now", "a", "--force", "--json")
    scene.at_provider = everything
    scene.commands()
    with scene.cluster.daemon(env=scene.environment) as daemon:
        daemon.wait_until_ready()
        eventually(lambda: daemon.status("a")["last_error"] is not None, what=lambda: daemon)
        scene.pages(daemon, "while everything fails")
    scene.shown["the daemon's log"] = "\n".join(map(json.dumps, daemon.events))
    scene.documents()
    scene.assert_no_secret()


def test_error_shows_no_secret_of_another_account(scene: Scene) -> None:
    """A daemon that has the secret of `a` in memory is told of it while it works on `b`."""
    with scene.cluster.daemon(env=scene.environment) as daemon:
        daemon.wait_for("account.adopted", account="a")
        other = scene.cluster.document("apps/a")["api_secret"]
        said = json.dumps({"errors": [f"1 error occurred: not {other}"]}).encode()
        scene.echo = lambda call: Answer(400, said, JSON)
        scene.at_vault = lambda call: "/data/apps/b" in call.path
        error = daemon.wait_for("resync.failed", account="b")["error"]
        scene.pages(daemon, "while b fails")
    assert "not ********" in error
    scene.shown["the daemon's log"] = "\n".join(map(json.dumps, daemon.events))
    scene.documents()
    scene.assert_no_secret()


@pytest.mark.parametrize("command", ["check", "plan", "status", "account secrets list"])
@pytest.mark.parametrize("as_json", [False, True], ids=["text", "json"])
def test_secret_read_after_an_error_is_shown_nowhere(scene: Scene, command: str, as_json: bool) -> None:
    """The error about `b` is made before the process reads the secret of `a` that it repeats."""
    entries = [{"name": name, "api_key": f"key{name}", "path": f"apps/{name}"} for name in ("b", "a")]
    scene.cluster.configure(entries, daemon={"concurrency": 1})  # one account after the other
    other = scene.cluster.document("apps/a")["api_secret"]
    said = json.dumps({"type": "x", "title": "Forbidden", "detail": f"not {other}", "instance": "1"}).encode()
    scene.echo = lambda call: Answer(403, said, PROBLEM)
    scene.at_provider = lambda call: "/accounts/keyb/" in call.path
    scene.command(*command.split(), *(["--json"] if as_json else []))
    (shown,) = scene.shown.values()
    assert command == "status" or "not ********" in shown
    scene.assert_no_secret()


def test_secret_of_old_journals_is_shown_nowhere(scene: Scene) -> None:
    """What an earlier version recorded is masked by whatever the process knows when it shows it."""
    scene.command("rotate-now", "--all")
    secret, token = scene.cluster.document("apps/a")["api_secret"], scene.cluster.bao.root_token.get_secret_value()
    leaked = {"last_error": f"{secret} {token}", "attempts": 1, "next_attempt_at": "2999-01-01T00:00:00Z"}
    scene.cluster.put("rotator/journal/a", scene.cluster.journal("a") | leaked)
    with scene.cluster.daemon(env=scene.environment) as daemon:
        daemon.wait_until_ready()
        scene.command("plan")  # reads the published secret
        scene.pages(daemon, "with an old journal")
        assert daemon.status("a")["last_error"]
    for args in (["status"], ["status", "--json"]):
        scene.command(*args)
    for place, text in scene.shown.items():
        assert not leaks(text, token), f"{place}:\n{text}"


def test_secret_in_api_key_is_shown_nowhere(scene: Scene) -> None:
    """Somebody mixed up two fields: the message about a foreign document names the account by the secret."""
    (secret,) = (value.get_secret_value() for value in scene.cluster.emulator.live("keya").values())
    scene.cluster.put("apps/a", {"api_key": secret, "api_secret": secret})
    scene.commands()
    scene.command("rotate-now", "a", "--json")
    assert "foreign_document" in scene.shown["rotator rotate-now a --json"]
    assert "--replace-foreign" in scene.shown["rotator status --json"]
    scene.assert_no_secret()


@pytest.mark.parametrize("scheme", ["http", "socks5", "[http"])
def test_proxy_credentials_are_shown_by_no_command(scene: Scene, scheme: str) -> None:
    password = "Proxy0Pass9word"
    scene.cluster.remember(password)
    proxy = f"{scheme}://someone:{password}@127.0.0.1:9"
    far = {
        "ROTATOR_VAULT__ADDRESS": "https://vault.invalid",
        "ROTATOR_VAULT__TIMEOUT": "1s",
        "ROTATOR_ACCOUNT_API__API_URL": "https://api.invalid",
        "ROTATOR_ACCOUNT_API__REST_URL": "https://api.invalid",
        "HTTPS_PROXY": proxy,
        "HTTP_PROXY": proxy,
        "NO_PROXY": "",
    }
    for name, kept in (("both", ()), ("the provider", ("ROTATOR_VAULT__ADDRESS",))):
        environment = {key: value for key, value in far.items() if key not in kept}
        for args in (["check"], ["rotate-now", "a", "--json"]):
            done = scene.cluster.run(*args, env=environment)
            assert done.code in (1, 2), done
            assert "Traceback" not in done.err, done
            scene.shown[f"{args} through a proxy to {name}"] = done.out + done.err
    scene.assert_no_secret()


@pytest.mark.parametrize("answer", [407, 502])
def test_answer_of_a_proxy_is_shown_nowhere(scene: Scene, answer: int) -> None:
    """A proxy that refuses a tunnel, with the credentials in its reason and in its page."""

    def refuse(call: Call) -> Answer:
        return Answer(answer, json.dumps({"errors": [str(call.headers)]}).encode(), JSON)

    password = "Proxy0Pass9word"
    scene.cluster.remember(password)
    with FaultProxy("http://127.0.0.1:9", refuse).running() as server:
        address = server.address.removeprefix("http://")
        environment = {
            "ROTATOR_VAULT__ADDRESS": "http://vault.invalid",
            "ROTATOR_VAULT__TIMEOUT": "2s",
            "HTTP_PROXY": f"http://someone:{password}@{address}",
        }
        for args in (["check"], ["rotate-now", "a", "--json"]):
            done = scene.cluster.run(*args, env=environment)
            assert done.code in (1, 2), done
            scene.shown[" ".join(args)] = done.out + done.err
        assert any("proxy-authorization" in map(str.lower, call.headers) for call in server.calls)
    scene.assert_no_secret()


# --- where secrets come from ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["token", "token_file", "approle", "kubernetes", "jwt"])
def test_credentials_of_every_login_are_masked(scene: Scene, method: str) -> None:
    """Vault refuses the login and repeats what it was sent."""
    value = f"Login0Credential9{method.title()}"
    scene.cluster.remember(value)
    file = scene.cluster.folder / "credential"
    file.write_text(value)
    auth: dict[str, Any] = {
        "token": {},
        "token_file": {"token_file": str(file)},
        "approle": {"role_id": "role", "secret_id_file": str(file)},
        "kubernetes": {"role": "role", "jwt_file": str(file)},
        "jwt": {"role": "role", "jwt_file": str(file)},
    }[method]
    config = scene.cluster.config
    text = config.read_text() + "\n[vault.auth]\n" + f'method = "{method}"\n'
    config.write_text(text + "".join(f'{key} = "{given}"\n' for key, given in auth.items()))
    scene.at_vault = lambda call: "health" not in call.path
    scene.echo = lambda call: Answer(400, json.dumps({"errors": sent(call)}).encode(), JSON)
    environment = scene.environment | {"VAULT_TOKEN": value if method == "token" else ""}
    for args in (["check"], ["rotate-now", "a", "--json"]):
        done = scene.cluster.run(*args, env=environment)
        assert done.code in (1, 2), done
        assert "********" in done.out + done.err, done
        scene.shown[" ".join(args)] = done.out + done.err
    scene.assert_no_secret()


def test_wrapped_token_is_masked_and_no_missing_document(scene: Scene) -> None:
    token = "s.Wrapped0Token9Value"
    scene.cluster.remember(token)
    wrapped = {"data": None, "wrap_info": {"token": token, "ttl": 60, "creation_path": "x"}, "errors": None}
    scene.at_vault = lambda call: call.method == "GET" and "/data/" in call.path
    scene.echo = lambda call: Answer(200, json.dumps(wrapped).encode(), JSON)
    done = scene.cluster.run("rotate-now", "a", "--json", env=scene.environment)
    assert done.code == 1, done
    assert "wraps its answer" in done.json["accounts"][0]["error"]
    assert not any(call.method == "POST" and "/data/" in call.path for call in scene.vault.calls)
    scene.shown["rotate-now"] = done.out + done.err
    scene.assert_no_secret()


def test_leaks_finds_every_spelling() -> None:
    """The search of these tests itself."""
    secret = "Canary0Plain9Value"
    for name, spelling in SPELLINGS.items():
        assert leaks(json.dumps({"error": f"it is {spelling(f'X-Vault-Token: {secret}')}"}), secret), name
    assert leaks(f"it is {secret[:10]}", secret)
    assert not leaks("it is ********", secret)
