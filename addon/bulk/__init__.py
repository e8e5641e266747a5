"""Bulk import sessions: parts on disk, a job that types them, one commit for all of them."""
