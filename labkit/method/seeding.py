"""Named streams of randomness: every draw is a function of its key.

Workers, resuming and the order of calls therefore cannot change a run.
"""

import hashlib

import torch


def stream_seed(name: str, *key: int) -> int:
    """A 63-bit seed from a stream's name and integers such as seed, step and index."""
    digest = hashlib.blake2b(repr((name, *map(int, key))).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


def stream_generator(name: str, *key: int, device: torch.device | str = "cpu") -> torch.Generator:
    """A new generator on `device`, seeded by `stream_seed`."""
    return torch.Generator(device=device).manual_seed(stream_seed(name, *key))
