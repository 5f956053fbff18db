"""The verbs: each puts rooms in sequence."""
