"""The stages of a training, one file each, with the loss that the stage minimises."""
