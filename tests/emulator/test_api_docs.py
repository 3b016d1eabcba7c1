"""The emulator's description for tools and for people: /openapi.json and /docs."""

import pytest
from playwright.sync_api import Browser, expect

from rotator.emulator import Operation
from rotator.emulator.openapi import document
from rotator.emulator.revisions import Revision
from tests.emulator.harness import SECRET, world


@pytest.mark.parametrize("revision", Revision)
def test_api_document_needs_no_credentials(revision: Revision) -> None:
    with world(revision=revision) as w:
        response = w.client.get("/openapi.json", auth=None)
        assert response.headers["content-type"] == "application/json"
        assert response.json() == document(revision)
        assert [request.operation for request in w.emulator.requests] == []


@pytest.mark.parametrize("path", ["/docs", "/docs/page.js", "/docs/page.css", "/openapi.json"])
def test_docs_page_loads_nothing_external_or_inline(path: str) -> None:
    with world() as w:
        response = w.client.get(path, auth=None)
        assert response.status_code == 200
        policy = response.headers["content-security-policy"]
        assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self'; ")
        assert "unsafe" not in policy
        assert response.headers["x-content-type-options"] == "nosniff"
        assert "://" not in response.text.replace("https?://", "") or path == "/openapi.json"


@pytest.mark.parametrize(("scheme", "paper"), [("light", "rgb(255, 255, 255)"), ("dark", "rgb(21, 24, 27)")])
def test_docs_page_shows_operations_in_both_themes(browser: Browser, scheme: str, paper: str) -> None:
    complaints: list[str] = []
    with world() as w, browser.new_context(color_scheme="dark" if scheme == "dark" else "light") as context:
        page = context.new_page()
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.set_viewport_size({"width": 360, "height": 780})
        page.goto(f"{w.url}/docs#create")
        expect(page.locator("main div#operations > details")).to_have_count(len(Operation))
        expect(page.locator("details#create")).to_contain_text("8 to 25 characters")
        page.locator("details#settings > summary").click()
        expect(page.locator("details#settings")).to_contain_text("420")
        expect(page.locator("details#settings")).to_contain_text("query parameter api_secret")
        assert page.evaluate("getComputedStyle(document.body).backgroundColor") == paper
        assert page.evaluate("document.documentElement.scrollWidth") <= 360, "nothing sticks out on a telephone"
        assert SECRET not in page.content()
    assert complaints == []


def test_page_describes_the_served_revision(browser: Browser) -> None:
    with world(revision=Revision.V1_0_4) as w, browser.new_context() as context:
        page = context.new_page()
        page.goto(f"{w.url}/docs#settings")
        expect(page.locator("main div#operations > details")).to_have_count(len(Operation))
        expect(page.locator("details#settings")).to_contain_text("httpForwardMethod")
        expect(page.locator("details#settings")).not_to_contain_text("query parameter")
