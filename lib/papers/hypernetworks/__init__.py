"""Liao, Liu and Tegmark, "Generating Interpretable Networks using Hypernetworks" (arXiv:2312.03051).

`networks`: the networks that are made, and hand-built ones. `phases`: which algorithm does a network run? `generator`: the
hypernetwork, which makes networks at a price. `training`: hypernetworks and plain networks in training, and what they make.
The paper's own hypernetwork was not available; this one is a reconstruction from its named ingredients.
"""
