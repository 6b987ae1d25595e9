"""How many calls were let through, known without counting any of them by itself."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tests.unit.fake_census import COUNTS, FORK, OPEN, PIPE, RESOURCES, FakeCensus
from workers.accounts import Accounts, Verdict

DEMANDS = {"tasks": [FORK], "files": [OPEN, PIPE]}

steps = st.one_of(
    st.tuples(st.just("call"), st.sampled_from(sorted(COUNTS)), st.integers(1, 700)),
    st.tuples(st.sampled_from(["recount", "plans", "lender", "book"]), st.just(0), st.just(0)),
    st.tuples(st.just("limit"), st.sampled_from(sorted(RESOURCES)), st.integers(0, 900)),
    st.tuples(st.just("reset"), st.sampled_from(sorted(RESOURCES)), st.just(0)),
)


def set_plans(accounts: Accounts) -> None:
    for group, counts in COUNTS.items():
        accounts.set_plan(group, counts, counts, None)


def call(accounts: Accounts, group: int, resource: str, times: int) -> int:
    """Make calls as a listener does; how many were admitted."""
    admitted = 0
    for number in range(times):
        demands = DEMANDS[resource]
        bill = accounts.terms[group].bill(demands[number % len(demands)])
        if bill.credit or accounts.prepay(bill):
            bill.credit -= 1
        elif accounts.judge(bill, set())[0] is not Verdict.ADMIT:
            continue
        admitted += 1
    return admitted


@given(st.lists(steps, max_size=12), st.sampled_from(["tasks", "files"]))
def test_what_was_admitted_is_booked_once(
    script: list[tuple[str, int, int]], resource: str
) -> None:
    accounts = Accounts(FakeCensus())
    for id, kind in RESOURCES.items():
        accounts.set_counter(id, kind, 900)
    set_plans(accounts)
    admitted = dict.fromkeys(RESOURCES, 0)
    for step, number, value in script:
        match step:
            case "call":
                made = call(accounts, number, resource, value)
                for id in COUNTS[number][resource]:
                    admitted[id] += made
            case "recount":
                accounts.recount()
            case "plans":
                set_plans(accounts)
            case "lender":
                accounts.set_lender(3, 2, 5)
            case "limit":
                accounts.set_counter(number, RESOURCES[number], value)
            case "reset":
                accounts.reset(number, "admitted")
                admitted[number] = 0
            case "book":
                accounts.book()
    accounts.drop_plan(1)
    accounts.book()
    assert {id: counter.admitted for id, counter in accounts.counters.items()} == admitted


def test_a_bill_among_many_others_is_booked() -> None:
    """A listener keeps a bill for as long as plans do, however many amounts there are besides."""
    accounts = Accounts(FakeCensus())
    for id, kind in RESOURCES.items():
        accounts.set_counter(id, kind, 1_000_000)
    set_plans(accounts)
    terms = accounts.terms[1]
    opening = terms.bill(OPEN)
    calls = 0
    for amount in range(1, 3000):
        if opening.credit or accounts.prepay(opening):
            opening.credit -= 1
            calls += 1
        assert accounts.judge(terms.bill((("files", amount),)), set())[0] is Verdict.ADMIT
        calls += 1
    accounts.book()
    assert {accounts.counters[id].admitted for id in COUNTS[1]["files"]} == {calls}


def test_a_dropped_counter_leaves_no_credit() -> None:
    accounts = Accounts(FakeCensus())
    for id, kind in RESOURCES.items():
        accounts.set_counter(id, kind, 1000)
    set_plans(accounts)
    bill = accounts.terms[1].bill(OPEN)
    assert accounts.prepay(bill)
    accounts.drop_plan(1)
    for id in RESOURCES:
        accounts.drop_counter(id)
    assert bill.credit == 0
