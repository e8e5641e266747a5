"""Run a program apart from everything else: its own uid, cgroup, file system view and network."""
