"""Rules and limits of one run, and their defaults."""

from datetime import timedelta

from rotator.core.protocol import LEASE, Policy, Trigger


def test_policy_defaults_are_documented_ones() -> None:
    assert Policy("me", "shop", LEASE) == Policy(
        instance="me",
        account="shop",
        lease=LEASE,
        api_key=None,
        due_at=None,
        begins=True,
        explicit=False,
        revoke=True,
        trigger=Trigger.SCHEDULE,
        has_primary=False,
        grace=timedelta(days=1),
        verify_timeout=timedelta(minutes=5),
        max_secrets=2,
        request_timeout=timedelta(seconds=10),
        window=timedelta(seconds=30),
    )
