"""What can be recommended: items, vectors and popularity from their topics, the index and the filters."""
