"""The settings of every process, from flags, the environment and a YAML file."""
