"""Compiled parts: plain C on columns that Python owns, met by ctypes; ``python -m jobs.native`` compiles.

Each has a slower twin in SQL with equal answers, which is taken where it was not compiled.
"""
