"""The benchmarks still run, and say what they measured: on a handful of accounts, which proves nothing about speed."""

from pathlib import Path

import pytest

from benchmarks import (
    cold_start,
    leaked_secrets,
    lean_cost,
    report,
    results,
    rotation_cost,
    scale,
    sharding,
    throughput,
    troubled_keys,
)
from benchmarks.servers import running

TURN = rotation_cost.Round(one=0.5, all=1.5, servers=0.4, wall=2.0)


def test_every_contender_gives_accounts_one_working_secret() -> None:
    with running(dict.fromkeys(rotation_cost.FLEETS.values(), 2)) as servers:
        servers.rotate(rotation_cost.FLEETS[rotation_cost.BARE], 2)
        for name, contender in rotation_cost.CONTENDERS.items():
            assert 0 < contender(servers, 2).cpu < 60, name
        for fleet, accounts in servers.fleets.items():
            servers.verify(fleet)
            assert len(accounts) == 2
        assert servers.cpu() > 0


def test_lean_script_gives_every_account_one_new_secret() -> None:
    with running({"rotator": 2, "lean": 2}, tls=False, pinned=False) as servers:
        for contender in lean_cost.CONTENDERS.values():
            assert 0 < contender(servers, 2).cpu < 60
        for fleet in servers.fleets:
            servers.verify(fleet)


def test_verify_fails_when_account_was_not_rotated() -> None:
    with running({"one": 1}, tls=False) as servers, pytest.raises(KeyError, match="secret_id"):
        servers.verify("one")  # nobody has rotated it yet, so nobody knows its id


def test_shards_rotate_a_fleet_once() -> None:
    with running({"fleet": 4}) as servers:
        assert sharding.run(servers, 2) > 0
        servers.verify("fleet")


def cost() -> rotation_cost.Figures:
    turns = {name: [TURN, TURN] for name in rotation_cost.CONTENDERS}
    return rotation_cost.Figures(11, {rotation_cost.TLS: turns, rotation_cost.PUBLIC: turns})


def lean() -> lean_cost.Figures:
    spent = {lean_cost.ROTATOR: [1.2, 1.4], lean_cost.LEAN: [1.0, 1.0]}
    one = {name: [0.2, 0.2] for name in spent}
    return lean_cost.Figures(11, dict.fromkeys(lean_cost.BOUNDS, one), dict.fromkeys(lean_cost.BOUNDS, spent))


def speed() -> throughput.Figures:
    points = [(throughput.ROTATOR, 64), (throughput.SERIAL, 1), (throughput.POOL, 64)]
    return throughput.Figures(
        cores=2,
        cost=0.1,
        series=[
            throughput.Series(throughput.Point(name, latency, concurrency), [throughput.Round(100, 12.5, 1.0, 1.0)])
            for name, concurrency in points
            for latency in (0, 50)
        ],
    )


def rests() -> scale.Figures:
    def rest(accounts: int) -> scale.Rest:
        pages = {path: [0.1, 0.2, 0.4] for path in scale.PAGES}
        sizes = dict.fromkeys(scale.PAGES, 2048)
        return scale.Rest(accounts, 1 + accounts / 1000, 1 + accounts / 2000, 60_000 + 5 * accounts, 0.01, pages, sizes)

    return scale.Figures(60, [rest(1), rest(10_000), rest(100_000)])


def starts() -> cold_start.Figures:
    seconds = {name: [0.3, 0.2] for name in cold_start.CONTENDERS}
    return cold_start.Figures(seconds | {cold_start.ONE_SHOT: [0.5, 0.5]}, seconds)


def shards() -> sharding.Figures:
    return sharding.Figures(1, {0: 8}, {0: {1: [4.0, 4.0], 2: [3.0, 2.0], 4: [2.0, 2.0]}})


def troubles() -> troubled_keys.Figures:
    met, missed = troubled_keys.Scene("429", 1, 15), troubled_keys.Scene("no answer", 8, 8)
    return troubled_keys.Figures(
        200,
        [troubled_keys.Pairs(met, [2.0, 2.0, 2.0], [2.0, 4.0, 9.0]), troubled_keys.Pairs(missed, [2.0], [4.2])],
    )


def leaks() -> leaked_secrets.Figures:
    met, missed = leaked_secrets.Scene("503", 0), leaked_secrets.Scene("hang", 9)
    return leaked_secrets.Figures(1000, [(met, [10.0, 60.0]), (missed, [10.0, 60.1])])


def test_report_writes_figures_and_missed_bars(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = tmp_path / "docs" / "performance.md"
    page.parent.mkdir()
    page.write_text(report.PAGE.read_text())
    monkeypatch.setattr(results, "FOLDER", tmp_path / "build")
    monkeypatch.setattr(report, "PAGE", page)
    figures = {
        "rotation_cost": cost(),
        "lean_cost": lean(),
        "throughput": speed(),
        "scale": rests(),
        "cold_start": starts(),
        "sharding": shards(),
        "troubled_keys": troubles(),
        "leaked_secrets": leaks(),
    }
    assert figures.keys() == {section.name for section in report.SECTIONS}
    for name, taken in figures.items():
        results.save(name, taken, quick=False)
    report.main(quick=False)
    written = page.read_text()
    for line in (
        "| rotator, TLS | 100.00 (100.00 to 100.00) | 1.00 (1.00 to 1.00) |",
        "| rotator, servers on another core | 200 (200 to 200) | 1,300 (1,200 to 1,400) | 110.00 (100.00 to 120.00) |",
        "by that of the lean script, servers on another core | at most 1.2 | 1.30 (1.20 to 1.40) | **no** |",
        "by that of the lean script, no core of its own | at most 1.4 | 1.30 (1.20 to 1.40) | yes |",
        "| reference, 1 at once | 8.0 (8.0 to 8.0) over 100 |",
        "by those of the reference | at least 20 | 1.0 (1.0 to 1.0) | **no** |",
        "CPU alone would allow 10.0 | at least 6.7 | 8.0 (8.0 to 8.0) | yes |",
        "| memory of an account among 100,000 | at most 4 KiB | 5.0 KiB | **no** |",
        "| /metrics at 10,000 accounts | under 500 ms | 200 (100 to 400) ms | yes |",
        "by that of the bare calls | at most 2.0 | 2.08 (1.67 to 2.50) | **no** |",
        "| 0 ms, 2 | 8 | 2.5 (2.0 to 3.0) | 1.67 (1.33 to 2.00) |",
        "| 1 key: 429; 15 healthy | 2.00 (2.00 to 2.00) | 4.00 (2.00 to 9.00) |",
        "| time beside, by time alone; 1 key: 429; 15 healthy | at most 2.0 | 2.00 (1.00 to 4.50) | yes |",
        "| time beside, by time alone; 8 keys: no answer; 8 healthy | at most 2.0 | 2.10 (2.10 to 2.10) | **no** |",
        "| 503, 0 accounts overdue | 35.0 (10.0 to 60.0) |",
        "| slowest of 2 leaked secrets; 503, 0 accounts overdue; 1,000 accounts | at most 60 s | 60.0 s | yes |",
        "| slowest of 2 leaked secrets; hang, 9 accounts overdue; 1,000 accounts | at most 60 s | 60.1 s | **no** |",
        "| a rotation without grace, by hand or by the daemon | ",
    ):
        assert line in written, line
    assert "this machine cannot tell" in written, "two processes had one core"
    assert "Only tried" not in written
    assert {file.name for file in page.with_suffix("").iterdir()} == {
        f"{section.name}.{kind}" for section in report.SECTIONS if section.plot for kind in ("svg", "png")
    }
    report.main(quick=False)
    assert page.read_text() == written, "the same figures make the same page"
