"""Whose a connection is: the user at its other end where that is on this machine, else the address that it comes from.

TCP has no SO_PEERCRED. The kernel says whose a socket is to everybody who asks for that one socket (sock_diag(7)): 9 us, however
many there are. Its table /proc/net/tcp would be read whole for each connection, and whoever opens many would make that slow.
"""

from __future__ import annotations

import contextlib
import ipaddress
import socket
import struct

from sentinel.model.fault import Fault

#: linux/netlink.h, linux/sock_diag.h, net/tcp_states.h
_NETLINK_SOCK_DIAG, _SOCK_DIAG_BY_FAMILY, _REQUEST, _NO_COOKIE, _LISTEN = 4, 20, 1, 0xFFFFFFFF, 10
_HEAD = struct.Struct("=IHHII")
#: inet_diag_req_v2 up to the socket, and the socket's id: ports, addresses, interface, cookie
_ASKED, _PORTS, _SOCKET = struct.Struct("=BBBBI"), struct.Struct("!HH"), struct.Struct("!HH16s16s")
#: inet_diag_msg: family and state; user and inode come after the socket's id, its timer and two queues
_SAID, _OWNER = struct.Struct("=BBBB"), struct.Struct("=II")
_AT_PORTS, _AT_OWNER = _HEAD.size + 4, _HEAD.size + 4 + 48 + 12
_SECONDS = 1.0


def whose(taken: socket.socket) -> int:
    """The user id; below 0 a number that stands for the address, where the other end is elsewhere or the kernel does not say."""
    # A client that has left already has no address.
    with contextlib.suppress(OSError, ValueError):
        there, here = taken.getpeername(), taken.getsockname()
        at = _address(there[0])
        if at.is_loopback:
            with contextlib.suppress(OSError, Fault):
                return _user(at, there[1], _address(here[0]), here[1])
        return -1 - int(at)
    return -1


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    found = ipaddress.ip_address(text.partition("%")[0])
    return getattr(found, "ipv4_mapped", None) or found


def _user(
    at: ipaddress.IPv4Address | ipaddress.IPv6Address, port: int, to: ipaddress.IPv4Address | ipaddress.IPv6Address, our: int
) -> int:
    """Of the socket at this address and port that is connected to ours. Raises OSError, and Fault where it has no owner."""
    family = socket.AF_INET if at.version == 4 else socket.AF_INET6
    body = _ASKED.pack(family, socket.IPPROTO_TCP, 0, 0, _NO_COOKIE)
    body += _SOCKET.pack(port, our, at.packed, to.packed) + struct.pack("=III", 0, _NO_COOKIE, _NO_COOKIE)
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _NETLINK_SOCK_DIAG) as kernel:
        kernel.settimeout(_SECONDS)
        kernel.send(_HEAD.pack(_HEAD.size + len(body), _SOCK_DIAG_BY_FAMILY, _REQUEST, 1, 0) + body)
        said = kernel.recv(4096)
    if len(said) < _AT_OWNER + _OWNER.size or _HEAD.unpack_from(said)[1] != _SOCK_DIAG_BY_FAMILY:
        raise Fault("the kernel knows no such socket")
    user, inode = _OWNER.unpack_from(said, _AT_OWNER)
    # Without a connection the kernel looks for a listener; one whose program has closed it counts as root's (tcp_diag.c).
    if _SAID.unpack_from(said, _HEAD.size)[1] == _LISTEN or _PORTS.unpack_from(said, _AT_PORTS) != (port, our) or not inode:
        raise Fault("that socket has no owner")
    return int(user)
