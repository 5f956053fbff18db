"""Rows on disk: written once, shard by shard, and read one layer at a time."""
