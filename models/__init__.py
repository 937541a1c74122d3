"""The large model: data, training, evaluation and export. What serves never imports this room."""

import os

# Before torch is loaded: its threads are to sleep while they wait for each other. By default they spin, which on
# a machine whose cores have other work makes a training five to ten times as long.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
