"""The stages of a training, a file for each, with the loss that it minimises."""
