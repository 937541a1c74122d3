"""The stages of training, one file each, with the loss each minimises."""
