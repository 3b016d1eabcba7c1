"""When accounts are due: schedules, windows and blackouts.

The module `forecast` is public as a whole. Few commands need it, so it is imported by itself.
"""

from rotator.core.scheduling.calendar import BLACKOUT_PATTERN, WINDOW_PATTERN, Blackout, Window
from rotator.core.scheduling.cron import cron_gaps
from rotator.core.scheduling.schedule import Due, Schedule, slot

__all__ = [
    "BLACKOUT_PATTERN",
    "WINDOW_PATTERN",
    "Blackout",
    "Due",
    "Schedule",
    "Window",
    "cron_gaps",
    "forecast",
    "slot",
]
