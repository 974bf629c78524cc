"""Baek, Liu and Tegmark, "GenEFT: Understanding Statics and Dynamics of Model Generalization via Effective Theory"
(arXiv:2402.05916).

Entities are points that a network may place, and a decoder says of every two whether they stand in a relation. `statics`
asks how many pairs it must see, `inference` what a perfect reasoner would need, `repons` how the points should move, and
`autoencoder` trains the networks on which `measures` tests all this.
"""

from ...kernels.optimisers import SGD, Adam
from .autoencoder import GraphAutoencoder, Training, graph_autoencoder, students, train_graph_autoencoder, train_one_by_one
from .inference import bayes_accuracy
from .measures import PHASES, clustering, conserved_parts, critical_ratio, distances, phases
from .repons import (
    closed_form,
    collision_probability,
    conserved,
    draw_repons,
    final_distance,
    flock,
    flock_probability,
    repon_flow,
)
from .statics import (
    RELATIONS,
    automorphisms,
    bound,
    class_sizes,
    classes,
    critical_fraction,
    crossing,
    description_length,
    draw_pairs,
    relation,
)

__all__ = [
    "PHASES",
    "RELATIONS",
    "SGD",
    "Adam",
    "GraphAutoencoder",
    "Training",
    "automorphisms",
    "bayes_accuracy",
    "bound",
    "class_sizes",
    "classes",
    "closed_form",
    "clustering",
    "collision_probability",
    "conserved",
    "conserved_parts",
    "critical_fraction",
    "critical_ratio",
    "crossing",
    "description_length",
    "distances",
    "draw_pairs",
    "draw_repons",
    "final_distance",
    "flock",
    "flock_probability",
    "graph_autoencoder",
    "phases",
    "relation",
    "repon_flow",
    "students",
    "train_graph_autoencoder",
    "train_one_by_one",
]
