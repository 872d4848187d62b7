"""Proxies and certificates of the environment, for one server.

httpx prepares all of the environment's proxies and certificates for every client, and fails for
one that is malformed or missing, even if it would never be used. Here only what this server needs
is looked at, and this machine is reached without a proxy.
"""

from __future__ import annotations

import ipaddress
import os
import re
import ssl
from importlib.util import find_spec
from typing import Any
from urllib.request import getproxies

import httpx

from stn_cluster.client.urls import why_unusable
from stn_cluster.errors import UserError
from stn_cluster.paths import user_path

_SCHEMES = ("http", "https", "socks5", "socks5h")
# An entry of NO_PROXY: head, 10.0.0.1:80, [::1]:80 or ::1.
_ENTRY = re.compile(
    r"(?P<name>[^:\[\]]+)(:(?P<port>\d+))?|\[(?P<address_6>.+)\](:(?P<port_6>\d+))?|(?P<bare_6>.+)"
)


def proxy_for(url: httpx.URL) -> httpx.URL | None:
    """The proxy for a server: HTTP_PROXY or HTTPS_PROXY by its scheme, else ALL_PROXY; None if
    there is none, or NO_PROXY has the server, or it is this machine.

    Raises:
        UserError: the proxy is malformed, or needs a package that is not installed.
    """
    proxies = getproxies()
    text = proxies.get(url.scheme) or proxies.get("all")
    if not text or is_loopback(url.host) or _goes_past(url, proxies.get("no", "")):
        return None
    past = f"NO_PROXY={url.host} would go past it"
    try:
        proxy = httpx.URL(text if "://" in text else f"http://{text}")
        reason = why_unusable(proxy)
    except (httpx.InvalidURL, UnicodeError) as error:
        raise UserError(f"proxy of the environment: not a URL ({error}); {past}") from None
    named = _named(proxy)
    if proxy.scheme not in _SCHEMES or not proxy.host:
        allowed = ", ".join(f"{scheme}://HOST:PORT" for scheme in _SCHEMES)
        raise UserError(f"proxy {named}: one of {allowed}; {past}")
    if reason is not None:
        raise UserError(f"proxy {named}: {reason}; {past}")
    if proxy.scheme.startswith("socks") and find_spec("socksio") is None:
        raise UserError(f"proxy {named}: needs SOCKS: pip install 'httpx[socks]'; {past}")
    return proxy


def through(url: str, proxy: httpx.URL | None) -> str:
    """A server's URL for people, with the proxy that leads to it."""
    if proxy is None:
        return url
    host = httpx.URL(url).host
    return f"{url} (through the proxy {_named(proxy)}; NO_PROXY={host} would go past it)"


def connection(url: httpx.URL, proxy: httpx.URL | None) -> dict[str, Any]:
    """Arguments of `httpx.Client` for a server and its proxy.

    Raises:
        UserError: SSL_CERT_FILE or SSL_CERT_DIR cannot be read.
    """
    encrypted = "https" in (url.scheme, proxy.scheme if proxy else None)
    # Without TLS, no certificates are read, and none would be trusted.
    context = _trusted() if encrypted else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    own = None
    if proxy is not None:
        own = httpx.Proxy(proxy, ssl_context=context if proxy.scheme == "https" else None)
    return {"trust_env": False, "verify": context, "proxy": own}


def is_loopback(host: str) -> bool:
    """Whether a host is this machine: localhost, 127.0.0.0/8 or ::1."""
    if host.lower().rstrip(".") == "localhost":
        return True
    address = _address(host)
    return address is not None and (address.is_loopback or address.is_unspecified)


def _goes_past(url: httpx.URL, no_proxy: str) -> bool:
    """Whether NO_PROXY has the server: '*', names of hosts or domains, addresses or networks, each
    with or without a port; what is malformed is passed over."""
    host = url.host.lower().rstrip(".")
    address = _address(host)
    port = str(url.port or (443 if url.scheme == "https" else 80))
    for entry in no_proxy.replace(",", " ").lower().split():
        parts = _ENTRY.fullmatch(entry.rpartition("://")[2])
        if parts is None or (parts["port"] or parts["port_6"] or port) != port:
            continue
        name = parts["name"] or parts["address_6"] or parts["bare_6"]
        network, domain = _network(name), name.lstrip("*").strip(".")
        if name == "*" or (domain and f".{host}".endswith(f".{domain}")):
            return True
        if network and address and address in network:
            return True
    return False


def _network(text: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network | None:
    try:
        return ipaddress.ip_network(text, strict=False)
    except ValueError:
        return None


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(text.strip("[]").partition("%")[0])
    except ValueError:
        return None


def _named(proxy: httpx.URL) -> str:
    """A proxy for people, without name and password."""
    return str(proxy.copy_with(username=None, password=None))


def _trusted() -> ssl.SSLContext:
    """Certificates to trust: those of SSL_CERT_FILE or SSL_CERT_DIR, or certifi's."""
    file, folders = os.environ.get("SSL_CERT_FILE"), os.environ.get("SSL_CERT_DIR")
    try:
        if file:
            return ssl.create_default_context(cafile=user_path(file))
        if not folders:
            return httpx.create_ssl_context(trust_env=False)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        for folder in map(user_path, filter(None, folders.split(os.pathsep))):
            next(folder.iterdir(), None)  # OpenSSL passes over a missing folder, and trusts nobody
            context.load_verify_locations(capath=folder)
        return context
    except OSError as error:  # also ssl.SSLError
        names = ("SSL_CERT_FILE", "SSL_CERT_DIR", "SSLKEYLOGFILE")
        given = ", ".join(f"{name}={os.environ[name]}" for name in names if os.environ.get(name))
        reason = error.strerror or str(error)
        raise UserError(f"{given or 'TLS'}: no certificates can be read: {reason}") from error
