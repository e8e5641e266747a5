"""``sluice demo``: the whole path on real purchases, one module per group of steps.

Every step uses what any customer would: the Platform API over HTTP, git, the router, the add-on's API.
"""
