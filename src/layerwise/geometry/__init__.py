"""Measures of layers as they are: lengths, directions, similarity, retrieval."""
