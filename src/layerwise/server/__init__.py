"""The doors that meet HTTP: they know nothing themselves, and ask `join`."""
