//! Lines of a streamed answer, of bounded length.

use bytes::{Bytes, BytesMut};

use super::error::RunError;

/// Longest line of an answer, 4 MiB.
pub(super) const MAX_LINE_BYTES: usize = 4 * 1024 * 1024;

/// Where bytes come from.
pub(super) trait Chunks {
    /// The next bytes, or nothing at the end.
    async fn next_chunk(&mut self) -> Result<Option<Bytes>, RunError>;
}

impl Chunks for reqwest::Response {
    async fn next_chunk(&mut self) -> Result<Option<Bytes>, RunError> {
        self.chunk()
            .await
            .map_err(|error| RunError::from_transport(&error, true))
    }
}

/// Cuts a stream into lines. Cancel-safe: a dropped [`Lines::next`] loses nothing.
pub(super) struct Lines<C> {
    chunks: C,
    buffer: BytesMut,
    /// Bytes of the buffer that are known to have no line break.
    searched: usize,
    ended: bool,
}

impl<C: Chunks> Lines<C> {
    pub(super) fn new(chunks: C) -> Self {
        Self {
            chunks,
            buffer: BytesMut::new(),
            searched: 0,
            ended: false,
        }
    }

    /// The next line that is not blank, without its end; nothing after the last one.
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>, RunError> {
        loop {
            if let Some(length) = self.buffer[self.searched..]
                .iter()
                .position(|byte| *byte == b'\n')
            {
                let line = self.buffer.split_to(self.searched + length + 1).freeze();
                self.searched = 0;
                if !line.trim_ascii().is_empty() {
                    return Ok(Some(line));
                }
                continue;
            }
            self.searched = self.buffer.len();
            if self.ended {
                let rest = self.buffer.split().freeze();
                self.searched = 0;
                return Ok(if rest.trim_ascii().is_empty() {
                    None
                } else {
                    Some(rest)
                });
            }
            if self.buffer.len() > MAX_LINE_BYTES {
                return Err(RunError::Garbage {
                    detail: format!("a line of more than {MAX_LINE_BYTES} bytes"),
                });
            }
            match self.chunks.next_chunk().await? {
                Some(chunk) => self.buffer.extend_from_slice(&chunk),
                None => self.ended = true,
            }
        }
    }
}

/// Reads an answer to its end, at most `limit` bytes; nothing where it is longer.
pub(super) async fn read_all(
    mut chunks: impl Chunks,
    limit: usize,
) -> Result<Option<Vec<u8>>, RunError> {
    let mut body = Vec::new();
    while let Some(chunk) = chunks.next_chunk().await? {
        if body.len() + chunk.len() > limit {
            return Ok(None);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(Some(body))
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Scripted(std::vec::IntoIter<Bytes>);

    impl Chunks for Scripted {
        async fn next_chunk(&mut self) -> Result<Option<Bytes>, RunError> {
            Ok(self.0.next())
        }
    }

    fn lines(chunks: Vec<Vec<u8>>) -> Lines<Scripted> {
        Lines::new(Scripted(
            chunks
                .into_iter()
                .map(Bytes::from)
                .collect::<Vec<_>>()
                .into_iter(),
        ))
    }

    #[tokio::test]
    async fn chunks_are_not_lines() {
        let mut lines = lines(vec![
            b"on".to_vec(),
            b"e\n\ntwo\r\nth".to_vec(),
            b"ree".to_vec(),
        ]);
        let mut seen = Vec::new();
        while let Some(line) = lines.next().await.expect("no error") {
            seen.push(String::from_utf8_lossy(line.trim_ascii()).into_owned());
        }
        assert_eq!(seen, ["one", "two", "three"]);
    }

    #[tokio::test]
    async fn endless_lines_are_garbage() {
        let mut lines = lines(vec![vec![b'a'; 1024 * 1024]; 6]);
        assert!(matches!(lines.next().await, Err(RunError::Garbage { .. })));
    }

    #[tokio::test]
    async fn whole_answers_are_bounded() {
        let script = |bytes: usize| Scripted(vec![Bytes::from(vec![0; bytes])].into_iter());
        assert_eq!(read_all(script(10), 10).await, Ok(Some(vec![0; 10])));
        assert_eq!(read_all(script(11), 10).await, Ok(None));
    }
}
