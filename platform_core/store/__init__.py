"""The only room with the platform's SQL: tables, migrations, one module of functions per noun.

Each function takes a connection first and works in the caller's transaction, so several of them make one
atomic change. `Store.run` opens the transaction on a thread of its own.
"""
