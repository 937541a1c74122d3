"""The tables of docs/quality.md, made from nothing."""
