"""Content of the page of a dataset, and answers to its requests."""
