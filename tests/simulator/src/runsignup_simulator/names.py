"""Invented people: pools of names, and the hostile ones that break a careless reader (reference 15, quirk 22)."""

from __future__ import annotations

FIRST = (
    "Ada", "Björn", "Chloé", "Dmitri", "Elif", "Fatou", "Goran", "Hana", "Ines", "Jun", "Kai", "Leila", "Mateo", "Noor",
    "Olu", "Pilar", "Quinn", "Rosa", "Søren", "Tomas", "Uma", "Vera", "Wen", "Ximena", "Yusuf", "Zoë", "Amara", "Boris",
    "Carmen", "Dalia", "Emeka", "Freya", "Giulia", "Hugo", "Ingrid", "Jamal", "Katya", "Lars", "Mina", "Nils",
)  # fmt: skip
LAST = (
    "Lindqvist", "Ek", "O'Neill-Ruiz", "Haddad", "Varga", "Okafor", "Yamada", "Petrov", "Novák", "García", "Müller",
    "Nguyen", "Kowalski", "Mbeki", "Rossi", "Silva", "D'Angelo", "van der Berg", "Fitzgerald", "Ibrahim", "Jansen",
    "Kaur", "Larsen", "Moreau", "Nakamura", "Ortiz", "Papadopoulos", "Quist", "Rahman", "Sato", "Torres", "Ueda",
    "Villanueva", "Whitlock", "Xu", "Yilmaz", "Zimmer", "Abara", "Brandt", "Castellanos",
)  # fmt: skip
CITIES = (
    ("Springdale", "IA", "50000"), ("Bayport", "NJ", "08000"), ("Cedar Hollow", "CO", "80000"),
    ("Port Ellery", "WA", "98000"), ("Mill Crossing", "TX", "75000"), ("Alder Point", "OR", "97000"),
    ("Saint Brannock", "MN", "55000"), ("Lake Fennel", "MI", "49000"), ("Dry Gulch", "AZ", "85000"),
    ("Northhaven", "ME", "04000"), ("Palmetto Bend", "SC", "29000"), ("Kettle Creek", "PA", "15000"),
)  # fmt: skip
STREETS = ("Elm St", "Bay Rd", "Oak Ct", "Hill Ave", "Mill Ln", "N. 4th St #12", "Rue de l'Église", "P.O. Box")
TEAM_TYPES = ((61, "Corporate"), (62, "Family & Friends"), (63, "School"))
GIVEAWAYS = ((31, "Women's M"), (32, "Men's L"), (33, "Youth S"), (34, "Unisex L"), (35, "No shirt, thanks / none"))
RACE_FIRST = (
    "Maple River", "Harbor Lights", "Copper Ridge", "Frozen Otter", "Blue Heron", "Old Mill", "Prairie Wind",
    "Turkey", "Lighthouse", "Canyon Echo", "Firefly", "Granite", "Sunrise", "Salt Marsh", "Hollow Oak", "Windmill",
)  # fmt: skip
RACE_LAST = ("Run", "Trot", "Half & 5K", "Trail Run", "Classic", "Festival of Miles", "Triathlon", "Dash")
COMPANIES = (
    "Split Second Timing", "Mile Marker Timing", "Red Clock Race Services", "Chip & Mat", "Finish Arch Timing",
    "Tenths", "Gun Time Co", "Northern Splits", "Corral B", "Last Kilometre Timing", "Two Mats", "Bib & Pin",
    "Sunday Starters",
)  # fmt: skip

MARKER = "Quorvexil"
"""A last name that occurs nowhere else: whoever finds it in a log has found a leak."""

HOSTILE_FIRST = (
    "O'Brien'); DROP TABLE runners;--",
    "🏃\u200d♀️ Zoë 🥇",
    "\u202eنور الهدى\u202c",
    "שרה",
    "L" + "o" * 298 + "g",
    "Tab\tand\nnewline\x07\x1b[31m",
    "Nul\x00byte",
    "\x00",
    "Jos&eacute; &amp; &#39;Pep&#39;",
    "   Leading",
    "Trailing\u00a0 ",
    'Quote "Q" \\ back\\slash / slash',
    "<b>bold</b><script>alert(1)</script>",
    "e\u0301 combining vs é",
    "NULL",
    "",
    "{{7*7}} ${HOME} %s %(x)s",
    "𝕬𝖉𝖆 \U0001f468\u200d\U0001f469\u200d\U0001f467",
)
HOSTILE_PHONE = (
    "+1 (555) 010-0103 ext. 7 (ask for the night desk)",
    "555" * 40,
    "n/a",
    "",
    "５５５－０１０",
    "55\x005",
)
HOSTILE_STREET = ("12 Elm St\r\nApt 4", "C:\\temp\\new", "Straße 5/7", None, "", "a" * 300, "\x001 Nul Way")
