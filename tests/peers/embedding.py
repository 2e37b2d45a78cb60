"""Vectors that peers and tests make alike."""

import hashlib

__all__ = ["embed"]


def embed(text):
    """Four numbers that depend on the text."""
    return [byte / 255 + 0.01 for byte in hashlib.sha256(text.encode()).digest()[:4]]
