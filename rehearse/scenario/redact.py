"""A scenario without what must not be written down or shown."""

from __future__ import annotations

from dataclasses import replace

from rehearse.model.scenario import Scenario
from rehearse.scenario.addresses import is_dsn


def redact(scenario: Scenario) -> Scenario:
    """`scenario` with the address of an existing server replaced by its scheme (`postgresql://***`), and
    without the values of production's settings.
    """
    exported = scenario.database.production
    if exported is not None:
        scenario = replace(
            scenario, database=replace(scenario.database, production=replace(exported, values=()))
        )
    provision = scenario.database.provision
    if not is_dsn(provision):
        return scenario
    scheme, separator, _ = provision.partition("://")
    shown = f"{scheme}://***" if separator and scheme.isalpha() else "dsn"
    return replace(scenario, database=replace(scenario.database, provision=shown))
