"""The transformer's forward and backward pass in C, compiled on the machine that trains.

kernel.c      the passes and the optimizers
build         compiled once per compiler, flags and processor
kernel        its functions with Python's types
machine       the kernel of this machine, held to the plain path before it is used
forest        every distinct prefix of a batch is one row
transformer   the policy behind the kernel
optimizers    Adam and Muon behind the kernel
"""
