"""Which of the scored candidates make the list, and in which order."""
