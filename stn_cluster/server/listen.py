"""Listen address of the server, and the token that clients need."""

from __future__ import annotations

import ipaddress
import socket
from dataclasses import dataclass, field

from stn_cluster.client.schemas import PORT, TOKEN_VARIABLE, is_usable_token
from stn_cluster.errors import UserError

SHORTEST_TOKEN = 16  # characters


@dataclass(frozen=True)
class ListenAddress:
    """Host, port and token of the server."""

    host: str = "127.0.0.1"
    port: int = PORT  # 0: any free port
    token: str | None = field(default=None, repr=False)
    needs_token: bool = True  # else everybody on this machine may do everything

    @property
    def loopback(self) -> bool:
        """Whether only this machine can reach the server."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    def check(self) -> None:
        """Checks the token, and that the server can listen here, before anything is started.

        Raises:
            UserError: the token is unusable, or missing where others can connect; or the address
                is not this machine's, or in use.
        """
        if self.token is not None and len(self.token) < SHORTEST_TOKEN:
            raise UserError(f"{TOKEN_VARIABLE}: at least {SHORTEST_TOKEN} characters")
        if self.token is not None and not is_usable_token(self.token):
            raise UserError(f"{TOKEN_VARIABLE}: ASCII letters, digits and signs only")
        if self.token is None and not self.loopback:
            raise UserError(
                f"--host {self.host}: others could reach it, so it needs a token: "
                f"set {TOKEN_VARIABLE}, as in {TOKEN_VARIABLE}=$(openssl rand -hex 32)"
            )
        self.open().close()

    def open(self) -> socket.socket:
        """Opens the listening socket; connections wait until the server accepts them."""
        family = socket.AF_INET6 if ":" in self.host else socket.AF_INET
        try:
            return socket.create_server((self.host, self.port), family=family, backlog=512)
        except (OSError, OverflowError) as error:
            reason = getattr(error, "strerror", None) or error
            raise UserError(f"cannot listen on {self.host}, port {self.port}: {reason}") from error
