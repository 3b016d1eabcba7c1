"""Search every course of events of one account or two within a budget."""
