"""The large model: data, network, training and export. Serving never imports this room."""

import os

# Set before torch is loaded: its threads then sleep while they wait for each other. By default they spin, which makes a
# training five to ten times as long on a machine with other work.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
