"""What a supervisor is started with gets through `exec` unchanged."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from governor.supervisor.terms import Terms

paths = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))


@given(
    st.builds(
        Terms,
        directory=paths,
        nonce=st.integers(1, 2**23 - 1),
        agent_timeout=st.floats(0.1, 86400.0),
        lock=st.none() | st.integers(0, 2**20),
        state=paths,
    )
)
def test_arguments_say_it_all(terms: Terms) -> None:
    assert Terms.read(terms.arguments()) == terms
