"""The records of all accounts, when the configuration changes."""

from rotator.daemon.tasks import LoadJournal
from tests.daemon.harness import CALM, DAY, NOW, Bench, rotated


def test_added_account_is_read_and_removed_one_forgotten(bench: Bench) -> None:
    bench.start("a", **CALM)
    bench.load(a=rotated())
    bench.reload("b", **CALM)
    assert [task.target.name for task in bench.take(LoadJournal)] == ["b"]
    assert list(bench.registry.records) == ["b"]
    assert bench.jobs.at == {}


def test_changed_account_is_read_again(bench: Bench) -> None:
    bench.start("a", "b", **CALM)
    bench.load(a=rotated(), b=rotated())
    bench.reload({"name": "a", "api_key": "keya", "path": "apps/a", "every": "7d"}, "b", **CALM)
    bench.answer_loads(a=rotated())
    assert bench.jobs.at["a"] < NOW + 8 * DAY
    assert bench.submitted == []
