"""In-memory twins of the ports; named by the composition root and tests only."""
