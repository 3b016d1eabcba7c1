"""Accounts that wait for a worker: none is worked on twice at once."""

from hypothesis import given
from hypothesis import strategies as st

from rotator.daemon.account_queue import AccountQueue


def test_take_follows_the_order_of_adding() -> None:
    queue = AccountQueue(3)
    for name in "bca":
        queue.add(name)
    assert [queue.take() for _ in range(4)] == ["b", "c", "a", None]


def test_add_queues_an_account_once() -> None:
    queue = AccountQueue(3)
    queue.add("a")
    queue.add("a")
    assert [queue.take(), queue.take()] == ["a", None]


def test_take_waits_for_a_free_worker() -> None:
    queue = AccountQueue(1)
    queue.add("a")
    queue.add("b")
    assert [queue.take(), queue.take()] == ["a", None]
    queue.done("a")
    assert queue.take() == "b"


def test_worker_is_wanted_while_accounts_wait() -> None:
    queue = AccountQueue(1)
    wanted = [queue.is_worker_wanted]
    for step in (lambda: queue.add("a"), queue.take, lambda: queue.add("b"), lambda: queue.done("a"), queue.take):
        step()
        wanted.append(queue.is_worker_wanted)
    assert wanted == [False, False, False, True, False, False]


def test_account_added_during_work_runs_once_more_afterwards() -> None:
    queue = AccountQueue(2)
    queue.add("a")
    assert queue.take() == "a"
    queue.add("a")
    queue.add("a")
    assert queue.take() is None
    queue.done("a")
    assert queue.take() == "a"
    queue.done("a")
    assert queue.take() is None


def test_discard_keeps_work_in_progress() -> None:
    queue = AccountQueue(2)
    for name in "ab":
        queue.add(name)
    assert queue.take() == "a"
    queue.add("a")
    for name in "ab":
        queue.discard(name)
    assert (queue.running, queue.take()) == (frozenset("a"), None)
    queue.done("a")
    assert (queue.names, queue.take()) == (frozenset(), None)


@given(st.integers(1, 3), st.lists(st.tuples(st.sampled_from(["add", "take", "done"]), st.sampled_from("abcd"))))
def test_queue_loses_no_account_and_repeats_none(workers: int, steps: list[tuple[str, str]]) -> None:
    queue = AccountQueue(workers)
    running: set[str] = set()
    wanted: set[str] = set()
    for step, name in steps:
        if step == "add":
            queue.add(name)
            wanted.add(name)
        elif step == "take" and (taken := queue.take()) is not None:
            assert taken not in running
            running.add(taken)
            wanted.discard(taken)
        elif step == "done" and name in running:
            queue.done(name)
            running.discard(name)
        assert queue.running == running
        assert len(running) <= workers
    for name in running:
        queue.done(name)
    rest: set[str] = set()
    while (taken := queue.take()) is not None:
        rest.add(taken)
        queue.done(taken)
    assert rest == wanted
