"""Have the audits passed for exactly the rows that are to be published, and are there any?

Dagster's blocking checks hold within one run only, so a publication asks the stored audit itself, by data version.
"""

from collections import Counter

from pipeline.errors import PublicationRefused
from pipeline.publishing.publisher import Partitions
from pipeline.records import Finding, Manifest

AUDITED = ("conversations", "rendered/{}", "masked/{}")
"""What an audit reads."""


def require_verdict(store: Partitions, batch: str, target: str) -> Manifest:
    """The audit's manifest. Raises PublicationRefused where it is missing, of other rows, or has found an error."""
    asset = f"audits/{target}"
    verdict = store.manifest(asset, batch)
    if verdict is None:
        raise PublicationRefused(f"{asset}/{batch}: not audited; materialize {asset}")
    for name in (audited.format(target) for audited in AUDITED):
        now = store.manifest(name, batch)
        if now is None or verdict.inputs.get(name) != now.data_version:
            raise PublicationRefused(f"{asset}/{batch}: audited other rows than {name} has now; materialize {asset}")
        if not now.rows:
            left = ", ".join(f"{n} {reason}" for reason, n in now.rejects.items()) or "none came in"
            raise PublicationRefused(f"{name}/{batch}: no row is left ({left}); there is nothing to publish")
    errors = [finding for finding in store.read(asset, batch, Finding) if finding.severity == "error"]
    if errors:
        count = ", ".join(f"{n} {name}" for name, n in sorted(Counter(e.audit for e in errors).items()))
        raise PublicationRefused(f"{asset}/{batch}: {count}; first: row {errors[0].row}: {errors[0].detail}")
    return verdict
