"""The HTTP router: from a host name to a web dyno, with Heroku's error codes and log lines."""
