"""The command line: one module per command; only `output.py` prints."""
