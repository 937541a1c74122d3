"""File formats, one in each module: each turns a file into columns, which are then checked."""
