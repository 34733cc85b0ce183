//! Listening to a group of IPv4.

use nix::sys::socket::{AddressFamily, SockFlag, SockType, SockaddrIn, bind, setsockopt, socket, sockopt};
use std::io;
use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::time::Duration;

/// What arrives while the program is busy is kept in the kernel, up to so many bytes.
const KEPT_BYTES: usize = 16 << 20;
/// How long one look waits.
const LOOK: Duration = Duration::from_millis(50);

/// A member of a group, until it is dropped.
#[derive(Debug)]
pub struct GroupReceiver(UdpSocket);

impl GroupReceiver {
    /// Joins a group on the network that has this address of ours. Others on this machine may listen too, and nothing but what
    /// is sent to the group and port arrives.
    ///
    /// # Errors
    /// Where the kernel has no multicasting, or the address is not one of this machine.
    pub fn join(group: SocketAddrV4, interface: Ipv4Addr) -> io::Result<Self> {
        let datagrams = (AddressFamily::Inet, SockType::Datagram);
        let socket = socket(datagrams.0, datagrams.1, SockFlag::SOCK_CLOEXEC, None)?;
        setsockopt(&socket, sockopt::ReuseAddr, &true)?;
        // Beyond the limit of the system where that is allowed.
        if setsockopt(&socket, sockopt::RcvBufForce, &KEPT_BYTES).is_err() {
            setsockopt(&socket, sockopt::RcvBuf, &KEPT_BYTES)?;
        }
        bind(std::os::fd::AsRawFd::as_raw_fd(&socket), &SockaddrIn::from(group))?;
        let socket = UdpSocket::from(socket);
        socket.join_multicast_v4(group.ip(), &interface)?;
        socket.set_read_timeout(Some(LOOK))?;
        Ok(Self(socket))
    }

    /// Waits a moment for a datagram; its length, or `None`. Of one that is longer than the buffer the beginning is taken.
    ///
    /// # Errors
    /// Where the socket fails.
    pub fn receive(&self, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        match self.0.recv(buffer) {
            Ok(length) => Ok(Some(length)),
            Err(error) => match error.kind() {
                io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut | io::ErrorKind::Interrupted => Ok(None),
                _ => Err(error),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sent_to_a_group_reaches_every_member_and_nothing_else_does() {
        let group = SocketAddrV4::new(Ipv4Addr::new(239, 255, 77, 200), 18_462);
        let members = [0, 1].map(|_| GroupReceiver::join(group, Ipv4Addr::LOCALHOST).unwrap());
        let sender = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        sender.send_to(b"to nobody", (Ipv4Addr::LOCALHOST, group.port())).unwrap_or_default();
        sender.send_to(b"hello", group).unwrap();
        for member in members {
            let mut buffer = [0; 16];
            let received = (0..100).find_map(|_| member.receive(&mut buffer).unwrap());
            assert_eq!(buffer.get(..received.unwrap()), Some(b"hello".as_slice()));
            assert_eq!(member.receive(&mut buffer).unwrap(), None);
        }
    }
}
