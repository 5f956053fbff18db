"""What `layerwise info` says of each kind of thing: names of facts, and the facts in words."""
