"""Labels: reading and checks, tag schemes, groups, folds, plans of trainings, metrics, scorers."""
