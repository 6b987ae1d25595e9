"""``governor report``: a finished run as one HTML page, which needs no network and no script.

``read`` checks the JSON, ``element`` makes markup in which nothing is unescaped, ``course`` and
``timeline`` draw, ``document`` puts everything together.
"""
