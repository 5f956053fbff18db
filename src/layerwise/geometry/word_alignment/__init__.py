"""Alignment of the words of parallel texts, by the similarity of their tokens at every layer."""
