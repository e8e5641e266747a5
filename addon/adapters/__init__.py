"""In-memory twins of the ports, for tests and for trying things out; named by the composition root and tests only."""
