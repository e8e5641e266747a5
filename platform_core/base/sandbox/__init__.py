"""Run a program apart from everything else: its own uid, cgroup, file system view and network.

`client.SpawnerSandbox` is the way in, `spec` the port. Nothing is imported here: the spawner starts from
this package with the standard library alone.
"""
