"""One request and its answer: its delay, and no secret in what is told of it."""

import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import httpx
import pytest

from rotator.emulator import parse_account
from testkit.cluster import at_best
from tests.emulator.harness import KEY, NEW, PATH, SECRET, in_control, world


def test_latency_delays_each_answer_separately() -> None:
    with world(latency=timedelta(milliseconds=200)) as w, ThreadPoolExecutor(5) as pool:

        def ask() -> None:
            started = time.monotonic()
            list(pool.map(lambda _: w.client.get(PATH), range(5)))
            assert time.monotonic() - started >= 0.2

        at_best(0.9, ask)


def test_no_secret_appears_in_answers_logs_or_reprs(
    caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(0)
    refused = ["short-1", "ALLUPPERCASE1", "Full12345678"]
    seen: list[str] = []
    with world(faults=["get:503-after", "get:drop-after"]) as w:
        seen += [w.create(value).text for value in (NEW, *refused)]
        seen.append(w.client.post(PATH, content=f'{{"secret": "{NEW}"').text)
        seen.append(w.client.post("/_emulator/faults", content=f'{{"faults": "{NEW}"', auth=in_control).text)
        seen += [w.client.get(path).text for path in (PATH, f"{PATH}/{w.ids[0]}", "/_emulator/requests")]
        with pytest.raises(httpx.RemoteProtocolError):
            w.client.get(f"{PATH}/{w.ids[0]}")
        seen.append(w.client.get(PATH, auth=(KEY, "Wrong12345")).text)
        seen += [repr(thing) for thing in (w.emulator.requests, w.emulator.live(KEY), parse_account(f"{KEY}:{SECRET}"))]
    logged = "\n".join(record.getMessage() for record in caplog.records if not record.name.startswith("http"))
    printed = "".join(capfd.readouterr())
    assert "emulator.answered" in printed + logged  # or the next line looks for secrets where nothing is
    text = "\n".join([*seen, logged, printed])
    assert [value for value in (SECRET, NEW, *refused, "Wrong12345") if value in text] == []
