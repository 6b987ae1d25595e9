"""``governor top``: all hierarchies as they are now, and a hand in them.

``model`` makes rows of two looks at a governor and knows neither clock nor screen; ``table`` cuts
rows to a width; ``source`` looks; ``actions`` change something. ``plain`` and ``app`` show it:
the one prints, the other, with Textual, fills the screen and takes keys.
"""
