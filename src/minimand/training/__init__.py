"""Compiled training: a whole run as one program."""

from minimand.training.compilation import keep_compiled_programs
from minimand.training.loop import train, train_members
from minimand.training.population import Population
from minimand.training.recipe import Recipe
from minimand.training.result import Trained
from minimand.training.stream import train_stream

keep_compiled_programs()

__all__ = ["Population", "Recipe", "Trained", "train", "train_members", "train_stream"]
