"""A secret that an operator entered in clear is sealed, and the clear text gone, within minutes."""

from shared.postgres.truths.checking import Truth

TRUTH = Truth(
    "secrets_are_sealed",
    "A secret stands in clear in partner_provider_credentials: no scheduler is running that could seal it.",
    """
    SELECT format('credential %s', partner_provider_credential_id) FROM public.partner_provider_credentials
    WHERE secret IS NOT NULL AND coalesce(updated_at, created_at) < $1::timestamptz - interval '5 minutes'
    ORDER BY 1
    """,
)
