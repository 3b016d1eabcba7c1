"""`rotator status` and the daemon's /api/status are one model."""

from datetime import UTC, datetime, timedelta
from typing import Any

from testkit.cluster import Cluster
from tests.cli.payments import Here, a_colourful_fleet, here  # noqa: F401

# These are known to a daemon only: it reads balances, and remembers failures that no journal contains.
DAEMON_ONLY = {"balance"}
DAEMON_ONLY_UNTIL_ADOPTED = DAEMON_ONLY | {"published", "state", "last_error", "failure", "next_attempt_at"}
FLEET_KEYS_OF_A_COMMAND = {"at", "version", "accounts"}


def test_command_and_daemon_report_one_model(cluster: Cluster, here: Here) -> None:  # noqa: F811
    """An account's report is the same key by key, whatever its state is."""
    fleet = a_colourful_fleet(cluster)
    assert here("rotate-now", "overlap").code == 0
    until = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    leased = {"current_id": fleet["new"].live[0], "published_version": 1, "holder": "host/1/x", "lease_until": until}
    cluster.put("rotator/journal/new", leased)
    assert here("rotate-now", "new", "--force", "--wait", "0").code == 3
    with cluster.daemon() as daemon:
        daemon.wait_until_ready()
        daemon.eventually(lambda: daemon.status("ambiguous")["attempts"] > 0)
        daemon.eventually(lambda: daemon.status("missing")["failure"] is not None)

        def shown() -> tuple[dict[str, Any], dict[str, Any]]:
            return here("status", "--json").json, daemon.get("/api/status").json()

        def differ() -> list[tuple[str, str]]:
            told, seen = shown()
            assert FLEET_KEYS_OF_A_COMMAND == set(told) < set(seen)
            found = []
            for one, other in zip(told["accounts"], seen["accounts"], strict=True):
                assert list(one) == list(other)
                known = DAEMON_ONLY if one["secret_id"] else DAEMON_ONLY_UNTIL_ADOPTED
                found += [(one["name"], key) for key in one.keys() - known if one[key] != other[key]]
            return found

        daemon.eventually(lambda: not differ())
        told, _ = shown()
    states = {one["name"]: one["state"] for one in told["accounts"]}
    assert states.pop("a-" + "long-" * 8 + "name") == "idle"
    assert states == {
        "new": "idle",
        "overlap": "grace_period",
        "ambiguous": "ambiguous",
        "missing": "pending",
        "off": "disabled",
    }
    (new,) = [one for one in told["accounts"] if one["name"] == "new"]
    assert (new["request"]["kind"], new["lease_holder"]) == ("force", "host/1/x")
