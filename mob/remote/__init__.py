"""A mob in another process: the same objects, reached through its doors."""
