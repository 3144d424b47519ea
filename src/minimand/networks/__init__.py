"""Networks: pure `init` and `apply` over plain parameters."""

from minimand.networks.adapters import adapt
from minimand.networks.base import LayeredNetwork, Network
from minimand.networks.mlp import MLP, Linear

__all__ = ["MLP", "LayeredNetwork", "Linear", "Network", "adapt"]
