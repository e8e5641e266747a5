"""The way in: validation at the door, the write-ahead log, decoding, and the flush to the warehouse."""
