"""Rules of a list: boosts, pins, promotions, caps, diversity and rotation."""
