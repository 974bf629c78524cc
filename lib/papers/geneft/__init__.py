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
    clustering,
    collided,
    conserved_parts,
    distances,
    explained,
    phases,
    step_curves,
    straight,
)
from .repons import closed_form, collision_probability, conserved, draw_repons, final_distance, repon_flow
from .statics import (
    RELATIONS,
    automorphisms,
    bound,
    class_sizes,
    classes,
    critical_fraction,
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
    "automorphisms",
    "bayes_accuracy",
    "bound",
    "boundary",
    "class_sizes",
    "classes",
    "closed_form",
    "clustering",
    "collided",
    "collision_probability",
    "conserved",
    "conserved_parts",
    "critical_fraction",
    "crossings",
    "description_length",
    "distances",
    "draw_pairs",
    "draw_repons",
    "explained",
    "final_distance",
    "graph_autoencoder",
    "phases",
    "relation",
    "repon_flow",
    "step_curves",
    "straight",
    "students",
    "train_graph_autoencoder",
]
