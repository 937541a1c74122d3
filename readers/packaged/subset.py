"""A part of a data set that trains in minutes."""

import hashlib

import numpy as np

from readers.interactions.interactions import Interactions


def subset(rows: Interactions, *, users: int, items: int, events: int, seed: int = 0) -> Interactions:
    """The latest events of a sample of users, over the most popular items.

    Popularity is counted before the chosen events begin, so the choice leaks nothing into training or evaluation.

    Args:
        rows: In ascending time.
        users: Number of users. A hash of user and seed chooses them, so other rows of the file do not matter.
        items: Number of items that stay. All stay if the chosen users have at most `events` events.
        events: Maximum number of events.
        seed: Seed of the sample.
    """
    order = sorted(
        range(len(rows.user_ids.names)), key=lambda position: _hash(rows.user_ids.names[position], seed)
    )
    chosen = np.zeros(len(rows.user_ids.names), np.bool_)
    chosen[order[:users]] = True
    every = np.flatnonzero(chosen[rows.users])
    own = every[-events:]
    if len(every) > events:
        counts = np.bincount(rows.items[: own[0]], minlength=len(rows.item_ids.names))
        most = np.argsort(-counts, kind="stable")[:items]
        own = own[np.isin(rows.items[own], most[counts[most] > 0])]
    return rows.take(own)


def _hash(user_id: str, seed: int) -> bytes:
    return hashlib.blake2b(f"{seed}:{user_id}".encode("utf-8", "surrogatepass"), digest_size=8).digest()
