"""Smaller models of a model: cut at a layer, in the formats of other programs, and what each costs."""
