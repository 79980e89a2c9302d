"""The transformer's forward and backward pass in C, compiled on the machine that trains."""
