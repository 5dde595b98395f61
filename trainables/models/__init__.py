"""Backbones and the retrieval network around them."""

from trainables.models.conv4 import Conv4
from trainables.models.retrieval_net import RetrievalNet

__all__ = ["Conv4", "RetrievalNet"]
