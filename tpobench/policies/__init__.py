"""Policies: how log-probs depend on parameters, every parameter stacked over seeds.

tables        a table of logits
mlp           the paper's image policy
bags          its images as bags of bright pixels
transformer   the paper's decoder
language      the decoder as a language model: answers that end
causal        a causal language model of Hugging Face with low-rank factors
pretrained    its weights and tokenizer
prefix_tree   every distinct prefix of a batch computed once
static        the transformer in shapes that do not depend on what is drawn
native/       the transformer and its optimizers in C
initial       starting values of dense layers
optimizers    Adam, Muon, normalised steps
noise         common random numbers
"""
