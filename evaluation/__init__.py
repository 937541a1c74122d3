"""How good a list is: splits, metrics, intervals, and the rows that are compared."""
