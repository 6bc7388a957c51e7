//! What an address says: whether it leads through a relay, to which peer, and from which machine it came.

use std::net::IpAddr;

use libp2p::PeerId;
use libp2p::multiaddr::{Multiaddr, Protocol};

/// Whether a connection to or from this address goes through a relay.
pub(crate) fn is_relayed(address: &Multiaddr) -> bool {
    address.iter().any(|part| part == Protocol::P2pCircuit)
}

/// The peer that an address ends in.
pub(crate) fn peer(address: &Multiaddr) -> Option<PeerId> {
    match address.iter().last() {
        Some(Protocol::P2p(peer)) => Some(peer),
        _ => None,
    }
}

/// The IP address that an address begins with.
fn ip(address: &Multiaddr) -> Option<IpAddr> {
    match address.iter().next() {
        Some(Protocol::Ip4(ip)) => Some(IpAddr::V4(ip)),
        Some(Protocol::Ip6(ip)) => Some(IpAddr::V6(ip)),
        _ => None,
    }
}

/// Whether an address leads to the machine it is read on.
pub(crate) fn is_loopback(address: &Multiaddr) -> bool {
    ip(address).is_some_and(|ip| ip.is_loopback())
}

/// Whether an address is a listener's wildcard, which leads nowhere.
pub(crate) fn is_nowhere(address: &Multiaddr) -> bool {
    ip(address).is_some_and(|ip| ip.is_unspecified())
}

/// Where a connection comes from, as far as connections are counted: an IPv4 address, or the /64 of an IPv6 address,
/// which one machine is usually given whole. None for relayed connections: the relay's address is not the peer's.
pub(crate) fn origin(address: &Multiaddr) -> Option<IpAddr> {
    if is_relayed(address) {
        return None;
    }
    address.iter().find_map(|part| match part {
        Protocol::Ip4(ip) => Some(IpAddr::V4(ip)),
        Protocol::Ip6(ip) => Some(match ip.to_ipv4_mapped() {
            Some(ip) => IpAddr::V4(ip),
            None => {
                let [a, b, c, d, ..] = ip.segments();
                IpAddr::V6([a, b, c, d, 0, 0, 0, 0].into())
            }
        }),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin_of(text: &str) -> Option<String> {
        origin(&text.parse().unwrap()).map(|ip| ip.to_string())
    }

    #[test]
    fn machines_are_told_apart() {
        assert_eq!(origin_of("/ip4/10.1.2.3/tcp/9").as_deref(), Some("10.1.2.3"));
        assert_eq!(origin_of("/ip6/::ffff:10.1.2.3/tcp/9").as_deref(), Some("10.1.2.3"));
        assert_eq!(
            origin_of("/ip6/2001:db8:1:2:3:4:5:6/udp/9/quic-v1").as_deref(),
            Some("2001:db8:1:2::")
        );
        let peer = PeerId::random();
        assert_eq!(origin_of(&format!("/ip4/10.1.2.3/tcp/9/p2p/{peer}/p2p-circuit")), None);
    }

    #[test]
    fn the_last_peer_is_the_one_reached() {
        let (relay, end) = (PeerId::random(), PeerId::random());
        let address: Multiaddr =
            format!("/ip4/1.2.3.4/tcp/1/p2p/{relay}/p2p-circuit/p2p/{end}").parse().unwrap();
        assert_eq!(peer(&address), Some(end));
        assert!(is_relayed(&address));
        assert_eq!(peer(&"/ip4/1.2.3.4/tcp/1".parse().unwrap()), None);
    }
}
