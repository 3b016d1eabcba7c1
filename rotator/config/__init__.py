"""Settings: the configuration file and the environment, checked before anything is contacted or written.

The module `diff` is public as a whole. Only a reload needs it, so it is imported by itself.
"""

from rotator.config.accounts import AccountSettings, Fields, TopUpSettings
from rotator.config.load import find_file, load, warn_of_open_files
from rotator.config.secret_file import (
    MAX_SECRET_BYTES,
    one_line,
    read_secret_file,
    shown_name,
    warn_of_permissions,
)
from rotator.config.servers import AccountApiSettings, VaultAuth, VaultSettings
from rotator.config.settings import Settings
from rotator.config.types import format_duration, in_plain_text, parse_duration, read_shard

__all__ = [
    "MAX_SECRET_BYTES",
    "AccountApiSettings",
    "AccountSettings",
    "Fields",
    "Settings",
    "TopUpSettings",
    "VaultAuth",
    "VaultSettings",
    "diff",
    "find_file",
    "format_duration",
    "in_plain_text",
    "load",
    "one_line",
    "parse_duration",
    "read_secret_file",
    "read_shard",
    "shown_name",
    "warn_of_open_files",
    "warn_of_permissions",
]
