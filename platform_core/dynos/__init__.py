"""Runs apps: keeps each app's dynos equal to its formation, restarts what crashes, stops what must go."""
