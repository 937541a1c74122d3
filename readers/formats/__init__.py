"""The shapes that people's files have, one a module: each turns a file into columns that can be checked."""
