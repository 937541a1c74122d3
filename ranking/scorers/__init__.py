"""What candidates are worth to the user."""
