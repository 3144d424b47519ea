"""Networks: pure `init` and `apply` over plain parameters."""

from minimand.networks.adapters import adapt
from minimand.networks.autoencoder import Autoencoder, VariationalAutoencoder
from minimand.networks.base import LayeredNetwork, Network
from minimand.networks.belief import DeepBeliefNetwork
from minimand.networks.boltzmann import RBM, GaussianRBM
from minimand.networks.coder import Coder
from minimand.networks.convolutional import CNN
from minimand.networks.convolutional_autoencoder import ConvolutionalAutoencoder
from minimand.networks.heads import Embedded, MultiHead
from minimand.networks.mlp import MLP, Linear
from minimand.networks.partition import LogPartition, annealed_log_partition, log_partition
from minimand.networks.residual import ResNet, ResNet9
from minimand.networks.standardised import Standardised, with_outputs
from minimand.networks.transformer import Transformer, continued
from minimand.networks.unet import UNet

__all__ = [
    "CNN",
    "MLP",
    "RBM",
    "Autoencoder",
    "Coder",
    "ConvolutionalAutoencoder",
    "DeepBeliefNetwork",
    "Embedded",
    "GaussianRBM",
    "LayeredNetwork",
    "Linear",
    "LogPartition",
    "MultiHead",
    "Network",
    "ResNet",
    "ResNet9",
    "Standardised",
    "Transformer",
    "UNet",
    "VariationalAutoencoder",
    "adapt",
    "annealed_log_partition",
    "continued",
    "log_partition",
    "with_outputs",
]
