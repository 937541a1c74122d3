"""A bundle's int8 form: large weights in eight bits, measured against the float32 bundle it is made from."""
