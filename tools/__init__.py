"""Programs for those who work on rotator."""
