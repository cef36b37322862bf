//! Packets: three bytes of length, one of sequence number, payload. A payload of 16 MiB − 1 bytes is continued in the
//! next packet.
//!
//! ```text
//! socket ─▶ Framer (bytes in, payloads out; no I/O) ─▶ connection ─▶ PacketWriter (payloads in, bytes out) ─▶ socket
//! ```
//!
//! The framer never trusts a length: it grows only with bytes that arrived, and refuses a payload over its limit before
//! buffering it. The writer gathers a whole response, so that it leaves in one write.

use bytes::{Buf, BytesMut};
use sql_base::SqlError;

/// Bytes of header.
pub const HEADER_BYTES: usize = 4;
/// A packet of this length is continued by the next.
pub const PACKET_BYTES_MAX: usize = 0xFF_FFFF;

/// Takes payloads out of a stream of bytes.
#[derive(Debug)]
pub struct Framer {
    buffer: BytesMut,
    /// Payload so far, of a payload in several packets.
    partial: Vec<u8>,
    /// Sequence number that the next packet must have; `None` accepts any.
    expected: u8,
    payload_bytes_max: usize,
    /// Bytes of a packet still to be skipped, and whether it is its payload's last.
    skipping: Option<(usize, bool)>,
}

impl Framer {
    /// Refuses payloads over `payload_bytes_max`.
    pub fn new(payload_bytes_max: usize) -> Self {
        Framer {
            buffer: BytesMut::with_capacity(16 << 10),
            partial: Vec::new(),
            expected: 0,
            payload_bytes_max,
            skipping: None,
        }
    }

    /// Where arriving bytes go.
    pub fn buffer(&mut self) -> &mut BytesMut {
        &mut self.buffer
    }

    /// The limit from now on.
    pub fn set_limit(&mut self, payload_bytes_max: usize) {
        self.payload_bytes_max = payload_bytes_max;
    }

    /// A new exchange begins: the client's next packet has number 0.
    pub fn restart_sequence(&mut self) {
        self.expected = 0;
    }

    /// Sequence number for our next packet.
    pub fn next_sequence(&self) -> u8 {
        self.expected
    }

    /// Continues the sequence after packets of ours.
    pub fn set_sequence(&mut self, next: u8) {
        self.expected = next;
    }

    /// Nothing of a packet has arrived.
    pub fn is_empty(&self) -> bool {
        self.buffer.is_empty() && self.partial.is_empty()
    }

    /// Bytes beyond the packets that were taken: after an SSL request these belong to TLS.
    pub fn take_rest(&mut self) -> BytesMut {
        self.buffer.split()
    }

    /// After [`SqlError::PacketTooLarge`]: throws away what there is of that payload. True once its end was reached, so
    /// that an answer is in sequence.
    pub fn skip(&mut self) -> bool {
        self.partial = Vec::new();
        loop {
            let (left, last) = match self.skipping {
                Some(skipping) => skipping,
                None => {
                    let Some(header) = self.buffer.first_chunk::<HEADER_BYTES>() else { return false };
                    let length = usize::from(header[0]) | usize::from(header[1]) << 8 | usize::from(header[2]) << 16;
                    self.expected = header[3].wrapping_add(1);
                    self.buffer.advance(HEADER_BYTES);
                    (length, length < PACKET_BYTES_MAX)
                }
            };
            let n = left.min(self.buffer.len());
            self.buffer.advance(n);
            match (n == left, last) {
                (true, true) => {
                    self.skipping = None;
                    return true;
                }
                (true, false) => self.skipping = None,
                (false, _) => {
                    self.skipping = Some((left - n, last));
                    return false;
                }
            }
        }
    }

    /// The next whole payload, or `None` until more bytes arrive.
    pub fn next_payload(&mut self) -> Result<Option<Vec<u8>>, SqlError> {
        loop {
            let Some(header) = self.buffer.first_chunk::<HEADER_BYTES>() else { return Ok(None) };
            let length = usize::from(header[0]) | usize::from(header[1]) << 8 | usize::from(header[2]) << 16;
            let sequence = header[3];
            if self.partial.len() + length > self.payload_bytes_max {
                return Err(SqlError::PacketTooLarge);
            }
            if sequence != self.expected {
                // The client expects the answer to follow what it sent.
                self.expected = sequence.wrapping_add(1);
                return Err(SqlError::PacketsOutOfOrder);
            }
            if self.buffer.len() < HEADER_BYTES + length {
                return Ok(None);
            }
            self.expected = sequence.wrapping_add(1);
            self.buffer.advance(HEADER_BYTES);
            if length == PACKET_BYTES_MAX {
                self.partial.extend_from_slice(&self.buffer[..length]);
                self.buffer.advance(length);
                continue;
            }
            let payload = if self.partial.is_empty() {
                self.buffer[..length].to_vec()
            } else {
                let mut payload = std::mem::take(&mut self.partial);
                payload.extend_from_slice(&self.buffer[..length]);
                payload
            };
            self.buffer.advance(length);
            return Ok(Some(payload));
        }
    }
}

/// Gathers the packets of a response.
#[derive(Debug, Default)]
pub struct PacketWriter {
    out: Vec<u8>,
    /// Where the open packet's header is.
    open: Option<usize>,
    sequence: u8,
}

impl PacketWriter {
    /// The next packet has this sequence number.
    pub fn set_sequence(&mut self, next: u8) {
        self.sequence = next;
    }

    /// Sequence number of the next packet.
    pub fn sequence(&self) -> u8 {
        self.sequence
    }

    /// Bytes ready to be sent.
    pub fn bytes(&self) -> &[u8] {
        &self.out
    }

    /// How many bytes are ready.
    pub fn len(&self) -> usize {
        self.out.len()
    }

    /// Nothing to send.
    pub fn is_empty(&self) -> bool {
        self.out.is_empty()
    }

    /// They have been sent. A large buffer is given back.
    pub fn clear(&mut self) {
        self.out.clear();
        if self.out.capacity() > 1 << 20 {
            self.out = Vec::with_capacity(16 << 10);
        }
    }

    /// Begins a packet; the payload goes to the returned buffer's end.
    pub fn begin(&mut self) -> &mut Vec<u8> {
        assert!(self.open.is_none(), "a packet is open");
        self.open = Some(self.out.len());
        self.out.extend_from_slice(&[0; HEADER_BYTES]);
        &mut self.out
    }

    /// The open packet's buffer.
    pub fn payload(&mut self) -> &mut Vec<u8> {
        &mut self.out
    }

    /// Forgets the open packet.
    pub fn abandon(&mut self) {
        if let Some(start) = self.open.take() {
            self.out.truncate(start);
        }
    }

    /// Ends the open packet, splitting it if it is too long for one.
    pub fn end(&mut self) {
        let Some(start) = self.open.take() else { return };
        let length = self.out.len() - start - HEADER_BYTES;
        if length < PACKET_BYTES_MAX {
            self.write_header(start, length);
            return;
        }
        let payload = self.out.split_off(start + HEADER_BYTES);
        self.out.truncate(start);
        let mut last = PACKET_BYTES_MAX;
        for chunk in payload.chunks(PACKET_BYTES_MAX) {
            last = chunk.len();
            self.chunk(chunk);
        }
        // A payload whose last chunk is full ends with an empty packet.
        if last == PACKET_BYTES_MAX {
            self.chunk(&[]);
        }
    }

    fn chunk(&mut self, chunk: &[u8]) {
        let at = self.out.len();
        self.out.extend_from_slice(&[0; HEADER_BYTES]);
        self.out.extend_from_slice(chunk);
        self.write_header(at, chunk.len());
    }

    fn write_header(&mut self, at: usize, length: usize) {
        let [a, b, c, ..] = (length as u32).to_le_bytes();
        self.out[at..at + HEADER_BYTES].copy_from_slice(&[a, b, c, self.sequence]);
        self.sequence = self.sequence.wrapping_add(1);
    }
}

/// Appends a length-encoded integer.
pub fn put_lenenc(out: &mut Vec<u8>, n: u64) {
    match n {
        0..=250 => out.push(n as u8),
        251..=0xFFFF => {
            out.push(0xFC);
            out.extend_from_slice(&(n as u16).to_le_bytes());
        }
        0x1_0000..=0xFF_FFFF => {
            out.push(0xFD);
            out.extend_from_slice(&(n as u32).to_le_bytes()[..3]);
        }
        _ => {
            out.push(0xFE);
            out.extend_from_slice(&n.to_le_bytes());
        }
    }
}

/// Appends a length-encoded string.
pub fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_lenenc(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// Reads fields off a payload; every read may find too few bytes.
#[derive(Debug, Clone, Copy)]
pub struct Reader<'a>(pub &'a [u8]);

impl<'a> Reader<'a> {
    /// That many bytes.
    pub fn take(&mut self, n: usize) -> Result<&'a [u8], SqlError> {
        let (head, tail) = self.0.split_at_checked(n).ok_or(SqlError::MalformedPacket)?;
        self.0 = tail;
        Ok(head)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], SqlError> {
        let (head, tail) = self.0.split_first_chunk::<N>().ok_or(SqlError::MalformedPacket)?;
        self.0 = tail;
        Ok(*head)
    }

    /// One byte.
    pub fn u8(&mut self) -> Result<u8, SqlError> {
        Ok(self.array::<1>()?[0])
    }

    /// Two bytes, little-endian.
    pub fn u16(&mut self) -> Result<u16, SqlError> {
        Ok(u16::from_le_bytes(self.array()?))
    }

    /// Four bytes, little-endian.
    pub fn u32(&mut self) -> Result<u32, SqlError> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    /// Eight bytes, little-endian.
    pub fn u64(&mut self) -> Result<u64, SqlError> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    /// Length-encoded integer.
    pub fn lenenc(&mut self) -> Result<u64, SqlError> {
        Ok(match self.u8()? {
            n @ 0..=250 => u64::from(n),
            0xFC => u64::from(self.u16()?),
            0xFD => {
                let [a, b, c] = self.array()?;
                u64::from(u32::from_le_bytes([a, b, c, 0]))
            }
            0xFE => self.u64()?,
            _ => return Err(SqlError::MalformedPacket),
        })
    }

    /// Length-encoded string.
    pub fn bytes(&mut self) -> Result<&'a [u8], SqlError> {
        let n = usize::try_from(self.lenenc()?).map_err(|_| SqlError::MalformedPacket)?;
        self.take(n)
    }

    /// Bytes up to a zero, which is taken too; all bytes if there is none.
    pub fn until_zero(&mut self) -> &'a [u8] {
        match self.0.iter().position(|&b| b == 0) {
            Some(at) => {
                let head = &self.0[..at];
                self.0 = &self.0[at + 1..];
                head
            }
            None => std::mem::take(&mut self.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn frame(payload: &[u8]) -> Vec<u8> {
        let mut writer = PacketWriter::default();
        writer.begin().extend_from_slice(payload);
        writer.end();
        writer.bytes().to_vec()
    }

    #[test]
    fn long_payloads_are_split_and_joined() {
        for length in [0, 1, PACKET_BYTES_MAX - 1, PACKET_BYTES_MAX, PACKET_BYTES_MAX + 1, 2 * PACKET_BYTES_MAX] {
            let payload = vec![7u8; length];
            let bytes = frame(&payload);
            let packets = length / PACKET_BYTES_MAX + 1;
            assert_eq!(bytes.len(), length + packets * HEADER_BYTES);
            let mut framer = Framer::new(64 << 20);
            framer.buffer().extend_from_slice(&bytes);
            assert_eq!(framer.next_payload().unwrap(), Some(payload));
            assert!(framer.is_empty());
        }
    }

    #[test]
    fn too_long_a_payload_is_refused_by_its_header() {
        let mut framer = Framer::new(1000);
        framer.buffer().extend_from_slice(&[0xE9, 3, 0, 0]);
        assert!(matches!(framer.next_payload(), Err(SqlError::PacketTooLarge)));
    }

    #[test]
    fn what_is_too_large_is_skipped_to_its_end() {
        let mut stream = frame(&vec![1u8; 2 * PACKET_BYTES_MAX + 5]);
        stream.extend([2, 0, 0, 3, 8, 9]);
        let mut framer = Framer::new(1000);
        let mut refused = false;
        let mut rest = stream.as_slice();
        loop {
            let n = rest.len().min(1 << 20);
            framer.buffer().extend_from_slice(&rest[..n]);
            rest = &rest[n..];
            if !refused {
                refused = matches!(framer.next_payload(), Err(SqlError::PacketTooLarge));
            }
            if refused && framer.skip() {
                break;
            }
        }
        assert_eq!(framer.next_sequence(), 3);
        framer.buffer().extend_from_slice(rest);
        assert_eq!(framer.next_payload().unwrap(), Some(vec![8, 9]));
    }

    #[test]
    fn sequence_numbers_must_follow() {
        let mut framer = Framer::new(1000);
        framer.buffer().extend_from_slice(&[1, 0, 0, 3, 9]);
        assert!(matches!(framer.next_payload(), Err(SqlError::PacketsOutOfOrder)));
        assert_eq!(framer.next_sequence(), 4, "so that the client takes the answer");
    }

    proptest! {
        #[test]
        fn payloads_survive_any_cut(
            payloads in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..50), 0..8),
            cuts in proptest::collection::vec(1usize..20, 0..40),
        ) {
            let mut stream = Vec::new();
            for payload in &payloads {
                stream.extend(frame(payload));
            }
            let mut framer = Framer::new(1 << 20);
            let mut seen = Vec::new();
            let mut cuts = cuts.into_iter();
            let mut rest = stream.as_slice();
            while !rest.is_empty() {
                let n = cuts.next().unwrap_or(rest.len()).min(rest.len());
                framer.buffer().extend_from_slice(&rest[..n]);
                rest = &rest[n..];
                while let Some(payload) = framer.next_payload().unwrap() {
                    seen.push(payload);
                    framer.restart_sequence();
                }
            }
            prop_assert_eq!(seen, payloads);
        }

        #[test]
        fn any_bytes_frame_or_fail(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let mut framer = Framer::new(200);
            framer.buffer().extend_from_slice(&bytes);
            while let Ok(Some(_)) = framer.next_payload() {}
        }

        #[test]
        fn length_encoding_inverts(n in any::<u64>(), bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            let mut out = Vec::new();
            put_lenenc(&mut out, n);
            put_bytes(&mut out, &bytes);
            let mut reader = Reader(&out);
            prop_assert_eq!(reader.lenenc().unwrap(), n);
            prop_assert_eq!(reader.bytes().unwrap(), &bytes[..]);
            prop_assert!(reader.0.is_empty());
        }
    }
}
