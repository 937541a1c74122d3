"""The measurements behind the figures in docs/. `bin/bench NAME` runs one, `bin/bench` lists them."""
