"""One contract, two subjects: what simulations claim is held against the real thing."""
