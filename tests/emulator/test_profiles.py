"""The balance, the top-up and the settings of every account, over real sockets."""

from decimal import Decimal

import httpx
import pytest

from rotator.emulator import parse_euros
from tests.emulator.harness import (
    BALANCE,
    DR,
    KEY,
    MO,
    NEW,
    PATH,
    RICH,
    SECRET,
    SETTINGS,
    TOP_UP,
    ask,
    refusal,
    world,
    xml,
)


def test_every_live_secret_reads_the_balance() -> None:
    with world() as w:
        w.create()
        assert ask(w, BALANCE, auth=(KEY, NEW)).status_code == 200
        w.client.delete(f"{PATH}/{w.ids[0]}")
        assert ask(w, BALANCE).status_code == 401


# --- the top-up ------------------------------------------------------------------------------------------------


def test_top_up_adds_to_the_callers_balance_only() -> None:
    with world(f"{KEY}:{SECRET}", f"child001:{SECRET}", profile=RICH, top_up=Decimal("2.25")) as w:
        assert ask(w, TOP_UP).json() == {"response": "success", "error-code": "200", "error-code-label": "success"}
        root, fields = xml(ask(w, TOP_UP, headers={"Accept": "application/xml"}))
        assert (root, fields["response"], fields["error-code"]) == ("response", "success", "200")
        assert ask(w, BALANCE).json() == {"value": 15.0, "autoReload": True}
        assert w.emulator.profile("child001") == RICH


def test_without_auto_reload_there_is_no_top_up() -> None:
    with world() as w:
        assert refusal(ask(w, TOP_UP), 401) == "not auto-reload enabled"
        w.emulator.change_account(KEY, auto_reload=True)
        assert ask(w, TOP_UP).status_code == 200
        assert w.emulator.profile(KEY).balance == 20


@pytest.mark.parametrize("data", [{}, {"trx": ""}, {"TRX": "8ef2447e"}])
def test_top_up_requires_a_transaction(data: dict[str, str]) -> None:
    with world(profile=RICH) as w:
        assert refusal(w.client.post(TOP_UP, data=data), 401) == "trx is required"
        assert w.emulator.profile(KEY) == RICH


def test_settings_without_a_change_show_usual_limits() -> None:
    with world() as w:
        assert w.client.post(SETTINGS).json() == {
            "mo-callback-url": "",
            "dr-callback-url": "",
            "max-outbound-request": 30,
            "max-inbound-request": 30,
            "max-calls-per-second": 30,
        }
        root, fields = xml(w.client.post(SETTINGS, headers={"Accept": "application/xml"}))
        assert (root, fields["max-calls-per-second"]) == ("account-settings", "30")


@pytest.mark.parametrize(("mo", "dr"), [("moCallBackUrl", "drCallBackUrl"), ("moCallbackUrl", "drCallbackUrl")])
def test_callback_is_set_and_unset_in_either_spelling(mo: str, dr: str) -> None:
    def callbacks(response: httpx.Response) -> tuple[str, str]:
        return response.json()["mo-callback-url"], response.json()["dr-callback-url"]

    with world() as w:
        assert callbacks(w.client.post(SETTINGS, data={mo: MO})) == (MO, "")
        assert callbacks(w.client.post(SETTINGS, data={dr: DR})) == (MO, DR)
        assert callbacks(w.client.post(SETTINGS, data={"something": "else"})) == (MO, DR)
        assert callbacks(w.client.post(SETTINGS, data={mo: ""})) == ("", DR)
        assert callbacks(w.client.post(SETTINGS)) == ("", DR)


def test_documented_spelling_of_a_callback_wins() -> None:
    with world() as w:
        both = {"moCallbackUrl": DR, "moCallBackUrl": MO}
        assert w.client.post(SETTINGS, data=both).json()["mo-callback-url"] == MO
        assert "moCallbackUrl" in refusal(w.client.post(SETTINGS, data=both | {"moCallbackUrl": "no URL"}), 420)


def test_callback_in_xml_keeps_its_ampersands() -> None:
    with world() as w:
        url = "https://example.com/?a=1&b=<2>"
        _, fields = xml(w.client.post(SETTINGS, data={"moCallBackUrl": url}, headers={"Accept": "application/xml"}))
        assert fields["mo-callback-url"] == url


# --- who runs it -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["", "-1", "1,5", "1.", ".5", "NaN", "1e9", "ten", "1234567890"])
def test_invalid_amount_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="euros"):
        parse_euros(text)


def test_amount_is_read_exactly() -> None:
    assert parse_euros("10.17127500") == Decimal("10.171275")
