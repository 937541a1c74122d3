"""Files as columns of text: delimiters, encodings, JSON lines, timestamps."""
