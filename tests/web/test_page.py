"""The status page in a real Chromium: what a person sees, does and is spared."""

import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from playwright.sync_api import Browser, Page, expect

from rotator.core.failures import Code
from rotator.core.protocol import Phase, RequestKind
from rotator.monitoring import AccountStatus, BalanceStatus, FleetStatus, Metrics, RequestStatus, RetiringStatus
from rotator.web import App, serving
from testkit.cluster import PATIENCE

expect.set_options(timeout=PATIENCE * 1000)

DESKTOP, PHONE = {"width": 1280, "height": 900}, {"width": 360, "height": 780}
HOSTILE = '<img src=x onerror="window.hacked=1"><script>window.hacked=1</script>'
REFUSED = (
    "The provider refuses the published secret (401). Nothing was changed. "
    "Give it a secret that works: rotator adopt otp.us."
)


def now() -> datetime:
    return datetime.now(UTC)


def account(name: str, **changes: Any) -> AccountStatus:
    well = AccountStatus(
        name=name,
        api_key=f"key-{name}",
        path=f"nexmo/{name}",
        primary=None,
        enabled=True,
        phase=Phase.IDLE,
        secret_id=f"id-{name}",
        rotated_at=now() - timedelta(days=3),
        due_at=now() + timedelta(days=27),
        live_secrets=1,
    )
    return replace(well, **changes)


def fleet(*accounts: AccountStatus, **changes: Any) -> FleetStatus:
    return replace(FleetStatus(now(), "1.2.3", "host-1", now(), True, None, None, None, accounts), **changes)


OLDEST = account("billing", rotated_at=now() - timedelta(days=9), due_at=now() + timedelta(days=28))
WELL = (OLDEST, account("shop", due_at=now() + timedelta(hours=3, minutes=5)), account("alerts"))
AMBIGUOUS = account(
    "odd", phase=Phase.AMBIGUOUS, live_secrets=2, unknown_secrets=1, last_error="It holds a secret nobody knows."
)
STUCK = account("otp.us", attempts=7, next_attempt_at=now() + timedelta(minutes=50), last_error=REFUSED)
RETRIED = account(
    "retried", attempts=1, next_attempt_at=now() + timedelta(minutes=2), phase=Phase.PREPARED, last_error="No answer."
)
UNADOPTED = replace(
    RETRIED, name="new", failure=Code.NOT_ADOPTED, last_error="Nothing is published yet. Run: rotator adopt new."
)
OVERDUE = account("late", due_at=now() - timedelta(hours=5))
OVERLAP = account(
    "overlap",
    phase=Phase.OVERLAP,
    live_secrets=2,
    rotated_at=now() - timedelta(hours=2),
    retiring=(RetiringStatus("old-1", now() + timedelta(hours=22)),),
)
REQUESTED = account(
    "leaked", request=RequestStatus(RequestKind.COMPROMISED, "ann", now() - timedelta(minutes=7), "5f2c1d9e")
)
PENDING = AccountStatus("fresh", "key-fresh", "nexmo/fresh", None, enabled=True)
DISABLED = account("off", enabled=False, due_at=None)
EVERYTHING = (*WELL, AMBIGUOUS, STUCK, RETRIED, OVERDUE, OVERLAP, PENDING, DISABLED)


@dataclass
class Site:
    """The page, its server, and everything that a browser complained of or asked for."""

    status: FleetStatus
    page: Page
    address: str = ""
    complaints: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)
    server: ExitStack = field(default_factory=ExitStack)

    def tell(self) -> FleetStatus:
        return replace(self.status, at=now())

    def serve(self) -> None:
        app = App(self.tell, Metrics(), reuse=timedelta())
        self.address = self.server.enter_context(serving(app, self.address or "127.0.0.1:0"))

    def open(self, fragment: str = "") -> None:
        self.page.goto(f"http://{self.address}/{fragment}")
        expect(self.page.locator("#accounts")).to_be_visible()

    def ask_again(self) -> None:
        """What the page does by itself now and then, and when it is looked at again."""
        self.page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")

    @property
    def names(self) -> list[str]:
        return self.page.locator("#rows button.name").all_inner_texts()

    def sort(self, column: str) -> None:
        self.page.locator("#columns button", has_text=column).click()


@contextmanager
def visited(browser: Browser, *accounts: AccountStatus, **options: Any) -> Iterator[Site]:
    """A browser at a page about these accounts; at the end nothing may have gone wrong in it."""
    changes = {
        name: options.pop(name)
        for name in ("ready", "not_ready", "circuit_breaker", "configuration_error")
        if name in options
    }
    fragment = options.pop("fragment", "")
    context = browser.new_context(**{"viewport": DESKTOP} | options)
    page = context.new_page()
    page.set_default_timeout(PATIENCE * 1000)
    site = Site(fleet(*accounts, **changes), page)
    page.on("console", lambda message: site.complaints.append(message.text))
    page.on("pageerror", lambda error: site.complaints.append(str(error)))
    page.on("request", lambda request: site.requests.append(request.url))
    with site.server:
        site.serve()
        site.open(fragment)
        yield site
        context.close()
    assert not site.complaints
    assert not [url for url in site.requests if not url.startswith(f"http://{site.address}/")]


# --- the sentence on top ------------------------------------------------------------------------------------------

HEADLINES: dict[str, tuple[tuple[AccountStatus, ...], dict[str, Any], str, str]] = {
    "well": (WELL, {}, "well", "All 3 accounts are well; next rotation in 3 h"),
    "a disabled one does not count": ((*WELL, DISABLED), {}, "well", "All 3 accounts are well; next rotation in 3 h"),
    "persons": ((*WELL, AMBIGUOUS, STUCK), {}, "trouble", "2 accounts need a person: odd, otp.us"),
    "a person": ((*WELL, AMBIGUOUS, RETRIED), {}, "trouble", "1 account needs a person: odd"),
    "retried": ((*WELL, RETRIED), {}, "watch", "1 account failed and is tried again by itself: retried"),
    "not adopted": ((*WELL, UNADOPTED, RETRIED), {}, "trouble", "1 account needs a person: new"),
    "overdue": ((*WELL, OVERDUE), {}, "watch", "1 account is overdue: late"),
    "nothing yet": ((PENDING,), {}, "watch", "No account is adopted yet"),
    "circuit breaker": (
        WELL,
        {"circuit_breaker": "7 of 20 failed"},
        "trouble",
        "The circuit breaker is open: no new rotation starts",
    ),
    "configuration": (
        WELL,
        {"configuration_error": "No such file or directory"},
        "trouble",
        "The configuration file cannot be loaded",
    ),
    "not ready": (WELL, {"ready": False, "not_ready": "Vault is away"}, "trouble", "rotator is not ready"),
}


def test_headline_says_whether_to_act(browser: Browser) -> None:
    with visited(browser) as site:
        for case, (accounts, changes, mood, headline) in HEADLINES.items():
            site.status = fleet(*accounts, **changes)
            site.ask_again()
            expect(site.page.locator("h1"), case).to_have_text(headline)
            expect(site.page.locator("#verdict"), case).to_have_attribute("data-mood", mood)
            assert site.page.title() == f"{headline} · rotator"
            for reason in changes.values():
                if isinstance(reason, str):
                    expect(site.page.locator("#notes"), case).to_contain_text(f"{reason}.")


def test_present_cause_is_shown_above_older_failures(browser: Browser) -> None:
    with visited(browser, *EVERYTHING, ready=False, not_ready="Vault is sealed", configuration_error="No file") as site:
        shown = site.page.locator("#notes p").all_inner_texts()
        assert shown[0] == "Vault is sealed."
        assert any(text.startswith("otp.us") for text in shown[1:])
        assert (
            "The configuration file cannot be loaded, so the previous configuration stays in force: No file." in shown
        )


def test_failure_is_shown_with_its_command(browser: Browser) -> None:
    with visited(browser, *EVERYTHING) as site:
        notes = site.page.locator("#notes")
        expect(notes).to_contain_text("otp.us The provider refuses the published secret (401).")
        assert notes.locator("code").all_inner_texts() == ["rotator adopt otp.us"]
        assert notes.locator("code").evaluate("element => getComputedStyle(element).userSelect") == "all"
        expect(notes).to_contain_text("1 account is overdue: late.")
        expect(notes).to_contain_text("1 account is disabled.")


# --- the table ----------------------------------------------------------------------------------------------------


def test_account_details_show_known_rate_limit(browser: Browser) -> None:
    read_at = now() - timedelta(hours=20)
    low = account("low", balance=BalanceStatus(5.0, 4.5, auto_reload=True, low=True, read_at=read_at))
    unread = account("unread", balance=BalanceStatus(5.0))
    with visited(browser, low, unread) as site:
        for name in ("low", "unread"):
            site.page.get_by_role("button", name=name, exact=True).click()
        full = site.page.locator("tr.full")
        expect(full.first).to_contain_text("4.50 euros, can be topped up low, below 5.00 read 20 h ago")
        expect(full.last).to_contain_text("API key")
        expect(full.last).not_to_contain_text("euros")


def test_row_shows_the_state_of_an_account(browser: Browser) -> None:
    with visited(browser, *EVERYTHING) as site:
        row = site.page.locator("#rows > tr", has_text="key-overlap")
        assert [" ".join(text.split()) for text in row.locator("td").all_inner_texts()] == [
            "Grace period", "2 h", "in 27 days", "in 22 h", "2", "",
        ]  # fmt: skip
        assert (
            row.locator("time").nth(2).get_attribute("title")
            == f"{OVERLAP.retiring[0].not_before:%Y-%m-%d %H:%M:%S} UTC"
        )
        expect(site.page.locator("#rows > tr", has_text="key-odd")).to_contain_text("1 unknown")
        expect(site.page.locator("#rows > tr", has_text="key-late")).to_contain_text("due 5 h ago")
        expect(site.page.locator("#rows > tr", has_text="key-retried")).to_contain_text("rotation not finished")


def test_table_shows_worst_first_and_sorts_by_column(browser: Browser) -> None:
    with visited(browser, *EVERYTHING) as site:
        assert site.names[:4] == ["odd", "otp.us", "retried", "late"]
        firsts = {}
        for column in ("Account", "Secret's age", "Next rotation", "Next revocation", "Secrets", "Last error", "State"):
            site.sort(column)
            heading = site.page.locator("#columns th", has_text=column)
            expect(heading).to_have_attribute("aria-sort", "ascending")
            expect(site.page.locator("[aria-sort]")).to_have_count(1)
            up = site.names[0]
            site.sort(column)
            expect(heading).to_have_attribute("aria-sort", "descending")
            firsts[column] = (up, site.names[0])
    assert firsts == {
        "Account": ("alerts", "shop"),
        "Secret's age": ("overlap", "billing"),
        "Next rotation": ("late", "billing"),
        "Next revocation": ("overlap", "overlap"),
        "Secrets": ("alerts", "odd"),
        "Last error": ("odd", "otp.us"),
        "State": ("odd", "off"),
    }


def test_states_are_counted_and_filter(browser: Browser) -> None:
    with visited(browser, *EVERYTHING) as site:
        chips = [" ".join(text.split()) for text in site.page.locator(".chip").all_inner_texts()]
        assert chips == [
            "All 10", "Ambiguous 1", "Failing 2", "Overdue 1",
            "Not adopted 1", "Grace period 1", "Idle 3", "Disabled 1",
        ]  # fmt: skip
        failing = site.page.locator(".chip", has_text="Failing")
        failing.click()
        assert site.names == ["otp.us", "retried"]
        expect(failing).to_have_attribute("aria-pressed", "true")
        expect(site.page.locator("#count")).to_have_text("2 of 10 accounts")
        failing.click()
        assert len(site.names) == 10


def test_search_covers_names_keys_paths_and_errors(browser: Browser) -> None:
    searches = {
        "SHOP": ["shop"],
        "key-odd": ["odd"],
        "nexmo/late": ["late"],
        "401": ["otp.us"],
        "nexmo nobody": ["odd"],
    }
    with visited(browser, *EVERYTHING) as site:
        site.page.keyboard.press("/")
        for text, expected in searches.items():
            site.page.keyboard.press("Control+A")
            site.page.keyboard.type(text)
            assert site.names == expected


def test_empty_search_offers_to_reset(browser: Browser) -> None:
    with visited(browser, *WELL, fragment="#q=nobody") as site:
        assert site.names == []
        site.page.get_by_role("button", name="Show them all").click()
        assert len(site.names) == 3


def test_account_opens_with_all_details(browser: Browser) -> None:
    with visited(browser, *EVERYTHING) as site:
        toggle = site.page.get_by_role("button", name="otp.us")
        expect(toggle).to_have_attribute("aria-expanded", "false")
        toggle.focus()
        site.page.keyboard.press("Enter")
        expect(toggle).to_have_attribute("aria-expanded", "true")
        expect(toggle).to_be_focused()
        full = site.page.locator(f"#{toggle.get_attribute('aria-controls')}")
        expect(full.locator(".said")).to_have_text(REFUSED)
        expect(full.locator("code")).to_have_text("rotator adopt otp.us")
        for fact in ("key-otp.us", "nexmo/otp.us", "id-otp.us", f"{STUCK.next_attempt_at:%Y-%m-%d %H:%M:%S} UTC"):
            expect(full).to_contain_text(fact)


def test_page_shows_the_requester_of_a_rotation(browser: Browser) -> None:
    with visited(browser, *WELL, REQUESTED) as site:
        expect(site.page.locator("#rows > tr", has_text="key-leaked")).to_contain_text("requested: compromised")
        for name in ("leaked", "shop"):
            site.page.get_by_role("button", name=name, exact=True).click()
        assert REQUESTED.request is not None
        at = f"{REQUESTED.request.at:%Y-%m-%d %H:%M:%S} UTC"
        expect(site.page.locator("tr.full", has_text="id-leaked")).to_contain_text(f"compromised, by ann, {at}")
        expect(site.page.locator("tr.full", has_text="id-shop")).not_to_contain_text("Requested")


def test_page_shows_a_lease_until_it_ends(browser: Browser) -> None:
    ends = now() + timedelta(minutes=4)
    held = account("held", lease_holder="host-1", lease_until=ends)
    dead = account("dead", lease_holder="host-2", lease_until=now() - timedelta(minutes=4))
    with visited(browser, held, dead) as site:
        for name in ("held", "dead"):
            site.page.get_by_role("button", name=name, exact=True).click()
        expect(site.page.locator("tr.full", has_text="id-held")).to_contain_text(
            f"host-1 until {ends:%Y-%m-%d %H:%M:%S} UTC"
        )
        expect(site.page.locator("tr.full", has_text="id-dead")).not_to_contain_text("Lease holder")


def test_link_restores_filter_and_open_account(browser: Browser) -> None:
    with visited(browser, *EVERYTHING) as site:
        site.page.locator("#search").fill("e")
        site.page.locator(".chip", has_text="Failing").click()
        site.sort("Account")
        site.sort("Account")
        site.page.wait_for_url(re.compile(r"#q=e&state=failing&sort=-name$"))
        names, link = site.names, site.page.url
    with visited(browser, *EVERYTHING, fragment=link[link.index("#") :]) as again:
        assert again.names == names == ["retried", "otp.us"][: len(names)]
        assert again.page.locator("#search").input_value() == "e"
        again.page.evaluate("location.hash = '#state=nonsense&sort=constructor'")
        expect(again.page.locator("#rows button.name")).to_have_count(10)


# --- the timeline -------------------------------------------------------------------------------------------------


def test_timeline_shows_thirty_days_accessibly(browser: Browser) -> None:
    soon = account("soon", due_at=now() + timedelta(days=2))
    overdue = account("overdue", due_at=now() - timedelta(days=3))
    with visited(browser, *WELL, soon, OVERLAP, overdue, account("far", due_at=now() + timedelta(days=90))) as site:
        chart = site.page.locator("#chart")
        expect(chart).to_have_attribute(
            "aria-label", re.compile(r"^6 rotations and 1 revocation in the next 30 days; most")
        )
        expect(chart.locator(".day")).to_have_count(30)
        expect(chart.locator(".day").first).to_have_class("day today")
        day_after_tomorrow = chart.locator(".day").nth(2)
        expect(day_after_tomorrow).to_have_attribute("title", re.compile(r"\(UTC\): 1 rotation, 0 revocations$"))
        site.page.get_by_text("The same as a table").click()
        expect(site.page.locator("#days tbody tr")).to_have_count(30)


# --- what must not happen -----------------------------------------------------------------------------------------


def test_hostile_text_is_shown_as_text(browser: Browser) -> None:
    error = f"{HOSTILE} javascript:alert(1): rotator adopt {HOSTILE}"
    odd = account(
        HOSTILE,
        phase=Phase.AMBIGUOUS,
        last_error=error,
        lease_holder=HOSTILE,
        primary=HOSTILE,
        path=HOSTILE,
        request=RequestStatus(RequestKind.MANUAL, HOSTILE, now(), HOSTILE),
    )
    # A person's name for the account, and a reload that has it open: every place that text goes.
    with visited(browser, odd, not_ready=HOSTILE, ready=False, circuit_breaker=HOSTILE) as site:
        site.page.locator("#rows button.name").click()
        site.page.locator("#search").fill("<script>")
        assert site.names == [HOSTILE]
        expect(site.page.locator(".said")).to_contain_text(HOSTILE)
        site.ask_again()
        site.page.wait_for_timeout(100)
        assert site.page.evaluate("window.hacked") is None
        assert site.page.locator("main img, main script, body > script").count() == 0


def test_content_policy_stops_injected_script(browser: Browser) -> None:
    with visited(browser, *WELL) as site:
        refused = site.page.evaluate(
            "() => { try { document.body.innerHTML = '<b>x</b>'; return false } catch (error) { return true } }"
        )
        assert refused
        assert site.complaints
        site.complaints.clear()


# --- time goes by -------------------------------------------------------------------------------------------------


def test_refresh_keeps_filter_and_open_account(browser: Browser) -> None:
    with visited(browser, *EVERYTHING) as site:
        toggle = site.page.get_by_role("button", name="otp.us")
        toggle.click()
        site.page.locator("#search").fill("nexmo")
        site.status = fleet(*WELL, replace(STUCK, attempts=8, last_error="Worse."), OVERLAP)
        site.ask_again()
        expect(site.page.locator(".said")).to_have_text("Worse.")
        expect(site.page.locator("h1")).to_have_text("1 account needs a person: otp.us")
        expect(toggle).to_have_attribute("aria-expanded", "true")
        expect(site.page.locator("#search")).to_be_focused()
        assert site.names == ["otp.us", "overlap", "alerts", "billing", "shop"]


def test_unchanged_status_is_not_sent_again(browser: Browser) -> None:
    with visited(browser, *WELL) as site:
        with site.page.expect_response("**/api/status") as caught:
            site.ask_again()
        assert caught.value.status == 304
        expect(site.page.locator("#freshness")).to_have_text("Updated just now")


def test_page_reports_unreachable_daemon_and_recovers(browser: Browser) -> None:
    with visited(browser, *WELL) as site:
        site.server.close()
        site.ask_again()
        expect(site.page.locator("h1")).to_have_text("The daemon does not answer")
        expect(site.page.locator("#notes")).to_contain_text(re.compile(r"What you see is \d+ s old"))
        expect(site.page.locator("#freshness")).to_have_text(re.compile(r"Data is \d+ s old"))
        assert len(site.names) == 3
        site.complaints.clear()  # the browser's own word for it
        site.serve()
        site.ask_again()
        expect(site.page.locator("h1")).to_have_text(re.compile("All 3 accounts are well"))


def test_page_refreshes_unless_hidden(browser: Browser) -> None:
    with visited(browser, *WELL) as site:
        site.page.clock.install()
        with site.page.expect_response("**/api/status"):
            site.page.reload()
        expect(site.page.locator("#accounts")).to_be_visible()
        with site.page.expect_response("**/api/status"):
            site.page.clock.run_for(15_000)

        def asked_within_a_minute() -> int:
            before = len(site.requests)
            site.page.clock.run_for(60_000)
            site.page.wait_for_timeout(100)
            return len(site.requests) - before

        with site.page.expect_response("**/api/status"):  # hidden before this one is answered
            site.page.evaluate(
                "document.dispatchEvent(new Event('visibilitychange'));"
                "Object.defineProperty(document, 'hidden', { value: true, configurable: true })"
            )
        assert asked_within_a_minute() == 0
        before = len(site.requests)
        site.ask_again()
        assert asked_within_a_minute() + len(site.requests) - before == 0
        site.page.evaluate("delete document.hidden")
        with site.page.expect_response("**/api/status"):
            site.ask_again()


def test_moved_row_keeps_the_focus(browser: Browser) -> None:
    with visited(browser, *WELL) as site:
        toggle = site.page.get_by_role("button", name="shop")
        toggle.focus()
        site.status = fleet(*WELL[:1], replace(WELL[1], phase=Phase.AMBIGUOUS), *WELL[2:])
        site.ask_again()
        expect(site.page.locator("#rows button.name").first).to_have_text("shop")
        expect(toggle).to_be_focused()


# --- for everybody, everywhere ------------------------------------------------------------------------------------

CONTRASTS = """() => {
  const channel = (value) => (value /= 255) <= 0.03928 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
  const parse = (text) => text.match(/[\\d.]+/g).map(Number);
  const light = ([r, g, b]) => 0.2126 * channel(r) + 0.7152 * channel(g) + 0.0722 * channel(b);
  const behind = (element) => {
    for (let each = element; each; each = each.parentElement) {
      const colour = parse(getComputedStyle(each).backgroundColor);
      if (colour.length === 3 || colour[3] === 1) return colour;
    }
    throw new Error('nothing behind');
  };
  const low = [];
  let looked = 0;
  for (const element of document.querySelectorAll('body *')) {
    const text = [...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim());
    if (!text || element.closest('svg, noscript, .spoken')) continue;
    if (!element.checkVisibility({ visibilityProperty: true })) continue;
    const [one, other] = [light(parse(getComputedStyle(element).color)), light(behind(element))].sort((a, b) => b - a);
    looked += 1;
    if ((one + 0.05) / (other + 0.05) < 4.5) low.push(`${element.className}: ${element.textContent}`);
  }
  return { low, looked };
}"""


def test_page_has_enough_contrast_in_both_themes(browser: Browser) -> None:
    with visited(browser, *EVERYTHING) as site:
        site.page.get_by_role("button", name="otp.us").click()
        site.page.get_by_text("The same as a table").click()
        site.page.locator(".chip", has_text="Failing").click()
        brightness = []
        for scheme in ("light", "dark"):
            site.page.emulate_media(color_scheme=scheme)
            measured = site.page.evaluate(CONTRASTS)
            assert measured["low"] == []
            assert measured["looked"] > 80
            ground = site.page.evaluate("getComputedStyle(document.body).backgroundColor")
            brightness.append(sum(map(int, re.findall(r"\d+", ground))))
        day, night = brightness
        assert day > 600
        assert night < 150


def test_page_never_scrolls_sideways(browser: Browser) -> None:
    name = "an-account-with-" + "very-" * 20 + "long-name"
    long = account(name, path="nexmo/" + "x" * 200, last_error="y" * 300, attempts=9)
    with visited(browser, *EVERYTHING, long) as site:
        site.page.locator("#rows button.name", has_text="long-name").click()
        for width in (1280, 1000, 360, 320):
            site.page.set_viewport_size({"width": width, "height": 700})
            assert site.page.evaluate("document.documentElement.scrollWidth") <= width
            for column in ("Account", "State", "Last error"):
                expect(site.page.locator("#columns button", has_text=column)).to_be_visible()


def test_phone_shows_labels_with_values(browser: Browser) -> None:
    with visited(browser, *WELL, viewport=PHONE) as site:
        cell = site.page.locator("#rows td[data-label='Next rotation']").first
        assert "Next rotation" in cell.evaluate("element => getComputedStyle(element, '::before').content")
        assert site.page.get_by_role("row").count() == 4  # a table for a screen reader all the same


def test_keyboard_reaches_everything(browser: Browser) -> None:
    with visited(browser, *WELL) as site:
        reached = []
        for _ in range(18):
            site.page.keyboard.press("Tab")
            reached.append(site.page.evaluate("document.activeElement.textContent.trim().replace(/\\s+/g, ' ')"))
            outline = site.page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
            assert outline != "none"
            if reached[-1] == "this page as JSON":
                break
    assert {"The same as a table", "All 3", "Idle 3", "Account", "Last error", "billing", "metrics"} <= set(reached)


def test_reduced_motion_is_respected(browser: Browser) -> None:
    moving = "getComputedStyle(document.querySelector('.name svg')).transitionDuration"
    with visited(browser, *WELL, reduced_motion="reduce") as site:
        assert site.page.evaluate(moving) == "0s"
        site.page.emulate_media(reduced_motion="no-preference")
        assert site.page.evaluate(moving) != "0s"


# --- a big fleet --------------------------------------------------------------------------------------------------

PAINTED = """async (change) => {
  const painted = () => new Promise((done) => requestAnimationFrame(() => setTimeout(done, 0)));
  await painted();
  const search = document.getElementById('search');
  search.value = change;
  search.dispatchEvent(new InputEvent('input', { bubbles: true }));
  await painted();
}"""


def processor_seconds(site: Site) -> Callable[[], float]:
    """Measure the page by the processor's time, which is the same on a busy machine."""
    session = site.page.context.new_cdp_session(site.page)
    session.send("Performance.enable", {"timeDomain": "threadTicks"})

    def used() -> float:
        metrics = session.send("Performance.getMetrics")["metrics"]
        return float(next(each["value"] for each in metrics if each["name"] == "TaskDuration"))

    return used


def test_page_stays_quick_with_ten_thousand_accounts(browser: Browser) -> None:
    many = [account(f"account-{number:05}", due_at=now() + timedelta(minutes=4 * number)) for number in range(10_000)]
    with visited(browser, *many) as site:
        used = processor_seconds(site)
        site.page.reload()
        expect(site.page.locator("#count")).to_have_text("10,000 accounts")
        assert 0 < used() < 1
        typed = []
        for text in ("0", "09", "099", "0999", "099", "", "nexmo"):
            begun = used()
            site.page.evaluate(PAINTED, text)
            typed.append(used() - begun)
        assert 0 < sorted(typed)[len(typed) // 2] < 0.2
        assert site.page.locator("#rows tr").count() <= 300
        site.page.keyboard.press("End")
        expect(site.page.locator("#rows tr").nth(100)).to_be_attached()
        site.page.locator("#search").fill("9999")
        assert site.names == ["account-09999"]
