"""Pretrained encoders of what an item says and shows: text, images, and whatever joins by `MediaEncoder`.

They are frozen: vectors are computed once, and only the item head behind them is trained.
"""
