"""The ``sluice`` command: starts both programs, runs the demo, asks questions over HTTP.

It starts the platform as a process and never imports it (beyond its base). Nothing heavy is imported before a
command runs, so that ``sluice --help`` answers at once.
"""
