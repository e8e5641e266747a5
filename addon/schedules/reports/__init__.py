"""Reports as jobs: defined, computed on one set of versions, rendered, kept, compared, delivered."""
