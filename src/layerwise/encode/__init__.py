"""Text to layers: tokenising, windows, batches, and the forward; knows neither labels nor disk."""
