"""Settings: the configuration file and the environment, checked before anything is contacted or written."""

from rotator.config.settings import (
    AccountApiSettings,
    AccountSettings,
    Fields,
    Settings,
    VaultAuth,
    VaultSettings,
    changes,
    find_file,
    format_duration,
    in_plain_text,
    is_loopback,
    load,
    parse_duration,
)

__all__ = [
    "AccountApiSettings",
    "AccountSettings",
    "Fields",
    "Settings",
    "VaultAuth",
    "VaultSettings",
    "changes",
    "find_file",
    "format_duration",
    "in_plain_text",
    "is_loopback",
    "load",
    "parse_duration",
]
