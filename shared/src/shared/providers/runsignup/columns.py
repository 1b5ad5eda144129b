"""The JSON columns of a participant, as text: keys always present, null when absent, money as exact numbers.

Operators' statements and downstream tools know these keys; they stay (runsignup.com/API/race/:race_id/participants).
"""

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import orjson

from shared.providers.runsignup.fields import PLAIN, read, table, text, texts
from shared.providers.runsignup.spelling import flag, money

Get = Callable[[str], Any]

PRICES = (
    "race_fee",
    "offline_payment_amount",
    "processing_fee",
    "processing_fee_paid_by_user",
    "processing_fee_paid_by_race",
    "partner_fee",
    "affiliate_profit",
    "extra_fees",
    "amount_paid",
)
TEAM = ("team_id", "team_name", "team_type_id", "team_type", "team_gender", "team_bib_num")
ADDRESS = ("street", "city", "state", "zipcode", "country_code")
ORDER = ("rsu_transaction_id", "transaction_id")
AS_SENT = (
    "usatf_discount_additional_field",
    "giveaway",
    "giveaway_option_id",
    "fundraiser_id",
    "fundraiser_charity_id",
    "fundraiser_charity_name",
    "team_fundraiser_id",
    "multi_race_bundle_id",
    "multi_race_bundle",
    "signed_waiver_details",
    "question_responses",
    "participant_addons",
)
ADDITIONAL = ("usatf_discount_amount_in_cents", "imported", *AS_SENT)
NO_TEAM = orjson.dumps(dict.fromkeys(TEAM)).decode()


def address(value: Any, notes: list[str]) -> str:
    """Street to country, as sent: nearly always all of it and in this order, so that it need not be put together."""
    if type(value) is dict and tuple(value) == ADDRESS and PLAIN.issuperset(map(type, value.values())):
        return orjson.dumps(value).decode()
    part = table(value, "address", notes).get
    return orjson.dumps(dict(zip(ADDRESS, texts(part, ADDRESS, notes), strict=True))).decode()


def team(get: Get, notes: list[str]) -> str:
    """The team, for those who have one. Its bib is text: clients disagree on its type."""
    values = list(map(get, TEAM))
    if values == [None, None, None, None, None, None]:
        return NO_TEAM
    values[5] = text(values[5], "team_bib_num", notes)
    return orjson.dumps(dict(zip(TEAM, values, strict=True))).decode()


def payment(get: Get, notes: list[str]) -> str:
    """What was paid. An absent price is null, never 0: a timer's key may not see it."""
    amounts = list(map(get, PRICES))
    try:
        usual = "\n".join(amounts)
        prices = _usual_prices(usual) if len(usual) < 200 else None
    except TypeError:  # something other than text is among them
        prices = None
    if prices is None:
        named = zip(PRICES, amounts, strict=True)
        prices = ",".join([f'"{name}":{_price(amount, name, notes)}' for name, amount in named])
    order = get("rsu_transaction_id")
    order = order if type(order) is int else orjson.dumps(order).decode()
    transaction = orjson.dumps(text(get("transaction_id"), "transaction_id", notes)).decode()
    return f'{{{prices},"rsu_transaction_id":{order},"transaction_id":{transaction}}}'


def additional(get: Get, notes: list[str]) -> str:
    """Everything else that is sent, and what was asked for with it; as sent, but for money and truth."""
    values: dict[str, Any] = {name: get(name) for name in AS_SENT}
    # Money text like the others, despite its name.
    discount = _price(get("usatf_discount_amount_in_cents"), "usatf_discount_amount_in_cents", notes)
    values["usatf_discount_amount_in_cents"] = orjson.Fragment(discount)
    values["imported"] = read(flag, get("imported"), "imported", "neither T nor F", notes)
    return orjson.dumps(values).decode()


@lru_cache(maxsize=8192)
def _usual_prices(lines: str) -> str | None:
    """The prices of an event are the same for most of its people; None when one of them cannot be read."""
    amounts = [money(line) for line in lines.split("\n")]
    if len(amounts) != len(PRICES) or None in amounts:
        return None
    return ",".join([f'"{name}":{amount}' for name, amount in zip(PRICES, amounts, strict=True)])


def _price(value: Any, name: str, notes: list[str]) -> str:
    if value is None:
        return "null"
    amount = money(value)
    if amount is None:
        if value != "":
            notes.append(f"{name}: not an amount")
        return "null"
    return amount
