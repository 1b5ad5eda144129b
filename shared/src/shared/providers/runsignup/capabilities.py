"""What RunSignUp can do, and how much of it in one call."""

from shared.providers.port import Capabilities, Removals

CAPABILITIES = Capabilities(
    removals=Removals.EXPLICIT,  # runsignup.com/API/race/:race_id/removed-participants
    search_by_bib=True,
    bib_ranges=True,  # runsignup.com/API/race/:race_id/get-bib-validation-settings
    page_size=2500,  # runsignup.com/API/race/:race_id/participants: the maximum of results_per_page
    removals_page_size=1000,  # in use; the maximum is not documented
    races_page_size=1000,  # runsignup.com/API/races: the maximum of results_per_page
    smallest_default_page=50,  # runsignup.com/API/races: the default of results_per_page
)
