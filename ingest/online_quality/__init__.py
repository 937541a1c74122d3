"""What users make of the lists that they get."""
