"""Every layer of every text encoder, as data."""
