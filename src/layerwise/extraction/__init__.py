"""Making, growing, checking and repairing datasets from sources of texts."""
