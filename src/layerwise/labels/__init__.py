"""Everything that uses labels: tag schemes, targets, folds, groups, metrics."""
