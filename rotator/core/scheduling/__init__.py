"""When accounts are due: schedules, windows, blackouts and forecasts."""

from rotator.core.scheduling.calendar import BLACKOUT_PATTERN, WINDOW_PATTERN, Blackout, Window
from rotator.core.scheduling.cron import cron_gaps
from rotator.core.scheduling.forecast import (
    CALLS,
    Event,
    Forecast,
    Kind,
    Load,
    Member,
    busiest_account,
    foresee,
    hours,
    loads,
)
from rotator.core.scheduling.schedule import Due, Schedule, slot

__all__ = [
    "BLACKOUT_PATTERN",
    "CALLS",
    "WINDOW_PATTERN",
    "Blackout",
    "Due",
    "Event",
    "Forecast",
    "Kind",
    "Load",
    "Member",
    "Schedule",
    "Window",
    "busiest_account",
    "cron_gaps",
    "foresee",
    "hours",
    "loads",
    "slot",
]
