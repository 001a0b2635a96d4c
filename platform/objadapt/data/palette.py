"""Okabe and Ito's colours, RGB, which are told apart with any colour vision. Their black is left to the background."""

OKABE_ITO = (
    (230, 159, 0),
    (86, 180, 233),
    (0, 158, 115),
    (240, 228, 66),
    (0, 114, 178),
    (213, 94, 0),
    (204, 121, 167),
)
