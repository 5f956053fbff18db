"""Find the best layer or mix for a label, with evidence: problem, design, solver, statistics, advice."""
