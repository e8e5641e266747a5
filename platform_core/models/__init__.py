"""The platform's nouns, and the ports between its rooms. Plain data: no I/O, no SQL, no JSON."""
