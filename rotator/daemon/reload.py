"""The configuration in force, and how a changed one takes its place: all of it or nothing."""

import threading
from functools import partial
from pathlib import Path

import structlog

from rotator import audit, logs
from rotator.config import Settings, load
from rotator.config.diff import changes
from rotator.errors import ConfigError, InternalError, RotatorError
from rotator.fleet import Fleet, log_internal_error
from rotator.monitoring import Metrics
from rotator.provider import AccountApi
from rotator.vault import Vault

# How many names a log line contains.
NAMES = 20
# Settings that the process reads only when it starts.
_FIXED = ("daemon.listen", "daemon.concurrency", "daemon.shard")

_log = structlog.get_logger()


class Configuration:
    """The configuration file, and the fleet that it describes.

    Attributes:
        fleet: The fleet in use.
        error: Why the file is not in force, in one line: it is wrong, or removed. None if it is in force.
    """

    def __init__(self, path: Path, settings: Settings, metrics: Metrics, stop: threading.Event) -> None:
        self._path = path
        self._signature = self._seen = _signature(path)
        self._metrics = metrics
        self._stop = stop
        self.error: str | None = None
        self.fleet = self._fleet(settings, self._provider(settings), self._vault(settings))
        self.fleet.audit.check()

    @property
    def settings(self) -> Settings:
        """The settings in force."""
        return self.fleet.settings

    def is_changed(self) -> bool:
        """Look at the file once more, and return whether it was changed or removed since it was loaded.

        A file that is still being written, or is replaced by another one, is not the same at two looks. It does not
        count yet.
        """
        before = self._seen
        self._seen = _signature(self._path)
        return self._seen == before and self._seen != self._signature

    def reload(self) -> Fleet | None:
        """Load the file, and use what it describes from now on.

        Returns:
            The new fleet; None if the file is wrong, so that the previous configuration stays in force.
        """
        self._signature = self._seen
        try:
            settings = load(self._path)
            audit.at(settings.audit.file).check()
            provider = self.fleet.provider
            vault = self.fleet.vault
            if settings.account_api != self.settings.account_api:
                provider = self._provider(settings)
            if settings.vault != self.settings.vault:
                vault = self._vault(settings)
            fleet = self._fleet(settings, provider, vault)
        except ConfigError as error:
            self._keep_previous(error)
            return None
        except Exception as error:  # noqa: BLE001 - no content of the file may end the daemon
            self._keep_previous(InternalError("load the file", place=log_internal_error(error)))
            return None
        self.error = None
        before = self.settings
        runner = self.fleet.instance
        # Runs in progress end with the connections and settings that they started with.
        self.fleet = fleet
        self.fleet.instance = runner
        logs.configure(settings.log.level, settings.log.format)
        _log_changes(before, settings)
        self._metrics.reloaded(ok=True)
        return self.fleet

    def _keep_previous(self, error: RotatorError) -> None:
        """Leave the previous configuration in force, and say why."""
        self.error = "; ".join(str(error).splitlines())
        next_step = "Correct the file. The previous configuration stays in force"
        _log.error("config.reload_failed", error=self.error, next_step=next_step)
        self._metrics.reloaded(ok=False)

    def _fleet(self, settings: Settings, provider: AccountApi, vault: Vault) -> Fleet:
        fleet = Fleet(settings, provider, vault, self._stop)
        fleet.audit.on_lost = self._metrics.audit_line_lost
        return fleet

    def _provider(self, settings: Settings) -> AccountApi:
        # For the runs, and for one balance.
        return AccountApi(
            settings.account_api,
            connections=settings.daemon.concurrency + 1,
            on_request=partial(self._metrics.request, "provider"),
            on_budget=self._metrics.record_budget,
        )

    def _vault(self, settings: Settings) -> Vault:
        # For the runs, for one balance or the resync, and for the Vault monitor.
        counted = partial(self._metrics.request, "vault")
        return Vault(settings.vault, pool_size=settings.daemon.concurrency + 2, on_request=counted)


def _log_changes(before: Settings, after: Settings) -> None:
    for change in changes(before, after):
        names: dict[str, object] = {}
        if change.accounts:
            names = {"accounts": change.accounts[:NAMES], "account_count": len(change.accounts)}
        _log.info("config.changed", setting=change.setting, old=change.old, new=change.new, **names)
        if change.setting in _FIXED:
            _log.warning("config.needs_restart", setting=change.setting, next_step="Restart the daemon")


def _signature(path: Path) -> tuple[int, ...] | None:
    """Return what differs between two states of a file, behind all links that lead to it; None: there is no file."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino, found.st_mtime_ns, found.st_size
