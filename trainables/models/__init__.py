"""Backbones and the retrieval network around them."""

from trainables.models.conv4 import Conv4
from trainables.models.retrieval_net import RetrievalNet
from trainables.models.settings import NetSettings

__all__ = ["Conv4", "NetSettings", "RetrievalNet"]
