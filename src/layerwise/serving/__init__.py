"""Batch requests for layers, mixes and heads on one model; `server` writes the answers over HTTP."""
