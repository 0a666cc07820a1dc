"""How good a space is: zero-shot, retrieval, few-shot, fusion and alignment, on any encoder and any data set."""
