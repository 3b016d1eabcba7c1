"""Courses of events over one account: commands that die, people, configuration and time, and a judge of them all."""
