"""The add-on's HTTP surfaces: TD REST v3, log drain, Partner API, our own routes, the signed-in page."""
