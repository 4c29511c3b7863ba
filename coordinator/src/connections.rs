//! Accepted connections: bounded in number, in all and for each address, without delay, probed when idle.

use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::Stream;
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tonic::transport::server::{Connected, TcpConnectInfo};

use crate::shares::{Share, Shares};

/// An idle peer is probed after this.
const KEEPALIVE: Duration = Duration::from_secs(20);
/// Pause after accepting failed, as when there are no file descriptors left.
const PAUSE: Duration = Duration::from_millis(100);

/// One accepted connection.
pub struct Connection {
    stream: TcpStream,
    _place: OwnedSemaphorePermit,
    _share: Share<IpAddr>,
}

impl Connection {
    /// The other side's address.
    pub fn peer(&self) -> io::Result<SocketAddr> {
        self.stream.peer_addr()
    }
}

/// Accepts up to `bound` connections at once, of them `per_address` from one address (an IPv6 /64 counts as one). More
/// wait in the listener's queue; those of an address that has all it may have are closed at once.
pub fn accept(
    listener: TcpListener,
    bound: usize,
    per_address: usize,
) -> impl Stream<Item = Result<Connection, io::Error>> {
    let places = Arc::new(Semaphore::new(bound));
    let state = (listener, places, Shares::new(per_address));
    futures_util::stream::unfold(state, |(listener, places, shares)| async move {
        let place = Arc::clone(&places).acquire_owned().await.ok()?;
        let (stream, share) = next(&listener, &shares).await;
        let connection = Connection {
            stream,
            _place: place,
            _share: share,
        };
        Some((Ok(connection), (listener, places, shares)))
    })
}

/// Whom an address counts for: who has one IPv6 address has its whole /64.
fn holder(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() >> 64 << 64)),
        v4 @ IpAddr::V4(_) => v4,
    }
}

async fn next(listener: &TcpListener, shares: &Shares<IpAddr>) -> (TcpStream, Share<IpAddr>) {
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                let Some(share) = shares.take(holder(peer.ip())) else {
                    tracing::debug!(%peer, "closed: its address has as many connections as it may");
                    continue;
                };
                if let Err(error) = set_options(&stream) {
                    tracing::debug!(%error, "a connection keeps the system's options");
                }
                return (stream, share);
            }
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

fn set_options(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let keepalive = TcpKeepalive::new()
        .with_time(KEEPALIVE)
        .with_interval(KEEPALIVE)
        .with_retries(3);
    SockRef::from(stream).set_tcp_keepalive(&keepalive)
}

impl Connected for Connection {
    type ConnectInfo = TcpConnectInfo;

    fn connect_info(&self) -> Self::ConnectInfo {
        self.stream.connect_info()
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use futures_util::StreamExt;
    use tokio::io::AsyncReadExt;
    use tokio::net::TcpSocket;

    use super::*;

    async fn connect(to: SocketAddr, from: &str) -> TcpStream {
        let socket = TcpSocket::new_v4().unwrap();
        socket
            .bind(SocketAddr::new(from.parse().unwrap(), 0))
            .unwrap();
        socket.connect(to).await.unwrap()
    }

    #[tokio::test]
    async fn one_address_takes_no_more_connections_than_it_may() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let to = listener.local_addr().unwrap();
        let mut accepted = Box::pin(accept(listener, 10, 2));
        let mut calls = Vec::new();
        let mut held = Vec::new();
        for _ in 0..2 {
            calls.push(connect(to, "127.0.0.1").await);
            held.push(accepted.next().await.unwrap().unwrap());
        }
        let mut third = connect(to, "127.0.0.1").await;
        let _other = connect(to, "127.0.0.2").await;
        let other = accepted.next().await.unwrap().unwrap();
        assert_eq!(
            other.stream.peer_addr().unwrap().ip().to_string(),
            "127.0.0.2"
        );
        let closed = third.read(&mut [0]).await;
        assert!(matches!(closed, Ok(0) | Err(_)), "{closed:?}");
        drop(held.pop());
        let again = connect(to, "127.0.0.1").await;
        let next = accepted.next().await.unwrap().unwrap();
        assert_eq!(
            next.stream.peer_addr().unwrap(),
            again.local_addr().unwrap()
        );
    }

    #[test]
    fn a_network_of_one_holder_counts_as_one_address() {
        let holder = |address: &str| holder(address.parse().unwrap());
        assert_eq!(holder("2001:db8::1"), holder("2001:db8::ffff:0:0:2"));
        assert_ne!(holder("2001:db8::1"), holder("2001:db8:0:1::1"));
        assert_eq!(holder("::ffff:192.0.2.1"), holder("192.0.2.1"));
        assert_ne!(holder("192.0.2.1"), holder("192.0.2.2"));
    }
}
