"""Where in a text a picture belongs, and which one: the parts of InternLM-XComposer (arXiv 2309.15112) that need no
language model, on CLIP embeddings.
"""
