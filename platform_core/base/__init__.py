"""Plumbing that both programs share: errors, ids and secrets, clock, logs, settings, database, sandbox.

Nothing here knows what an app, a log line or a table is.
"""
