"""The ways a finished report leaves: one file per way, one port for all of them."""
