"""Casper et al., "Black-Box Access is Insufficient for Rigorous AI Audits" (arXiv:2401.14446).

The paper argues; it has no experiments. Here its arguments meet small models with planted faults: `zoo` trains them,
`handles` say what an auditor may do, `attacks`, `detectors`, `triggers`, `explanations` and `extraction` are what he does,
`bench` and `game` a blind audit.
"""
