"""Systems further from the paper, each built on objadapt as a user's own method is: `method.module=...`.

Nothing here is imported by `objadapt`. A folder has its own README: the paper, what is built of it, what differs.
"""
