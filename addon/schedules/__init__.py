"""Schedules: cron slots, and the scheduler that makes exactly one job of each, whatever happens."""
