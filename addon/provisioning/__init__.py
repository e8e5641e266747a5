"""The vendor's side of the Partner API v3: resources, plans and quotas, single sign-on."""
