"""Our columns out of whatever columns are there."""

from shared.postgres.adopting.spelling import Spelling, named


def test_a_column_that_is_not_there_is_null_of_the_right_type() -> None:
    nothing = Spelling({})
    assert nothing.text("name") == "NULL::text"
    assert nothing.instant("'UTC'", "created_at") == "NULL::timestamptz"
    assert nothing.object("address", ["city"]) == "NULL::jsonb"


def test_of_several_spellings_the_first_with_a_value_counts() -> None:
    assert Spelling({"name": "text", "provider_name": "text"}).text("name", "provider_name") == (
        'coalesce(o."name"::text, o."provider_name"::text)'
    )


def test_a_time_with_a_zone_is_taken_as_it_is() -> None:
    assert Spelling({"at": "timestamp with time zone"}).instant("'UTC'", "at") == 'o."at"'


def test_a_number_of_seconds_and_a_text_are_times_too() -> None:
    assert "to_timestamp" in Spelling({"at": "integer"}).instant("'UTC'", "at")
    assert "pg_temp.hub_instant" in Spelling({"at": "character varying"}).instant("'UTC'", "at")


def test_where_a_table_has_json_and_columns_of_its_keys_both_are_read() -> None:
    both = Spelling({"address": "jsonb", "city": "text"}).object("address", ["street", "city"])
    assert "jsonb_build_object('city', to_jsonb(o.\"city\"))" in both
    assert 'jsonb_strip_nulls(CASE WHEN jsonb_typeof(o."address")' in both


def test_a_name_from_the_catalogue_cannot_leave_its_quotes() -> None:
    assert named('a"b; DROP') == '"a""b; DROP"'
