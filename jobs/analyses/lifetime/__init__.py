"""Models of how long and how often customers buy, and for how much: numbers in, numbers out, no engine."""
