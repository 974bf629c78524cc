"""Baek, Liu and Tegmark, "GenEFT: Understanding Statics and Dynamics of Model Generalization via Effective Theory"
(arXiv:2402.05916).

Entities are points that a network may place, and a decoder says of every two whether they stand in a relation. `statics`
asks how many pairs it must see, `inference` what a perfect reasoner would need, `repons` how the points should move, and
`autoencoder` trains the networks on which `measures` tests all this.
"""

from .autoencoder import (
    GraphAutoencoder,
    Training,
    graph_autoencoder,
    students,
    train_graph_autoencoder,
)
from .inference import bayes_accuracy
from .measures import (
    PHASES,
    arctan_curves,
    boundary,
    collided,
    conserved_parts,
    explained,
    phases,
    step_curves,
    straight,
)
from .repons import closed_form, collision_probability, conserved, draw_repons, repon_flow
from .statics import (
    RELATIONS,
    bound,
    class_sizes,
    classes,
    crossings,
    description_length,
    draw_pairs,
    relation,
)

__all__ = [
    "PHASES",
    "RELATIONS",
    "GraphAutoencoder",
    "Training",
    "arctan_curves",
    "bayes_accuracy",
    "bound",
    "boundary",
    "class_sizes",
    "classes",
    "closed_form",
    "collided",
    "collision_probability",
    "conserved",
    "conserved_parts",
    "crossings",
    "description_length",
    "draw_pairs",
    "draw_repons",
    "explained",
    "graph_autoencoder",
    "phases",
    "relation",
    "repon_flow",
    "step_curves",
    "straight",
    "students",
    "train_graph_autoencoder",
]
