"""Pretrained encoders of an item's text and images, and of any modality that implements `MediaEncoder`.

They are frozen: vectors are computed once, and only the item tower behind them is trained.
"""
