"""A standby beside a PostgreSQL server in a container: a second container, on a network of their own."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from rehearse.engines.postgres.connect import connect
from rehearse.provision.box import Contents, started
from rehearse.provision.engine import own_network
from rehearse.provision.server import Standby
from rehearse.provision.standby import STANDBY_SETTINGS, StreamingStandby, place_for_standby

if TYPE_CHECKING:
    from rehearse.provision.container import ContainerServer

# The images' contract lets only `host all all all` in, which does not say "replication".
_LET_STANDBY_IN = 'echo "host replication {user} all scram-sha-256" >> "$0"'
# The primary may join the network a moment after us; a directory below, because a mount's own has a mode
# that the server refuses.
_FOLLOW = """
export PGDATA="$PGDATA/standby"
if [ ! -s "$PGDATA/PG_VERSION" ]; then
  for _ in $(seq 100); do pg_isready -q && break; sleep 0.1; done
  pg_basebackup -D "$PGDATA" -R -C -S "$PGAPPNAME" -X stream -c fast --no-sync --no-manifest || exit 1
fi
unset PGHOST PGUSER PGPASSWORD PGAPPNAME
exec "$@"
"""


@contextlib.contextmanager
def beside(server: ContainerServer) -> Iterator[Standby]:
    """A second container that follows `server`. See `Standby`."""
    recipe = server.recipe
    password = server.target.password
    assert password is not None
    with place_for_standby(server) as name, own_network(recipe.client) as network:
        primary = _let_standby_in(server, network)
        contents = Contents(
            command=["sh", *recipe.command(STANDBY_SETTINGS | {"listen_addresses": "*"})],
            port=recipe.product.port,
            secrets={
                "PGHOST": primary,
                "PGUSER": server.target.user,
                "PGPASSWORD": password.reveal(),
                "PGAPPNAME": name,
            },
            entrypoint=["sh", "-c", _FOLLOW],
            user="postgres",
        )
        with started(recipe.image, recipe.limits, contents) as box:
            network.connect(box.container_id)
            second = server.another(box)
            second.wait_ready()
            standby = StreamingStandby(name, second)
            standby.wait_streaming(server.target)
            yield standby


def _let_standby_in(server: ContainerServer, network: Any) -> str:
    """Join the network, and allow replication; its name there."""
    with connect(server.target, "rehearse") as connection:
        row = connection.execute("SELECT current_setting('hba_file')").fetchone()
        assert row is not None
        server.box.execute(["sh", "-c", _LET_STANDBY_IN.format(user=server.target.user), row[0]])
        connection.execute("SELECT pg_catalog.pg_reload_conf()")
    network.connect(server.box.container_id, aliases=["primary"])
    return "primary"
