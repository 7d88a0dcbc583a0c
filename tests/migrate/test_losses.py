"""What a migration takes away counts as data only where it stood there itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rehearse.acts.losses import count_losses
from rehearse.engines.postgres.connect import connect
from rehearse.model.target import Target

if TYPE_CHECKING:
    from tests.migrate.conftest import Migrate

SETUP = (
    "CREATE VIEW seen AS SELECT id FROM orders; "
    "CREATE MATERIALIZED VIEW kept AS SELECT id FROM orders; CREATE TABLE held AS SELECT 1 AS id"
)


def test_views_hold_no_data(migrate: Migrate, shop: Target) -> None:
    run = migrate("DROP VIEW seen; DROP MATERIALIZED VIEW kept; DROP TABLE held;", setup=SETUP)
    with connect(shop, "rehearse") as connection:
        connection.execute(SETUP)  # the base, which no migration touches, has them still
    effects = [statement.effects for statement in count_losses(shop, run).statements]
    lost = [(change.relation.name, change.rows) for each in effects if each for change in each.relations]
    assert lost == [("seen", 0), ("kept", 0), ("held", 1)]
