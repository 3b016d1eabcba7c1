"""Answers without the wire: compression."""

import gzip

import pytest

from tests.web.harness import MANY, served


@pytest.mark.parametrize("path", ["/metrics", "/api/status", "/page.js"])
def test_long_answers_are_compressed_when_client_accepts_gzip(path: str) -> None:
    with served(MANY) as server:
        for accepts in ("gzip, deflate", "identity", ""):
            with server.client.stream("GET", path, headers={"Accept-Encoding": accepts}) as answer:
                raw = b"".join(answer.iter_raw())
            assert answer.headers.get("content-encoding") == ("gzip" if "gzip" in accepts else None)
            assert "Accept-Encoding" in answer.headers["vary"]
            content = gzip.decompress(raw) if "gzip" in accepts else raw
            assert len(content) > 1024


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("gzip", True),
        ("GZIP", True),
        ("br;q=1.0, gzip;q=0.5", True),
        ("*", True),
        ("", False),
        ("gzip;q=0", False),
        ("gzip; q=0.000", False),
        ("gzip;q=0, *", False),
        ("*;q=0", False),
        ("gzip;q=x", False),
        ("xgzip", False),
    ],
)
def test_gzip_weight_is_respected(header: str, expected: bool) -> None:
    with served(MANY) as server, server.client.stream("GET", "/metrics", headers={"Accept-Encoding": header}) as answer:
        assert (answer.headers.get("content-encoding") == "gzip") is expected
