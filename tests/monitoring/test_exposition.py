"""What a scrape contains, in the format that the client requests."""

import time
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rotator.monitoring import Format, Metrics, content_type, expose, requested_format
from tests.monitoring.scraping import BOTH, HEALTHY, IN_GRACE, OPENMETRICS, SHARED, Parse, about, fleet, scrape


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        ("", "text/plain; version=0.0.4; charset=utf-8"),
        ("*/*", "text/plain; version=0.0.4; charset=utf-8"),
        ("text/plain;version=1.0.0;escaping=dots", "text/plain; version=0.0.4; charset=utf-8"),
        (OPENMETRICS, "application/openmetrics-text; version=1.0.0; charset=utf-8"),
        ("application/openmetrics-text", "application/openmetrics-text; version=1.0.0; charset=utf-8"),
        ("application/openmetrics-text;version=zero", "application/openmetrics-text; version=1.0.0; charset=utf-8"),
    ],
)
def test_client_chooses_the_format(accept: str, expected: str) -> None:
    form = requested_format(accept)
    text = b"".join(expose(Metrics(), fleet(HEALTHY), form))
    assert content_type(form).startswith(expected)
    assert text.endswith(b"# EOF\n") == ("openmetrics" in expected)
    assert text.count(b"# EOF") <= 1


def test_counters_have_no_created_series() -> None:
    assert b"_created" not in b"".join(expose(Metrics(), fleet(HEALTHY), Format.OPENMETRICS))


@BOTH
@settings(max_examples=40)
@given(names=st.lists(st.text(st.characters(exclude_categories=["Cs"]), min_size=1), unique=True, max_size=4))
def test_any_account_name_survives_exposition(accept: str, parse: Parse, names: list[str]) -> None:
    status = fleet(*(replace(HEALTHY, name=name) for name in names))
    text = b"".join(expose(SHARED, status, requested_format(accept))).decode()
    family = next(family for family in parse(text) if family.name == "rotator_account_enabled")
    assert [sample.labels["account"] for sample in family.samples] == names


@BOTH
def test_account_name_cannot_break_its_line(accept: str, parse: Parse) -> None:
    name = 'a"} 1\nrotator_forged{x="\\'
    samples = scrape(Metrics(), fleet(replace(HEALTHY, name=name)), accept, parse)
    assert about(samples, name)["enabled"] == 1
    assert not [key for key, _ in samples if "forged" in key]


def test_error_text_is_in_no_metric() -> None:
    failed = replace(HEALTHY, last_error="hunter2", attempts=3)
    status = fleet(failed, circuit_breaker="hunter2", ready=False, not_ready="hunter2")
    assert b"hunter2" not in b"".join(expose(Metrics(), status))
    assert about(scrape(Metrics(), status), "shop")["failed_attempts"] == 3


def test_ten_thousand_accounts_take_half_a_second() -> None:
    accounts = [replace(IN_GRACE, name=f"account-{number}") for number in range(10_000)]
    metrics, status = Metrics(), fleet(*accounts)
    took = []
    for _ in range(3):
        begun = time.thread_time()
        b"".join(expose(metrics, status, Format.OPENMETRICS))
        took.append(time.thread_time() - begun)
    assert min(took) < 0.5
