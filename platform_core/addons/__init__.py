"""The add-on marketplace: vendors' manifests, the Partner API v3 client, attachments, SSO links."""
