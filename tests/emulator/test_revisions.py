"""Revision 1.0.4 of the Account API as the emulator speaks it: over real sockets."""

import uuid
from typing import Any

import pytest

from rotator.emulator import Profile
from rotator.emulator.revisions import Revision
from tests.emulator.harness import BALANCE, KEY, LOGIN, MO, NEW, PATH, RICH, SETTINGS, TOP_UP, ask, document, world

NEWER: dict[str, Any] = {"revision": Revision.V1_0_4}


@pytest.mark.parametrize("path", [PATH, f"{PATH}/unknown", BALANCE, "/unknown", "/docs"])
def test_every_answer_has_its_own_request_id(path: str) -> None:
    with world(**NEWER) as w:
        given = [w.client.get(path).headers["x-request-id"] for _ in range(2)]
        assert [str(uuid.UUID(one)) for one in given] == given
        assert len(set(given)) == 2


def test_broken_gateways_answer_has_a_request_id() -> None:
    with world(**NEWER, faults=["any:503"]) as w:
        given = w.client.get(PATH).headers["x-request-id"]
        assert str(uuid.UUID(given)) == given


def test_instance_and_log_name_the_request_id() -> None:
    with world(**NEWER) as w:
        response = w.client.get(f"{PATH}/unknown")
        request_id = response.headers["x-request-id"]
        assert document(response, 404)["instance"] == request_id.replace("-", "")
        assert [request.request_id for request in w.emulator.requests] == [request_id]
        assert w.client.get("/_emulator/requests").json()["requests"][0]["request_id"] == request_id


def test_first_revision_has_no_request_id() -> None:
    with world() as w:
        assert "x-request-id" not in w.client.get(PATH).headers
        assert w.emulator.requests[0].request_id is None


@pytest.mark.parametrize("path", [PATH, BALANCE, TOP_UP, SETTINGS])
@pytest.mark.parametrize(("fault", "end"), [("unauthorized", "#unathorized"), ("unprovisioned", "#unprovisioned")])
def test_two_kinds_of_401_differ_in_their_type(path: str, fault: str, end: str) -> None:
    with world(**NEWER, faults=[f"any:{fault}"], profile=RICH) as w:
        method = "POST" if path in (TOP_UP, SETTINGS) else "GET"
        response = w.client.request(method, path, data={"trx": "1"} if path == TOP_UP else None)
        assert document(response, 401)["type"].endswith(f"/api-errors/{end}")
        assert w.emulator.profile(KEY) == RICH


@pytest.mark.parametrize("path", [BALANCE, TOP_UP, SETTINGS])
def test_basic_is_the_only_way_to_log_in(path: str) -> None:
    with world(**NEWER, profile=RICH) as w:
        assert ask(w, path).status_code == 200
        for options in ({"params": LOGIN}, {"data": LOGIN}) if path != BALANCE else ({"params": LOGIN},):
            document(ask(w, path, auth=None, **options), 401)
        assert ask(w, path, params=LOGIN | {"api_secret": "Wrong12345"}).status_code == 200, "the query is not read"


@pytest.mark.parametrize("accept", ["application/json", "application/xml"])
def test_errors_of_the_account_are_problem_documents(accept: str) -> None:
    with world(**NEWER) as w:
        headers = {"Accept": accept}
        assert document(ask(w, TOP_UP, headers=headers), 401)["title"] == "Not Auto-Reload Enabled"
        assert document(w.client.post(SETTINGS, data={"moCallBackUrl": "no URL"}, headers=headers), 420)


def test_refused_secret_names_the_invalid_parameter() -> None:
    with world(**NEWER) as w:
        body = document(w.client.post(PATH, json={"secret": "short"}), 400)
        assert [one["name"] for one in body["invalid_parameters"]] == ["secret"]


def test_top_up_answers_with_code_and_label() -> None:
    with world(**NEWER, profile=RICH) as w:
        assert ask(w, TOP_UP).json() == {"error-code": "200", "error-code-label": "success"}


@pytest.mark.parametrize("method", ["GET_QUERY_PARAMS", "POST_QUERY_PARAMS", "POST_JSON"])
def test_forward_method_is_stored(method: str) -> None:
    with world(**NEWER) as w:
        assert w.client.post(SETTINGS, data={"httpForwardMethod": method}).status_code == 200
        assert w.client.post(SETTINGS, data={"moCallBackUrl": MO}).json()["mo-callback-url"] == MO
        assert w.emulator.profile(KEY) == Profile(mo_callback_url=MO, http_forward_method=method)
        assert w.client.get(f"/_emulator/accounts/{KEY}").json()["http_forward_method"] == method


@pytest.mark.parametrize("method", ["", "GET", "post_json"])
def test_unknown_forward_method_is_refused_and_nothing_changed(method: str) -> None:
    with world(**NEWER) as w:
        body = document(w.client.post(SETTINGS, data={"moCallBackUrl": MO, "httpForwardMethod": method}), 400)
        assert [one["name"] for one in body["invalid_parameters"]] == ["httpForwardMethod"]
        assert w.emulator.profile(KEY) == Profile()


def test_first_revision_ignores_the_forward_method() -> None:
    with world() as w:
        assert w.client.post(SETTINGS, data={"httpForwardMethod": "POST_JSON"}).status_code == 200
        assert w.emulator.profile(KEY) == Profile()


@pytest.mark.parametrize("revision", Revision)
def test_settings_without_limits_are_changed(revision: Revision) -> None:
    with world(revision=revision, faults=["settings:no-limits"]) as w:
        answer = w.client.post(SETTINGS, data={"moCallBackUrl": MO}).json()
        assert answer == {"mo-callback-url": MO, "dr-callback-url": ""}
        assert "max-calls-per-second" in w.client.post(SETTINGS).json()


def test_deleting_can_be_refused_as_a_bad_request() -> None:
    with world(**NEWER, faults=["revoke:400", "revoke:403"]) as w:
        w.client.post(PATH, json={"secret": NEW})
        for status in (400, 403):
            document(w.client.delete(f"{PATH}/{w.ids[0]}"), status)
        assert w.client.delete(f"{PATH}/{w.ids[0]}").status_code == 204
