"""The int8 form of a bundle: large weights in eight bits, measured against the float32 bundle it is made from."""
