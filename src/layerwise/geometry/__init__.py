"""Measures layers as they are: lengths, directions, similarity, retrieval."""
