"""Platform API v3, as the unmodified `heroku` CLI speaks it. `serializers.py` alone knows JSON field names.

Every route needs an account's API key unless it says otherwise where it is defined; a test walks the routes.
Endpoints are ``async``: store functions run through `Store.run`, the log router and the dyno manager are
called on the event loop, which is their thread.
"""
