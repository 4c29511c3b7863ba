//! Knowing at once that the client is gone, while answers may still be under way.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, ReadBuf};
use tokio_util::sync::CancellationToken;

/// A reader whose end cancels a token.
#[derive(Debug)]
pub struct UntilClosed<R> {
    inner: R,
    closed: CancellationToken,
}

impl<R> UntilClosed<R> {
    /// Reads from `inner`.
    pub fn new(inner: R, closed: CancellationToken) -> Self {
        Self { inner, closed }
    }
}

impl<R: AsyncRead + Unpin> AsyncRead for UntilClosed<R> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.remaining();
        let read = Pin::new(&mut self.inner).poll_read(context, buffer);
        let ended = match &read {
            Poll::Ready(Ok(())) => before > 0 && buffer.remaining() == before,
            Poll::Ready(Err(_)) => true,
            Poll::Pending => false,
        };
        if ended {
            self.closed.cancel();
        }
        read
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt;

    use super::*;

    #[tokio::test]
    async fn the_end_is_noticed_and_nothing_before() {
        let closed = CancellationToken::new();
        let mut reader = UntilClosed::new(&b"ab"[..], closed.clone());
        let mut byte = [0; 2];
        assert_eq!(reader.read(&mut byte).await.unwrap(), 2);
        assert!(!closed.is_cancelled());
        assert_eq!(reader.read(&mut byte).await.unwrap(), 0);
        assert!(closed.is_cancelled());
    }
}
