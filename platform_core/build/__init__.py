"""From `git push` to a slug: smart HTTP, the build inside the pre-receive hook, buildpacks, slug store."""
