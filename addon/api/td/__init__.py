"""Treasure Data's REST v3."""
