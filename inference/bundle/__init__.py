"""The model bundle: its manifest, graphs and inputs."""
