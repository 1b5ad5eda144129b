"""RunSignUp, as the value that the registry holds."""

from shared.providers.port import Provider
from shared.providers.runsignup.capabilities import CAPABILITIES
from shared.providers.runsignup.cleaning import as_json
from shared.providers.runsignup.errors import in_words
from shared.providers.runsignup.keys import check_key
from shared.providers.runsignup.mapping import MAPPING_VERSION, identify, map_participant, map_removal
from shared.providers.runsignup.races import map_race
from shared.providers.runsignup.readers import (
    check_page,
    read_bib_ranges,
    read_participants,
    read_race,
    read_races,
    read_removed,
)
from shared.providers.runsignup.requests import (
    ask_bib,
    ask_bib_ranges,
    ask_participants,
    ask_race,
    ask_races,
    ask_removed,
)
from shared.providers.runsignup.responses import read_quota

RUNSIGNUP = Provider(
    name="runsignup",
    provider_id=2,
    title="RunSignUp",
    mapping_version=MAPPING_VERSION,
    capabilities=CAPABILITIES,
    ask_races=ask_races,
    ask_race=ask_race,
    ask_participants=ask_participants,
    ask_removed=ask_removed,
    ask_bib=ask_bib,
    ask_bib_ranges=ask_bib_ranges,
    read_races=read_races,
    read_race=read_race,
    read_participants=read_participants,
    read_removed=read_removed,
    read_bib_ranges=read_bib_ranges,
    read_quota=read_quota,
    check_page=check_page,
    as_json=as_json,
    map_race=map_race,
    identify=identify,
    map_participant=map_participant,
    map_removal=map_removal,
    check_key=check_key,
    in_words=in_words,
)
