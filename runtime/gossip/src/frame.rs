//! Frames: how a message lies on a stream, and the codec of every question with an answer.
//!
//! Format: the length, four bytes, least first; then that many bytes.
//!
//! Invariants: a length above the bound is refused before memory is taken; memory grows with the bytes that have
//! arrived, not with the length that was announced.

use std::io;

use libp2p::StreamProtocol;
use libp2p::futures::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use libp2p::request_response::Codec;

/// Bytes of a frame's length.
pub const HEAD_LEN: usize = 4;

/// Bytes that are read at once: what one frame makes a node reserve before it has sent anything.
const CHUNK: usize = 64 * 1024;

/// A frame that is longer than its protocol allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a frame of {found} bytes, at most {max} are allowed")]
pub struct FrameTooLong {
    /// The length announced.
    pub found: u32,
    /// The longest allowed.
    pub max: u32,
}

/// The length that a frame's head announces, if it is allowed.
pub fn frame_len(head: [u8; HEAD_LEN], max: u32) -> Result<u32, FrameTooLong> {
    let found = u32::from_le_bytes(head);
    if found > max { Err(FrameTooLong { found, max }) } else { Ok(found) }
}

/// A frame's bytes, and the bytes after it.
pub type FrameAndRest<'a> = (&'a [u8], &'a [u8]);

/// The first frame of `bytes` and what follows it; `None` while it has not arrived whole.
pub fn split_frame(bytes: &[u8], max: u32) -> Result<Option<FrameAndRest<'_>>, FrameTooLong> {
    let Some((head, rest)) = bytes.split_first_chunk::<HEAD_LEN>() else { return Ok(None) };
    let len = frame_len(*head, max)?;
    // A length of 32 bits fits wherever the node runs; where it does not, the frame never arrives whole.
    Ok(usize::try_from(len).ok().and_then(|len| rest.split_at_checked(len)))
}

/// The frame around `bytes`.
///
/// # Panics
/// When the bytes are longer than a length can say: every sender has checked a far lower bound.
pub fn frame(bytes: &[u8]) -> Vec<u8> {
    let len = u32::try_from(bytes.len()).expect("senders check a bound far below 4 GiB");
    let mut out = Vec::with_capacity(HEAD_LEN + bytes.len());
    out.extend_from_slice(&len.to_le_bytes());
    out.extend_from_slice(bytes);
    out
}

/// Reads a frame's head; `None` where the stream ends before it begins.
pub(crate) async fn read_head<T: AsyncRead + Unpin>(
    io: &mut T,
    max: u32,
) -> io::Result<Option<u32>> {
    let mut head = [0; HEAD_LEN];
    let mut read = 0;
    while read < HEAD_LEN {
        match io.read(&mut head[read..]).await? {
            0 if read == 0 => return Ok(None),
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            more => read += more,
        }
    }
    let len = frame_len(head, max).map_err(|e| io::Error::new(io::ErrorKind::InvalidData, e))?;
    Ok(Some(len))
}

/// Reads the `len` bytes that follow a head.
pub(crate) async fn read_body<T: AsyncRead + Unpin>(io: &mut T, len: u32) -> io::Result<Vec<u8>> {
    let len = usize::try_from(len).map_err(|_| io::ErrorKind::InvalidData)?;
    let mut bytes = Vec::with_capacity(len.min(CHUNK));
    while bytes.len() < len {
        let begun = bytes.len();
        bytes.resize(begun + CHUNK.min(len - begun), 0);
        io.read_exact(&mut bytes[begun..]).await?;
    }
    Ok(bytes)
}

/// Reads one frame.
async fn read<T: AsyncRead + Unpin>(io: &mut T, max: u32) -> io::Result<Vec<u8>> {
    let len = read_head(io, max).await?.ok_or(io::ErrorKind::UnexpectedEof)?;
    read_body(io, len).await
}

/// Writes one frame and hands it to the network.
pub(crate) async fn write<T: AsyncWrite + Unpin>(io: &mut T, bytes: &[u8]) -> io::Result<()> {
    let len = u32::try_from(bytes.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
    io.write_all(&len.to_le_bytes()).await?;
    io.write_all(bytes).await?;
    io.flush().await
}

/// One question, one answer, each a frame.
#[derive(Debug, Clone, Copy)]
pub(crate) struct FrameCodec {
    /// Longest question.
    pub(crate) question_max: u32,
    /// Longest answer.
    pub(crate) answer_max: u32,
}

impl Codec for FrameCodec {
    type Protocol = StreamProtocol;
    type Request = Vec<u8>;
    type Response = Vec<u8>;

    async fn read_request<T>(&mut self, _: &StreamProtocol, io: &mut T) -> io::Result<Vec<u8>>
    where
        T: AsyncRead + Unpin + Send,
    {
        match read(io, self.question_max).await {
            // Handed on as what no question is: an error here would be told to nobody.
            Err(error) if error.kind() == io::ErrorKind::InvalidData => Ok(Vec::new()),
            other => other,
        }
    }

    async fn read_response<T>(&mut self, _: &StreamProtocol, io: &mut T) -> io::Result<Vec<u8>>
    where
        T: AsyncRead + Unpin + Send,
    {
        read(io, self.answer_max).await
    }

    async fn write_request<T>(
        &mut self,
        _: &StreamProtocol,
        io: &mut T,
        question: Vec<u8>,
    ) -> io::Result<()>
    where
        T: AsyncWrite + Unpin + Send,
    {
        write(io, &question).await
    }

    async fn write_response<T>(
        &mut self,
        _: &StreamProtocol,
        io: &mut T,
        answer: Vec<u8>,
    ) -> io::Result<()>
    where
        T: AsyncWrite + Unpin + Send,
    {
        write(io, &answer).await
    }
}
