"""Songs as text: the tuple format and the 650 tokens of SongComposer (arXiv 2402.17645), MIDI files in and out, and a
small causal transformer that learns melodies. No video here, and no language model.
"""
