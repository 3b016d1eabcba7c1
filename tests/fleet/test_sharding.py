"""Sharding: every account in one part, families together, few moves when a part comes or goes."""

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rotator.config import AccountSettings
from rotator.errors import ConfigError
from rotator.fleet import Shard, parse_shard


def account(name: str, primary: str | None = None) -> AccountSettings:
    return AccountSettings(name=name, api_key=f"key{name}"[:20], path=f"apps/{name}", primary=primary)


FLEET = [account(f"account-{number}") for number in range(2000)]


def owners(fleet: list[AccountSettings], count: int) -> list[int]:
    found = []
    for one in fleet:
        mine = [index for index in range(count) if Shard(index, count).owns(one)]
        assert len(mine) == 1, f"{one.name} is in {len(mine)} parts"
        found += mine
    return found


@pytest.mark.parametrize("count", [1, 2, 3, 7])
def test_shards_are_disjoint_and_of_similar_size(count: int) -> None:
    sizes = Counter(owners(FLEET, count))
    assert len(sizes) == count
    # Five standard deviations of a binomial distribution: a fair hash is outside of that once in a million.
    expected, deviation = 2000 / count, (2000 / count * (1 - 1 / count)) ** 0.5
    assert all(abs(size - expected) <= 5 * deviation for size in sizes.values())


def test_added_shard_moves_accounts_only_into_itself() -> None:
    for before, after in zip(owners(FLEET, 4), owners(FLEET, 5), strict=True):
        assert after in (before, 4)


@settings(max_examples=30)
@given(st.integers(1, 9), st.lists(st.from_regex(r"\A[a-z]{1,8}\Z"), unique=True, min_size=1, max_size=9))
def test_primary_and_secondaries_share_a_shard(count: int, names: list[str]) -> None:
    family = [account("head"), *(account(f"x{name}", "head") for name in names)]
    assert len(set(owners(family, count))) == 1


def test_shard_is_the_same_in_every_process() -> None:
    assert [index for one in FLEET[:12] for index in owners([one], 4)] == [3, 1, 0, 3, 0, 0, 2, 3, 2, 3, 0, 2]


def test_parse_shard_reads_index_and_count() -> None:
    assert parse_shard("2/4") == Shard(2, 4)
    assert str(parse_shard("0/1")) == "0/1"


@pytest.mark.parametrize(
    ("variables", "index"),
    [
        ({"JOB_COMPLETION_INDEX": "3", "HOSTNAME": "rotate-1-x7k2p"}, 3),
        ({"HOSTNAME": "rotator-2"}, 2),
        ({"HOSTNAME": "my-rotator-0"}, 0),
    ],
)
def test_auto_shard_has_the_index_of_kubernetes(
    variables: dict[str, str], index: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("JOB_COMPLETION_INDEX", "HOSTNAME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert parse_shard("auto/4") == Shard(index, 4)


@pytest.mark.parametrize(
    ("text", "hostname", "message"),
    [
        ("4/4", "", "is not one of 4 shards: they are counted from 0"),
        ("auto/4", "rotator-4", "There is no shard 4 of 4"),
        ("auto/4", "rotator-5d9c7b-x7k2p", "does not end with a StatefulSet's ordinal"),
        ("1/0", "", "not of the form 0/4 or auto/4"),
        ("one/4", "", "not of the form"),
        ("-1/4", "", "not of the form"),
        ("1/4/2", "", "not of the form"),
    ],
)
def test_wrong_shard_is_one_clear_line(text: str, hostname: str, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("JOB_COMPLETION_INDEX", raising=False)
    monkeypatch.setenv("HOSTNAME", hostname)
    with pytest.raises(ConfigError, match=message) as caught:
        parse_shard(text)
    assert "\n" not in str(caught.value)
