"""Fits, saves, loads and applies a head; writes predictions."""
