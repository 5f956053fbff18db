"""Work in several processes; nothing here knows what the work is."""
