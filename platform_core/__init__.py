"""The platform: apps, builds, releases, dynos, router, log router, add-on marketplace, Platform API."""
