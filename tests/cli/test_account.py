"""`rotator account`: balance, top-up and settings by hand, against a real OpenBao and the emulator."""

import re
from decimal import Decimal

import pytest

from rotator.demo import free_port
from rotator.emulator import Operation
from testkit.cluster import Cluster
from tests.cli.harness import Here, Payments, everything, opened, said
from tests.cli.managed import NOBODY, TRX
from tests.provider.harness import provider, says


def asked_for(payments: Payments, operation: Operation) -> int:
    return sum(request.operation is operation for request in payments.cluster.emulator.requests)


def test_balance_shows_every_account(adopted: Payments, here: Here) -> None:
    adopted.cluster.emulator.change_account(adopted.api_key, balance=Decimal("7.25"), auto_reload=True)
    finished = here("account", "balance", "--json")
    assert finished.code == 0, finished
    row = {"account": "payments", "euros": 7.25, "low": False, "auto_reload": True, "error": None}
    assert finished.json == {"accounts": [row]}
    table = here("account", "balance", "payments")
    assert re.search(r"payments +7\.25 +no +yes", table.out), table
    adopted.cluster.configure([adopted.entry(balance_threshold="7.26")])
    assert re.search(r"payments +7\.25 +yes +yes", here("account", "balance").out)


def test_balance_shows_others_when_one_account_fails(cluster: Cluster, adopted: Payments, here: Here) -> None:
    other = opened(cluster, "alerts", "ef567890")
    cluster.configure([adopted.entry(), other.entry()])
    cluster.put(other.path, {"api_secret": "NoLongerValid1"})
    finished = here("account", "balance", "--json")
    assert finished.code == 1
    first, second = finished.json["accounts"]
    assert (first["euros"], second["euros"]) == (10, None)
    assert second["error"] == (
        "The provider refuses the published secret of alerts (ef567890). Nothing was changed. "
        "Find out why: rotator check alerts."
    )
    assert "alerts: The provider refuses the published secret" in here("account", "balance").out


def test_missing_published_secret_is_one_clear_line(cluster: Cluster, here: Here) -> None:
    cluster.configure([opened(cluster, published=False).entry()])
    assert said(here("account", "settings", "payments")).startswith(
        "Nothing is published for payments at apps/payments. Nothing was changed. Bring the secret in use"
    )


@pytest.mark.parametrize("how", ["file", "env", "stdin"])
def test_top_up_reads_its_reference_from_a_file(adopted: Payments, here: Here, how: str) -> None:
    cluster = adopted.cluster
    cluster.emulator.change_account(adopted.api_key, auto_reload=True)
    if how == "stdin":
        finished = cluster.run("account", "top-up", "payments", "--trx-stdin", "--yes", "--json", text=f"{TRX}\n")
    else:
        (cluster.folder / "trx").write_text(f"{TRX}\n")
        place = {"file": str(cluster.folder / "trx"), "env": "MY_TRX"}[how]
        finished = here("account", "top-up", "payments", f"--trx-{how}", place, "--yes", "--json", MY_TRX=TRX)
    assert (finished.code, finished.json) == (0, {"account": "payments", "topped_up": True}), finished
    assert cluster.emulator.profile(adopted.api_key).balance == 20


def test_refused_top_up_says_why(adopted: Payments, here: Here) -> None:
    line = said(here("account", "top-up", "payments", "--trx-env", "MY_TRX", "--yes", MY_TRX=TRX))
    assert "401" in line
    assert "auto-reload" in line
    assert "payments was not topped up" in line


@pytest.mark.parametrize("nothing", ["", " \t"], ids=["empty", "blank"])
def test_top_up_is_not_sent_without_a_reference(adopted: Payments, here: Here, nothing: str) -> None:
    finished = here("account", "top-up", "payments", "--trx-env", "MY_TRX", "--yes", MY_TRX=nothing)
    assert (finished.code, said(finished)) == (2, "MY_TRX: The value is empty.")
    assert asked_for(adopted, Operation.TOP_UP) == 0


def test_top_up_is_sent_once_when_unanswered(adopted: Payments, here: Here) -> None:
    adopted.cluster.emulator.change_account(adopted.api_key, auto_reload=True)
    adopted.cluster.emulator.faults.add("top-up:drop-after")
    line = said(here("account", "top-up", "payments", "--trx-env", "MY_TRX", "--yes", MY_TRX=TRX))
    assert "Whether payments was topped up is not known. Look before you try again: rotator account balance" in line
    assert asked_for(adopted, Operation.TOP_UP) == 1


def test_callbacks_are_shown_set_and_unset(adopted: Payments, here: Here) -> None:
    url = "https://example.com/inbound"
    finished = here("account", "settings", "payments", "--mo-callback-url", url, "--yes", "--json")
    assert finished.code == 0, finished
    assert finished.json["mo_callback_url"] == url
    here("account", "settings", "payments", "--dr-callback-url", "https://example.com/dr", "--yes")
    unset = here("account", "settings", "payments", "--mo-callback-url", "", "--yes", "--json")
    assert (unset.json["mo_callback_url"], unset.json["dr_callback_url"]) == ("", "https://example.com/dr")
    shown = here("account", "settings", "payments")
    assert re.search(r"dr callback url +https://example.com/dr", shown.out), shown
    assert re.search(r"max calls per second +30", shown.out), shown


def test_forward_method_is_set_without_reported_limits(adopted: Payments, here: Here) -> None:
    url = "https://example.com/inbound"
    with provider(says(200, {"mo-callback-url": url, "dr-callback-url": ""})) as rest:
        adopted.cluster.configure([adopted.entry()], account_api={"rest_url": rest.url})
        args = ("account", "settings", "payments")
        finished = here(*args, "--http-forward-method", "POST_JSON", "--yes", "--json")
        assert rest.requests[-1].endswith(b"\r\n\r\nhttpForwardMethod=POST_JSON")
        assert (finished.code, finished.json) == (
            0,
            {
                "account": "payments",
                "mo_callback_url": url,
                "dr_callback_url": "",
                "max_outbound_request": None,
                "max_inbound_request": None,
                "max_calls_per_second": None,
                "http_forward_method": "POST_JSON",
            },
        )
        shown = here(*args)
    assert shown.code == 0, shown
    for setting in ("max outbound request", "max inbound request", "max calls per second", "http forward method"):
        assert re.search(rf"{setting} +not reported", shown.out), shown
    assert re.search(r"dr callback url +-", shown.out), shown


def test_unknown_forward_method_is_a_usage_error(adopted: Payments, here: Here) -> None:
    finished = here("account", "settings", "payments", "--http-forward-method", "PUT_XML", "--yes")
    assert finished.code == 2
    assert "POST_JSON" in finished.err
    assert asked_for(adopted, Operation.SETTINGS) == 0


def test_unanswered_settings_change_says_where_to_look(adopted: Payments, here: Here) -> None:
    adopted.cluster.emulator.faults.add("settings:drop-after")
    line = said(here("account", "settings", "payments", "--mo-callback-url", "https://example.com/in", "--yes"))
    assert "Whether the settings of payments were changed is not known. Look before you try again: rotator acc" in line
    assert asked_for(adopted, Operation.SETTINGS) == 1


def test_refused_settings_change_says_that_nothing_changed(adopted: Payments, here: Here) -> None:
    line = said(here("account", "settings", "payments", "--mo-callback-url", "nowhere", "--yes"))
    assert "420" in line
    assert "The settings of payments were not changed. Correct the URL" in line
    assert line.endswith("To see the settings: rotator account settings payments.")


@pytest.mark.parametrize(
    ("option", "value", "advice"),
    [
        ("--http-forward-method", "POST_JSON", "Correct the forward method. To see the settings: "),
        ("--mo-callback-url", "", "To see the settings: "),
    ],
)
def test_refused_settings_are_named_in_advice(
    adopted: Payments, here: Here, option: str, value: str, advice: str
) -> None:
    """The advice was about a URL, whatever was sent."""
    adopted.cluster.emulator.faults.add("settings:400")
    line = said(here("account", "settings", "payments", option, value, "--yes"))
    assert f"The settings of payments were not changed. {advice}" in line
    assert "URL" not in line


def test_refused_transaction_leads_to_another_one(adopted: Payments, here: Here) -> None:
    adopted.cluster.emulator.change_account(adopted.api_key, auto_reload=True)
    with provider(says(401, {"error-code": "401", "error-code-label": "trx does not match"})) as rest:
        adopted.cluster.configure([adopted.entry()], account_api={"rest_url": rest.url})
        line = said(here("account", "top-up", "payments", "--trx-env", "MY_TRX", "--yes", MY_TRX=TRX))
    assert "payments was not topped up. Give the reference of the payment" in line
    assert line.endswith(": rotator account top-up payments.")


@pytest.mark.parametrize(
    ("command", "unchanged", "again"),
    [
        ("balance payments", "", "account balance payments"),
        ("settings payments", "", "account settings payments"),
        ("top-up payments --trx-env MY_TRX --yes", "payments was not topped up", "account balance payments"),
        (
            "settings payments --mo-callback-url https://example.com/in --yes",
            "The settings of payments were not changed",
            "account settings payments",
        ),
        ("secrets list payments", "", "account secrets list payments"),
        ("secrets create payments --out new --yes", "Nothing was added", "account secrets list payments"),
        (f"secrets revoke payments {NOBODY} --yes", "Nothing was revoked", "account secrets list payments"),
    ],
)
def test_error_of_unreachable_provider_names_diagnostic_command(
    adopted: Payments, here: Here, command: str, unchanged: str, again: str
) -> None:
    """`check` tries one of the two hosts, and that only with an adopted account."""
    nowhere = f"http://127.0.0.1:{free_port()}"
    adopted.cluster.configure([adopted.entry()], account_api={"api_url": nowhere, "rest_url": nowhere})
    before = everything(adopted.cluster)
    finished = here("account", *command.split(), MY_TRX=TRX)
    assert finished.code == 1, finished
    line = finished.out + finished.err
    assert "cannot be reached" in line
    assert unchanged in line
    assert f"To see whether it works now: rotator {again}." in line
    assert everything(adopted.cluster) == before
    assert here(*again.split()).code == 1


# --- looking at secrets --------------------------------------------------------------------------------------


# --- revoking one --------------------------------------------------------------------------------------------
