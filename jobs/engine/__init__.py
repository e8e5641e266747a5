"""The port between the analyses and the engines, and what both sides of it share."""
