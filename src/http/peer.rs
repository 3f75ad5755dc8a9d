//! Who is at the other end of a connection.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

/// The other end of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Peer {
    /// Another machine, or another process of this one.
    Tcp {
        /// Their address.
        remote: SocketAddr,
        /// Ours, which they have connected to.
        local: SocketAddr,
        /// Whether they speak TLS.
        tls: bool,
    },
    /// A process of this machine that could open the Unix socket.
    Local {
        /// Its user.
        uid: u32,
    },
}

impl Peer {
    /// What limits are counted by: an IPv4 address, or the network that an IPv6 address is from, since one customer has all of it;
    /// none for the Unix socket, which has no limits.
    pub fn counted_by(&self) -> Option<IpAddr> {
        let Self::Tcp { remote, .. } = self else { return None };
        Some(match remote.ip().to_canonical() {
            IpAddr::V4(address) => IpAddr::V4(address),
            IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX))),
        })
    }

    /// Whether what is said is encrypted.
    pub const fn is_tls(&self) -> bool {
        matches!(self, Self::Tcp { tls: true, .. })
    }
}
