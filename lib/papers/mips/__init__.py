"""Michaud, Liao, Lad, Liu, Mudide, Loughridge, Guo, Rezaei Kheirkhah, Vukelić and Tegmark, "Opening the AI black box:
program synthesis via mechanistic interpretability" (arXiv:2402.05110).

`tasks` holds the benchmark and `networks` trains on it. The paper's road is `normal`, `lattice` and `regression`: integers
from where hidden states lie. Ours is `affine`, `machine`, `labels`, `search` and `synthesis`: from what the network does.
`programs` runs and prints what comes out, and `scoreboard` judges it.
"""
