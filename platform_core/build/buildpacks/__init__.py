"""Buildpacks: what turns a language's sources into something that runs. One module each."""
