"""Everything that uses labels: reading and checks, tag schemes, groups, folds, plans of trainings, metrics, scorers."""
