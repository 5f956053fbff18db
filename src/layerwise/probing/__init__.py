"""Says which layer, which mix, with evidence: problem, design, solver, scorers, statistics, advice."""
