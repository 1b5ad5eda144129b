"""How a value of ours is read from the columns that an old table happens to have. Plain functions over names and types.

Two dialects are known, and supersets of both. *Nested*: what the platform tells of address, team and payment stands in
`jsonb` columns, times are `timestamp`. *Flat*: every key is a column of its own, and much is text. Nothing here asks
which dialect a table is in: each of our columns names the spellings it knows, and the first with a value counts.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

NUMBERS = frozenset({"smallint", "integer", "bigint", "numeric", "real", "double precision"})

ADDRESS = ("street", "city", "state", "zipcode", "country_code")
TEAM = ("team_id", "team_name", "team_type_id", "team_type", "team_gender", "team_bib_num")
AMOUNTS = (
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
PAYMENT = (*AMOUNTS, "rsu_transaction_id", "transaction_id")
ADDITIONAL = (
    "usatf_discount_amount_in_cents",
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
    "imported",
)

#: The platform's own zone: all its times but an event's start and end.
EASTERN = "'America/New_York'"

#: What text is read with: a value that cannot be read is null, and costs nobody else's row. They live as long as the
#: connection.
READERS = """
SET DateStyle = 'ISO, MDY';
CREATE OR REPLACE FUNCTION pg_temp.hub_instant(value text, zone text) RETURNS timestamptz LANGUAGE plpgsql AS $$
BEGIN
    IF value ~ '^[0-9]{9,10}([.][0-9]+)?$' THEN RETURN to_timestamp(value::double precision); END IF;
    IF value ~ '([Zz]|[+-][0-9]{2}(:?[0-9]{2})?)$' AND value ~ ':' THEN RETURN value::timestamptz; END IF;
    RETURN least(value::timestamp AT TIME ZONE zone,
        (value::timestamp - interval '1 hour') AT TIME ZONE zone + interval '1 hour');
EXCEPTION WHEN OTHERS THEN RETURN NULL;
END $$;
CREATE OR REPLACE FUNCTION pg_temp.hub_day(value text) RETURNS date LANGUAGE plpgsql AS $$
BEGIN RETURN value::date; EXCEPTION WHEN OTHERS THEN RETURN NULL; END $$;
CREATE OR REPLACE FUNCTION pg_temp.hub_number(value text) RETURNS numeric LANGUAGE plpgsql AS $$
BEGIN RETURN translate(value, '$, ', '')::numeric; EXCEPTION WHEN OTHERS THEN RETURN NULL; END $$;
CREATE OR REPLACE FUNCTION pg_temp.hub_json(value text) RETURNS jsonb LANGUAGE plpgsql AS $$
BEGIN RETURN value::jsonb; EXCEPTION WHEN OTHERS THEN RETURN NULL; END $$;
CREATE OR REPLACE FUNCTION pg_temp.hub_flag(value text) RETURNS boolean LANGUAGE sql AS $$
SELECT CASE WHEN lower(btrim(value)) IN ('t', 'true', '1', 'y', 'yes') THEN true
    WHEN lower(btrim(value)) IN ('f', 'false', '0', 'n', 'no') THEN false END $$;
"""


def quoted(text: str) -> str:
    """A literal of SQL."""
    return "'" + text.replace("'", "''") + "'"


def named(name: str) -> str:
    """A name in SQL, whatever characters it has."""
    return '"' + name.replace('"', '""') + '"'


def _either(expressions: Iterable[str], kind: str) -> str:
    """The first that is not null."""
    some = list(expressions)
    return f"NULL::{kind}" if not some else some[0] if len(some) == 1 else f"coalesce({', '.join(some)})"


@dataclass(frozen=True, slots=True)
class Spelling:
    """An old table's columns with their types, and expressions over them (the table's alias is ``o``)."""

    columns: Mapping[str, str]

    def _there(self, names: Iterable[str]) -> list[tuple[str, str]]:
        return [(f"o.{named(name)}", self.columns[name].split("(")[0]) for name in names if name in self.columns]

    def text(self, *names: str) -> str:
        """As it stands."""
        return _either([f"{column}::text" for column, _ in self._there(names)], "text")

    def word(self, *names: str) -> str:
        """Text without blanks around it; blank is null."""
        return _either([f"nullif(btrim({column}::text), '')" for column, _ in self._there(names)], "text")

    def identity(self, *names: str) -> str:
        """An id as text; blank and 0 are none."""
        return _either([f"nullif(nullif(btrim({column}::text), ''), '0')" for column, _ in self._there(names)], "text")

    def number(self, *names: str) -> str:
        """A number, from text too: $1,234.50."""
        return _either(
            [
                f"{column}::numeric" if kind in NUMBERS else f"pg_temp.hub_number({column}::text)"
                for column, kind in self._there(names)
            ],
            "numeric",
        )

    def whole(self, *names: str) -> str:
        """A number that fits an integer, or null."""
        value = self.number(*names)
        return f"CASE WHEN abs({value}) < 2147483648 THEN {value}::integer END"

    def flag(self, *names: str) -> str:
        """True, false, or null when it is neither."""
        return _either(
            [
                column if kind == "boolean" else f"pg_temp.hub_flag({column}::text)"
                for column, kind in self._there(names)
            ],
            "boolean",
        )

    def day(self, *names: str) -> str:
        """A day of the calendar."""
        some = []
        for column, kind in self._there(names):
            if kind.startswith("timestamp with time zone"):
                some.append(f"({column} AT TIME ZONE {EASTERN})::date")
            elif kind in {"date", "timestamp without time zone", "timestamp"}:
                some.append(f"{column}::date")
            else:
                some.append(f"pg_temp.hub_day({column}::text)")
        return _either(some, "date")

    def instant(self, zone: str, *names: str) -> str:
        """A moment; what has no zone of its own is read in ``zone`` (an expression).

        Of the hour that autumn repeats the first is meant, as at the provider's door; PostgreSQL alone would take the
        second.
        """
        some = []
        for column, kind in self._there(names):
            if kind == "timestamp with time zone":
                some.append(column)
            elif kind in {"timestamp without time zone", "timestamp", "date"}:
                wall = f"{column}::timestamp"
                some.append(
                    f"least({wall} AT TIME ZONE {zone},"
                    f" ({wall} - interval '1 hour') AT TIME ZONE {zone} + interval '1 hour')"
                )
            elif kind in NUMBERS:
                some.append(f"CASE WHEN {column} > 0 THEN to_timestamp({column}::double precision) END")
            else:
                some.append(f"pg_temp.hub_instant({column}::text, {zone})")
        return _either(some, "timestamptz")

    def json(self, name: str) -> str:
        """A JSON value of any kind, from text too."""
        return _either([_jsonb(column, kind) for column, kind in self._there([name])], "jsonb")

    def object(self, nested: str, keys: Iterable[str]) -> str:
        """A JSON object: the column that holds one, else the keys that are columns; both, where both are."""
        there = [key for key in keys if key in self.columns]
        pairs = ", ".join(f"{quoted(key)}, {self._value(key)}" for key in there)
        flat = f"jsonb_build_object({pairs})" if there else None
        if nested not in self.columns:
            return flat or "NULL::jsonb"
        value = self.json(nested)
        whole = f"CASE WHEN jsonb_typeof({value}) = 'object' THEN {value} END"
        return whole if flat is None else f"({flat} || coalesce(jsonb_strip_nulls({whole}), '{{}}'))"

    def _value(self, key: str) -> str:
        if key in AMOUNTS or key == "usatf_discount_amount_in_cents":
            return f"to_jsonb({self.number(key)})"
        if key == "imported":
            return f"to_jsonb({self.flag(key)})"
        return f"to_jsonb(o.{named(key)})"


def _jsonb(column: str, kind: str) -> str:
    if kind == "jsonb":
        return column
    return f"{column}::jsonb" if kind == "json" else f"pg_temp.hub_json({column}::text)"
