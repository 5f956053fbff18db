"""Makes, grows, checks and mends a dataset from a source of texts."""
