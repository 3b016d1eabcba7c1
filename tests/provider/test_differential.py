"""The official Python SDK, unmodified and over TLS: it is at home in the emulator and agrees with our client."""

import random
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest
import trustme
from pydantic import SecretStr
from vonage_account.account import Account as SdkAccount
from vonage_account.errors import InvalidSecretError
from vonage_http_client.auth import Auth
from vonage_http_client.errors import AuthenticationError, ForbiddenError, HttpRequestError, NotFoundError
from vonage_http_client.http_client import HttpClient, HttpClientOptions

from rotator.config import AccountApiSettings
from rotator.emulator import Emulator, Profile, parse_account, running
from rotator.provider import AccountApi, AutoReloadDisabled, Credentials, Refused
from testkit.cluster import PATIENCE
from tests.emulator.harness import issue

KEY, SECRET, NEW = "abcd1234", "Secret12345", "Another67890"
OTHER = "efgh5678"
MO, DR = "https://example.com/inbound", "https://example.com/receipts?to=1"


@pytest.fixture
def authority(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> trustme.CA:
    """The one that the SDK trusts."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "ca.pem"))
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    return authority


def made(**options: Any) -> Emulator:
    return Emulator([parse_account(f"{KEY}:{SECRET}"), parse_account(f"{OTHER}:{SECRET}")], **options)


def sdk(url: str, api_key: str = KEY, secret: str = SECRET) -> SdkAccount:
    host = url.removeprefix("https://")
    options = HttpClientOptions(api_host=host, rest_host=host, timeout=20)
    return SdkAccount(HttpClient(Auth(api_key=api_key, api_secret=secret), options))


@contextmanager
def official(authority: trustme.CA, folder: Path, **options: Any) -> Iterator[tuple[Emulator, str]]:
    emulator = made(**options)
    files: dict[str, Any] = issue(authority, folder)
    with running(emulator, **files) as url:
        yield emulator, url


# --- the official SDK --------------------------------------------------------------------------------------------


def test_official_sdk_runs_every_account_method(authority: trustme.CA, tmp_path: Path) -> None:
    rich = Profile(Decimal("10.171275"), auto_reload=True)
    with official(authority, tmp_path, profile=rich, top_up=Decimal("0.5")) as (emulator, url):
        account = sdk(url)
        assert account.get_balance().model_dump() == {"value": 10.171275, "auto_reload": True}
        assert account.top_up("8ef2447e").model_dump() == {"error_code": "200", "error_code_label": "success"}
        changed = account.update_default_sms_webhook(mo_callback_url=MO, dr_callback_url=DR)
        assert changed.model_dump() == {
            "mo_callback_url": MO,
            "dr_callback_url": DR,
            "max_outbound_request": 30,
            "max_inbound_request": 30,
            "max_calls_per_second": 30,
        }
        assert account.update_default_sms_webhook(mo_callback_url="").mo_callback_url == ""
        assert emulator.profile(KEY) == Profile(Decimal("10.671275"), auto_reload=True, dr_callback_url=DR)
        (first,) = account.list_secrets()
        created = account.create_secret(NEW)
        assert account.list_secrets() == [first, created]
        assert account.get_secret(created.id) == created
        account.revoke_secret(first.id)
        assert {id_: value.get_secret_value() for id_, value in emulator.live(KEY).items()} == {created.id: NEW}


def test_official_sdk_understands_refusals(authority: trustme.CA, tmp_path: Path) -> None:
    with official(authority, tmp_path) as (emulator, url):
        before = emulator.live(KEY)
        wrong = sdk(url, secret="Wrong12345")
        for ask in (wrong.get_balance, wrong.list_secrets, wrong.update_default_sms_webhook):
            with pytest.raises(AuthenticationError):
                ask()
        with pytest.raises(AuthenticationError, match="not auto-reload enabled"):
            sdk(url).top_up("8ef2447e")
        with pytest.raises(HttpRequestError, match="420 response"):
            sdk(url).update_default_sms_webhook(mo_callback_url="nowhere")
        with pytest.raises(InvalidSecretError):
            sdk(url).create_secret("weak")
        (only,) = sdk(url).list_secrets()
        with pytest.raises(ForbiddenError, match="Secret Deletion Forbidden"):
            sdk(url).revoke_secret(only.id)
        for ask_one in (sdk(url).get_secret, sdk(url).revoke_secret):
            with pytest.raises(NotFoundError, match="Invalid ID"):
                ask_one("01234567-aaaa-bbbb-cccc-defdefdefdef")
        assert (emulator.live(KEY), emulator.profile(KEY)) == (before, Profile())
        sdk(url).create_secret(NEW)
        with pytest.raises(HttpRequestError, match=r"(?s)400 response.*Secret Addition Forbidden"):
            sdk(url).create_secret(NEW)


def test_official_sdk_raises_forbidden_when_account_is_full(authority: trustme.CA, tmp_path: Path) -> None:
    with official(authority, tmp_path, too_many_status=403) as (_, url):
        sdk(url).create_secret(NEW)
        with pytest.raises(ForbiddenError):
            sdk(url).create_secret(NEW)


def test_form_sent_as_json_is_refused(authority: trustme.CA, tmp_path: Path) -> None:
    """Its client keeps the Content-Type of a request in JSON for those that follow: a known mistake of the SDK's."""
    with official(authority, tmp_path, profile=Profile(auto_reload=True)) as (emulator, url):
        account = sdk(url)
        account.create_secret(NEW)
        with pytest.raises(HttpRequestError, match="form"):
            account.top_up("8ef2447e")
        assert emulator.profile(KEY).balance == 10


@pytest.mark.parametrize(
    "kind", ["application/x-www-form-urlencoded", "application/x-www-form-urlencoded;charset=UTF-8"]
)
def test_older_clients_authenticate_by_query_or_form(kind: str) -> None:
    login = f"api_key={KEY}&api_secret={SECRET}".encode()
    emulator = made(profile=Profile(auto_reload=True))
    with (
        running(emulator) as url,
        httpx.Client(base_url=url, headers={"Content-Type": kind}, trust_env=False, timeout=PATIENCE) as raw,
    ):
        assert raw.get(f"/account/get-balance?{login.decode()}").json() == {"value": 10.0, "autoReload": True}
        assert raw.post(f"/account/top-up?{login.decode()}", content=b"trx=8ef2447e").status_code == 200
        assert raw.post("/account/top-up", content=login + b"&trx=8ef2447e").status_code == 200
        changed = raw.post("/account/settings", content=b"moCallBackUrl=https%3A%2F%2Fexample.com%2Finbound&" + login)
        assert changed.json()["mo-callback-url"] == MO
        assert raw.post(f"/account/settings?{login.decode()}", content=b"").status_code == 200
        assert raw.post("/account/top-up", content=b"trx=8ef2447e").status_code == 401
    assert emulator.profile(KEY).balance == 30


# --- the official SDK and ours -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Act:
    """One thing to do, the same on both sides.

    Attributes:
        login: Which of the account's live secrets to log in with; None for one that does not work.
        which: Which of all ids that there ever were; None for one that never was.
    """

    what: str
    api_key: str
    login: int | None
    which: int | None
    value: str
    urls: dict[str, str]
    auto_reload: bool


def acts(count: int, seed: int) -> list[Act]:
    """Made up before anything is done."""
    dice = random.Random(seed)
    kinds = ["balance", "top_up", "settings", "list", "create", "create", "get", "revoke", "revoke", "dashboard"]
    made_up = []
    for _ in range(count):
        what = dice.choice(kinds)
        urls = {name: dice.choice(["", MO, DR, MO, DR, "nowhere"]) for name in ("mo_callback_url", "dr_callback_url")}
        made_up.append(
            Act(
                what,
                dice.choice([KEY, KEY, OTHER]),
                None if dice.random() < 0.1 else dice.randrange(2),
                None if dice.random() < 0.1 else dice.randrange(1000),
                dice.choice([f"Value{dice.randrange(10**6):06}a", NEW, "weak", "nodigitsHere", "x" * 26]),
                {name: url for name, url in urls.items() if dice.random() < 0.6},
                dice.random() < 0.5,
            )
        )
    return made_up


@dataclass
class Side:
    """One emulator, and every id that there ever was in it, in the order of its making."""

    emulator: Emulator
    ids: dict[str, list[str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.ids = {api_key: list(self.emulator.live(api_key)) for api_key in self.emulator.api_keys}

    def secret(self, act: Act) -> str:
        live = [value.get_secret_value() for value in self.emulator.live(act.api_key).values()]
        return "Wrong12345" if act.login is None else live[act.login % len(live)]

    def id(self, act: Act) -> str:
        ids = self.ids[act.api_key][-3:]
        return "01234567-aaaa-bbbb-cccc-defdefdefdef" if act.which is None else ids[act.which % len(ids)]

    def number(self, api_key: str, id_: str) -> int:
        """How an id is called that is another one on the other side."""
        if id_ not in self.ids[api_key]:
            self.ids[api_key].append(id_)
        return self.ids[api_key].index(id_)

    @property
    def state(self) -> dict[str, object]:
        """What the provider knows, but for its ids and the time."""
        return {
            api_key: (
                [(self.number(api_key, id_), value) for id_, value in self.emulator.live(api_key).items()],
                self.emulator.profile(api_key),
            )
            for api_key in self.emulator.api_keys
        }


KINDS = {400: "invalid", 401: "unauthorized", 403: "forbidden", 404: "not found", 420: "invalid"}


def through_the_sdk(act: Act, side: Side, url: str) -> object:
    account = sdk(url, act.api_key, side.secret(act))  # a new one each: see the form that is sent as JSON
    try:
        match act.what:
            case "balance":
                balance = account.get_balance()
                return balance.value, balance.auto_reload
            case "top_up":
                return account.top_up("8ef2447e").error_code == "200"
            case "settings":
                return account.update_default_sms_webhook(**act.urls).model_dump()
            case "list":
                return [side.number(act.api_key, info.id) for info in account.list_secrets()]
            case "create":
                return side.number(act.api_key, account.create_secret(act.value).id)
            case "get":
                return side.number(act.api_key, account.get_secret(side.id(act)).id)
            case "revoke":
                return account.revoke_secret(side.id(act))
    except InvalidSecretError:
        return "invalid"
    except HttpRequestError as error:
        if "not auto-reload enabled" in str(error):
            return "no auto-reload"
        return "full" if "Secret Addition Forbidden" in str(error) else KINDS[error.response.status_code]
    raise AssertionError(act)


def through_ours(act: Act, side: Side, api: AccountApi) -> object:
    auth = Credentials(act.api_key, SecretStr(side.secret(act)))
    try:
        match act.what:
            case "balance":
                balance = api.get_balance(auth)
                return float(balance.euros), balance.auto_reload
            case "top_up":
                api.top_up(auth, SecretStr("8ef2447e"))
                return True
            case "settings":
                mo, dr = act.urls.get("mo_callback_url"), act.urls.get("dr_callback_url")
                return asdict(api.change_settings(auth, mo_callback_url=mo, dr_callback_url=dr))
            case "list":
                return [side.number(act.api_key, info.id) for info in api.list_secrets(auth, act.api_key)]
            case "create":
                return side.number(act.api_key, api.create_secret(auth, act.api_key, SecretStr(act.value)).id)
            case "get":
                return side.number(act.api_key, api.get_secret(auth, act.api_key, side.id(act)).id)
            case "revoke":
                api.revoke_secret(auth, act.api_key, side.id(act))
                return None
    except AutoReloadDisabled:
        return "no auto-reload"
    except Refused as error:
        return "full" if "Secret Addition Forbidden" in str(error) else KINDS[error.status]
    raise AssertionError(act)


def is_weak(value: str) -> bool:
    return value in ("weak", "nodigitsHere") or len(value) > 25


def test_client_and_official_sdk_have_equal_outcomes(authority: trustme.CA, tmp_path: Path) -> None:
    options: dict[str, Any] = {"profile": Profile(Decimal("10.171275")), "top_up": Decimal("0.1")}
    mine = made(**options)
    seen: Counter[tuple[str, str]] = Counter()
    with (
        official(authority, tmp_path, **options) as (theirs, their_url),
        running(mine) as my_url,
        AccountApi(
            AccountApiSettings(api_url=my_url, rest_url=my_url, max_calls_per_second=10_000, verify=False), retries=0
        ) as api,
    ):
        left, right = Side(theirs), Side(mine)
        for act in acts(200, seed=20):
            if act.what == "dashboard":
                for side in (left, right):
                    side.emulator.change_account(act.api_key, auto_reload=act.auto_reload)
                continue
            if act.what == "create" and act.login is None and is_weak(act.value):
                continue  # the SDK does not even ask, and so does not hear that it may not log in
            expected, found = through_the_sdk(act, left, their_url), through_ours(act, right, api)
            assert found == expected, act
            assert right.state == left.state, act
            seen[act.what, found if isinstance(found, str) else "done"] += 1
    everything = ("balance", "top_up", "settings", "list", "create", "get", "revoke")
    wanted = {(what, outcome) for what in everything for outcome in ("done", "unauthorized")}
    wanted |= {("top_up", "no auto-reload"), ("settings", "invalid"), ("create", "invalid"), ("create", "full")}
    wanted |= {("get", "not found"), ("revoke", "forbidden"), ("revoke", "not found")}
    assert set(seen) == wanted, "each outcome that there is came up, and no other"
    assert len(seen) < seen.total() <= 200
