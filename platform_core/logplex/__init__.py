"""The log router: a channel per app with its recent history, tail sessions, and drains with counted loss.

Lines travel in batches, as bytes, from the writer to the drain's request body; what does not fit is counted
and announced in the stream itself (L10, L11). Everything here belongs to the event loop's thread.
"""
