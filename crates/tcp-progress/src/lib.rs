//! What the kernel says of a TCP connection's progress, and how much of what is written it may hold back.
//!
//! What a send buffer has taken says nothing of the link: on a slow one it holds minutes of it. The kernel knows what the peer has
//! acknowledged. It is a leaf crate so that the agent itself can forbid unsafe code; no crate that we found reads these fields.
#![cfg(target_os = "linux")]

use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::time::Duration;

/// A connection's progress. All of it is the kernel's `struct tcp_info` (linux/tcp.h), whose fields never move.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Progress {
    /// Bytes that the peer has acknowledged since the connection was made (Linux 4.1).
    pub acked: u64,
    /// Bytes that have come from the peer (Linux 4.1).
    pub received: u64,
    /// Bytes that were sent, those that were sent again included (Linux 4.19; before, those that were acknowledged).
    pub sent: u64,
    /// Segments sent and come, those without data included (Linux 4.2).
    pub segments: [u32; 2],
    /// Bytes of the socket's buffer that were not sent yet (Linux 4.6).
    pub unsent: u32,
    /// Segments sent and not acknowledged.
    pub unacked_segments: u32,
    /// Largest segment that is sent, in bytes.
    pub segment: u32,
    /// After so long without an acknowledgement TCP sends a segment again, the first time: round trip and four times its variation, as
    /// they were measured, queues on the way included (RFC 6298).
    pub retransmit_after: Duration,
    /// Until TCP sends again what was not acknowledged: its tries are further apart each time.
    pub tries_in: Duration,
    /// The shortest round trip of late, without queues on the way (Linux 4.9, and once there was one).
    pub least_round_trip: Option<Duration>,
}

const ACKED: usize = 120;
const RECEIVED: usize = 128;
const SEGMENTS: [usize; 2] = [136, 140];
const UNSENT: usize = 144;
const LEAST_ROUND_TRIP: usize = 148;
const SENT: usize = 200;
/// Behind the last field that has to be there.
const LENGTH: usize = 148;

impl Progress {
    /// Whether all that was written has been acknowledged.
    pub fn is_complete(&self) -> bool {
        self.unsent == 0 && self.unacked_segments == 0
    }
}

/// Asks the kernel. Cheap: a system call.
///
/// # Errors
/// It is not a TCP socket, or the kernel is older than Linux 4.6.
pub fn progress(socket: &impl AsFd) -> io::Result<Progress> {
    let mut info = [0u8; 256];
    let mut length = info.len() as libc::socklen_t;
    // SAFETY: the buffer lives through the call and its length is given; the kernel writes no more than that.
    let answer = unsafe {
        libc::getsockopt(
            socket.as_fd().as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_INFO,
            info.as_mut_ptr().cast(),
            &raw mut length,
        )
    };
    if answer != 0 {
        return Err(io::Error::last_os_error());
    }
    if (length as usize) < LENGTH {
        return Err(io::Error::new(io::ErrorKind::Unsupported, "the kernel does not tell what was acknowledged"));
    }
    let word = |at: usize| u32::from_ne_bytes(info[at..at + 4].try_into().expect("four bytes"));
    let long = |at: usize| u64::from_ne_bytes(info[at..at + 8].try_into().expect("eight bytes"));
    Ok(Progress {
        acked: long(ACKED),
        received: long(RECEIVED),
        sent: if length as usize >= SENT + 8 { long(SENT) } else { long(ACKED) },
        segments: SEGMENTS.map(word),
        unsent: word(UNSENT),
        unacked_segments: word(24),
        segment: word(16),
        retransmit_after: Duration::from_micros(u64::from(word(68)) + 4 * u64::from(word(72))),
        // The timer as it is now, and since when it runs: both with what was sent last.
        tries_in: Duration::from_micros(word(8).into()).saturating_sub(Duration::from_millis(word(44).into())),
        least_round_trip: (length as usize >= LEAST_ROUND_TRIP + 4)
            .then(|| word(LEAST_ROUND_TRIP))
            .filter(|micros| *micros != u32::MAX)
            .map(|micros| Duration::from_micros(micros.into())),
    })
}

/// Bounds what the kernel takes of a writer beyond what it has sent, in bytes (Linux 3.12).
///
/// # Errors
/// It is not a TCP socket, or the kernel is older.
pub fn bound_unsent(socket: &impl AsFd, bytes: u32) -> io::Result<()> {
    let value = libc::c_int::try_from(bytes).unwrap_or(libc::c_int::MAX);
    set(socket, libc::IPPROTO_TCP, libc::TCP_NOTSENT_LOWAT, &value)
}

/// Makes the next close of this socket a reset, which throws away what was not sent.
///
/// # Errors
/// It is not a socket.
pub fn reset_on_close(socket: &impl AsFd) -> io::Result<()> {
    set(socket, libc::SOL_SOCKET, libc::SO_LINGER, &libc::linger { l_onoff: 1, l_linger: 0 })
}

/// Sets an option whose value is a `T`.
fn set<T>(socket: &impl AsFd, level: libc::c_int, option: libc::c_int, value: &T) -> io::Result<()> {
    // SAFETY: the value lives through the call and its size is given.
    let answer = unsafe {
        libc::setsockopt(
            socket.as_fd().as_raw_fd(),
            level,
            option,
            std::ptr::from_ref(value).cast(),
            size_of::<T>() as libc::socklen_t,
        )
    };
    if answer == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};

    fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let ours = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        (ours, listener.accept().unwrap().0)
    }

    #[test]
    fn what_the_peer_has_and_has_not_is_told_apart() {
        let (mut ours, mut peer) = pair();
        ours.write_all(&[7; 1000]).unwrap();
        peer.read_exact(&mut [0; 1000]).unwrap();
        let told = progress(&ours).unwrap();
        assert_eq!((told.acked, told.unsent, told.is_complete()), (1001, 0, true), "the SYN counts as one: {told:?}");
        peer.write_all(&[8; 300]).unwrap();
        ours.read_exact(&mut [0; 300]).unwrap();
        let told = progress(&ours).unwrap();
        assert_eq!((told.received, told.sent), (300, 1000));
        assert!(told.segments[0] >= 3 && told.segments[1] >= 2, "SYN, its acknowledgement and data at least: {told:?}");
        // The peer reads nothing more: its window closes, and the rest waits here.
        ours.set_nonblocking(true).unwrap();
        while ours.write(&[7; 65_536]).is_ok() {}
        let stuck = progress(&ours).unwrap();
        assert!(stuck.unsent > 0 && !stuck.is_complete() && stuck.segment > 500, "{stuck:?}");
        assert!(stuck.least_round_trip.is_none_or(|least| least < Duration::from_secs(60)), "{stuck:?}");
        assert!(stuck.tries_in <= Duration::from_secs(120), "{stuck:?}");
    }

    #[test]
    fn a_bound_limits_unsent_bytes_in_the_kernel() {
        let fill = |bound: bool| {
            let (mut ours, _peer) = pair();
            if bound {
                bound_unsent(&ours, 16 * 1024).unwrap();
            }
            ours.set_nonblocking(true).unwrap();
            let mut taken = 0;
            while let Ok(bytes) = ours.write(&[7; 4096]) {
                taken += bytes;
            }
            (taken, progress(&ours).unwrap().unsent)
        };
        assert!(fill(true).1 <= 64 * 1024, "{:?}", fill(true));
        assert!(fill(false).1 > 64 * 1024, "{:?}", fill(false));
    }

    #[test]
    fn a_reset_throws_away_what_was_not_sent() {
        let (mut ours, mut peer) = pair();
        ours.set_nonblocking(true).unwrap();
        let mut taken = 0;
        while let Ok(bytes) = ours.write(&[7; 65_536]) {
            taken += bytes;
        }
        reset_on_close(&ours).unwrap();
        drop(ours);
        let mut arrived = Vec::new();
        let error = peer.read_to_end(&mut arrived).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
        assert!(arrived.len() < taken, "{} of {taken}", arrived.len());
    }

    #[test]
    fn what_is_no_tcp_socket_is_an_error() {
        let (ours, _) = std::os::unix::net::UnixStream::pair().unwrap();
        assert!(progress(&ours).is_err() && bound_unsent(&ours, 1).is_err());
    }
}
