"""Plumbing that any project could have: paths, threads, locks, progress, guarded reading; knows nothing of layers."""
