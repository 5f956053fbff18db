"""What sees a label: tag schemes, targets, folds, groups, metrics."""
