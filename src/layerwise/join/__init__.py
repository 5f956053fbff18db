"""The rooms put in sequence: one module per verb, no arithmetic of its own."""
