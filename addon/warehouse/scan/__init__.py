"""The compiled scan: JSON lines without surprises to Arrow columns in one pass; the others are left to SQL.

``scan.c`` is plain C on memory that Python owns, met through ctypes. ``python -m addon.warehouse.scan``
compiles it; where that was not done, ``typed`` goes the slower way, with equal answers.
"""
