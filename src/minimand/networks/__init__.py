"""Networks: pure `init` and `apply` over plain parameters."""

from minimand.networks.adapters import adapt
from minimand.networks.base import LayeredNetwork, Network
from minimand.networks.heads import Embedded, MultiHead
from minimand.networks.mlp import MLP, Linear
from minimand.networks.transformer import Transformer, continued

__all__ = [
    "MLP",
    "Embedded",
    "LayeredNetwork",
    "Linear",
    "MultiHead",
    "Network",
    "Transformer",
    "adapt",
    "continued",
]
