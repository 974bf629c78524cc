"""Games of a common threat and its victims, after Park and Tegmark, "Divide-and-Conquer Dynamics in AI-Driven
Disempowerment" (arXiv:2310.06009).

The paper's own model was not available when this was written: only its abstract and first paragraphs were. The three games
here are reconstructions, built from the nouns of the abstract, and every equation is this book's own unless it names a
source:

`alliance`: a current victim and a future one, each deciding once.
`sequence`: n groups attacked one after the other, where later groups may help earlier ones.
`population`: many people whose efforts feed on each other.

What they share is in `games`. Games come in batches: every field of a batch has the game axis first, in float64.
"""
