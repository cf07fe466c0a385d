"""What the compression tasks share about networks: data, models, training, surgery, similarity, cost."""

from problems.networks.affinities import joint_probabilities, squared_distances
from problems.networks.checkpoints import load_metadata, load_weights, save_network
from problems.networks.cost import Cost, count
from problems.networks.data import DATASETS, Dataset, Split, load_dataset
from problems.networks.lenet5 import LeNet5
from problems.networks.mobilenet import MobileNetV2
from problems.networks.models import FullyConnected, load_fully_connected, save_fully_connected
from problems.networks.parents import trained_lenet5, trained_mobilenet, trained_parent, trained_snowfall
from problems.networks.pruning import SCORES, keep_top, neuron_scores, prune, prune_arrays
from problems.networks.quantised import Int8Weight, int8_weights, put_back, train_quantised
from problems.networks.refit import Moments, SequentialRefit, accumulate_moments, solve, solve_many
from problems.networks.similarity import (
    SIMILARITIES,
    DistanceSimilarity,
    GaussianSimilarity,
    PairDistanceSimilarity,
    Similarity,
    StudentSimilarity,
)
from problems.networks.snowfall import Snowfall
from problems.networks.training import Epoch, History, evaluate, train

__all__ = [
    "DATASETS",
    "SCORES",
    "SIMILARITIES",
    "Cost",
    "Dataset",
    "DistanceSimilarity",
    "Epoch",
    "FullyConnected",
    "GaussianSimilarity",
    "History",
    "Int8Weight",
    "LeNet5",
    "MobileNetV2",
    "Moments",
    "PairDistanceSimilarity",
    "SequentialRefit",
    "Similarity",
    "Snowfall",
    "Split",
    "StudentSimilarity",
    "accumulate_moments",
    "count",
    "evaluate",
    "int8_weights",
    "joint_probabilities",
    "keep_top",
    "load_dataset",
    "load_fully_connected",
    "load_metadata",
    "load_weights",
    "neuron_scores",
    "prune",
    "prune_arrays",
    "put_back",
    "save_fully_connected",
    "save_network",
    "solve",
    "solve_many",
    "squared_distances",
    "train",
    "train_quantised",
    "trained_lenet5",
    "trained_mobilenet",
    "trained_parent",
    "trained_snowfall",
]
