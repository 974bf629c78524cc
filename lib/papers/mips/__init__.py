"""Michaud, Liao, Lad, Liu, Mudide, Loughridge, Guo, Rezaei Kheirkhah, Vukelić and Tegmark, "Opening the AI black box:
program synthesis via mechanistic interpretability" (arXiv:2402.05110).

`tasks` holds the benchmark, `networks` the one kind of network that all of this is about; `training` finds one for a task,
`weights` loads one from a file. The paper's road is `normal`, `lattice` and `regression`: whole numbers from where hidden
states lie. Ours is `affine`, `machine`, `labels`, `search` and `synthesis`: from what the network does; `examples` is that
search with no network. `expressions` and `programs` are the language of both. `scoreboard` holds program, network and truth
against each other, `pipeline` takes a task down both roads, and `python -m lib.papers.mips` is the tool.
"""
