"""One file for each engine, and no other file that imports its library."""
