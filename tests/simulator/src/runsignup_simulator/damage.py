"""What a fault does to an answer: a plain function from a good delivery to a broken one."""

from __future__ import annotations

import gzip
from typing import Any, NamedTuple

import orjson

from .faults import BAD_ROWS, Fault
from .responses import HTML, JSON, Response, answer, encode, error, page

MEGABYTE = 1_048_576


class Delivery(NamedTuple):
    """A response and how it reaches the client."""

    response: Response
    answered_at: float
    """When the rows were read: what `Date` says, unless a fault has it say something else."""
    delay_seconds: float = 0.0
    cut: bool = False
    """Half of the body, then the connection is closed."""
    reset: bool = False
    """No answer at all: the connection is reset."""
    date_offset: float | None = 0.0
    """Seconds the `Date` header is off; None leaves the header out."""
    late_date: bool = False
    """`Date` is the moment of sending: after a slow query it is later than the rows."""


def damage(fault: Fault, delivery: Delivery) -> Delivery:
    """The delivery as this fault leaves it. Row faults leave answers without rows as they are."""
    response = delivery.response
    match fault.kind:
        case "slow":
            return delivery._replace(delay_seconds=delivery.delay_seconds + fault.seconds, late_date=fault.late_date)
        case "reset":
            return delivery._replace(reset=True)
        case "cut_body":
            return delivery._replace(cut=True)
        case "no_date_header":
            return delivery._replace(date_offset=None)
        case "clock_skew":
            return delivery._replace(date_offset=fault.seconds)
    return delivery._replace(response=_response(fault, response))


def _response(fault: Fault, response: Response) -> Response:
    match fault.kind:
        case "http_500":
            return page(500, "Internal Server Error")
        case "http_503":
            broken = page(503, "Service Temporarily Unavailable")
            return broken if fault.retry_after is None else broken.with_header("Retry-After", fault.retry_after)
        case "page_522":
            return page(522, "Connection timed out")
        case "html_200":
            return answer(page(200, "Scheduled maintenance").body, HTML)
        case "wrong_content_type":
            return response._replace(headers=(("Content-Type", fault.content_type),))
        case "error_body":
            if fault.shape == "text":
                return answer(encode({"error": "Something went wrong", "details": {}}), JSON, fault.status or 200)
            return error(fault.code, status=fault.status or 200)
        case "bad_json":
            return answer(b'[{"event":{"event_id":,"participants":[]}', JSON)
        case "deep_json":
            return answer(b"[" * fault.depth + b"]" * fault.depth, JSON)
        case "redirect":
            return answer(b"", HTML, 302).with_header("Location", fault.location)
        case "huge_body":
            return answer(b"[" + b" " * (fault.megabytes * MEGABYTE) + b"]", JSON)
        case "gzip_bomb":
            packed = gzip.compress(b"[" + b" " * (fault.megabytes * MEGABYTE) + b"]", compresslevel=9)
            return answer(packed, JSON).with_header("Content-Encoding", "gzip")
    return _with_rows(fault, response)


def _with_rows(fault: Fault, response: Response) -> Response:
    """Decodes the page, changes its rows, encodes it again."""
    try:
        body = orjson.loads(response.body)
    except orjson.JSONDecodeError:
        return response
    for rows in row_lists(body):
        _damage_rows(fault, rows)
    return response._replace(body=encode(body))


def row_lists(body: Any) -> list[list[Any]]:
    """Every list of rows of a body: participants, removed participants, or races."""
    if isinstance(body, dict) and isinstance(body.get("races"), list):
        return [body["races"]]
    found: list[list[Any]] = []
    for element in body if isinstance(body, list) else [body]:
        if not isinstance(element, dict):
            continue
        event = element.get("event")
        holders = (element, event if isinstance(event, dict) else {})
        found.extend(holder["participants"] for holder in holders if holder.get("participants"))
    return found


def _damage_rows(fault: Fault, rows: list[Any]) -> None:
    middle = len(rows) // 2
    match fault.kind:
        case "duplicate_row":
            rows.append(rows[middle])
        case "short_page":
            del rows[(len(rows) + 1) // 2 :]
        case "empty_answer":
            rows.clear()
        case "missing_keys":
            for row in rows[::3]:
                for key in (
                    "team_id",
                    "team_name",
                    "bib_num",
                    "chip_num",
                    "age",
                    "giveaway",
                    "imported",
                    "amount_paid",
                ):
                    row.pop(key, None)
                if isinstance(row.get("user"), dict):
                    for key in ("email", "gender", "phone", "dob", "address", "middle_name"):
                        row["user"].pop(key, None)
        case "extra_keys":
            for row in rows[::2]:
                row["a_field_of_next_year"] = {"nested": [1, "two", None]}
                if isinstance(row.get("user"), dict):
                    row["user"]["pronouns"] = "they/them"
        case "bad_row":
            rows[middle] = bad_row(fault.choice or BAD_ROWS[(fault.struck - 1) % len(BAD_ROWS)], rows[middle])


def bad_row(choice: str, row: Any) -> Any:
    """The row made unusable in one way; rows that are no participants stay as they are."""
    if not isinstance(row, dict) or not isinstance(row.get("user"), dict):
        return row
    user = dict(row["user"])
    match choice:
        case "invalid_date":
            return {**row, "registration_date": "2/30/2027 25:61", "user": {**user, "dob": "0000-00-00"}}
        case "nul":
            return {**row, "user": {**user, "last_name": f"Nul\x00{user.get('last_name') or ''}\x00"}}
        case "non_numeric_id":
            return {**row, "registration_id": "not-a-number"}
        case "number_for_object":
            return {**row, "user": 17}
        case "unknown_gender":
            return {**row, "user": {**user, "gender": "Q?"}}
        case "foreign_event":
            return {**row, "event_id": 1}
        case _:
            return {**row, "user": {**user, "first_name": "x" * 1_000_000}}
