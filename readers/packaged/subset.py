"""A part of a data set that is small enough to be trained on in minutes."""

import hashlib

import numpy as np

from readers.interactions.interactions import Interactions


def subset(rows: Interactions, *, users: int, items: int, events: int, seed: int = 0) -> Interactions:
    """At most the latest `events` of a sample of `users`, of them those of the `items` that everybody took most before
    these begin: what is chosen by is neither learned from nor asked for afterwards.

    Where all events of the sample are taken, all items stay. The sample is by a hash of user and seed: the same users
    whatever else a file holds.
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
