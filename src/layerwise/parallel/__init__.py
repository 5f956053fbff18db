"""Work in several processes; knows nothing of what the work is."""
