"""Codecs of the log protocols: octet framing, RFC 5424, logplex-1, logfmt, the router's line, H/R/L codes.

Bytes in, values out. No I/O, standard library only, and every decoder is re-entrant: feed it bytes as they
come, take what is complete, feed it the next. TCP, HTTP, tests and benchmarks share the same code.
"""
